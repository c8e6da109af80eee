"""What classifiers make of clips: after pre-training on tokens, and through a tokenizer or a codec."""
