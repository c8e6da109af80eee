"""Training of the prior: real weights that round to its integers."""
