"""Training of the tokenizer of MAGVIT-v2."""
