"""What an input is, what it says of itself, and what of it cannot be kept."""
