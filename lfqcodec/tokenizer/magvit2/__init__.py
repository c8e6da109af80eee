"""The tokenizer of MAGVIT-v2, appendix A.2."""
