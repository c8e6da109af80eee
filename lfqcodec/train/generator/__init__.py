"""Training of generators on the tokens of labelled pictures and clips."""
