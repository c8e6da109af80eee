"""When pictures and sound of an input are shown and heard."""
