"""Training of the `motion` tokenizer: first pictures (`intra`), then groups in chains (`groups`)."""
