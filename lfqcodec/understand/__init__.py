"""Video classifiers, and encoders that learn from tokens (docs/understanding.md); not part of the codec."""
