"""Causal video tokenizers: frames to 18-bit tokens and back."""
