"""Training on clips: encoders that predict tokens, and classifiers (docs/understanding.md)."""
