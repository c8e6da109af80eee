"""How fast lfqcodec is, where its time goes, and how much memory it takes."""
