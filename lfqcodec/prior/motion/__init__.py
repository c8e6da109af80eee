"""Rate models of the `motion` tokenizer: static rows, and small exact networks for each kind of layer."""
