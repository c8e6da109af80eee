"""Training of tokenizers: the paper's and `base`."""
