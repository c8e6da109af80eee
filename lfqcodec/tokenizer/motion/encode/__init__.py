"""From pictures to tokens of the `motion` tokenizer: what the encoder alone does."""
