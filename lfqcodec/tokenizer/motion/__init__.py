"""The `motion` tokenizer: pictures in groups, predicted by motion, what is missed as ternary tokens."""
