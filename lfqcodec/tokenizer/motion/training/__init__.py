"""What only training needs: floats with gradients, stand-ins for the prior, checkpoints to model files."""
