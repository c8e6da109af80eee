"""What is trained, and what it is trained to minimise."""
