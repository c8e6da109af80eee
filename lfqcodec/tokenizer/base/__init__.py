"""The `base` tokenizer, which works at 1/8 resolution."""
