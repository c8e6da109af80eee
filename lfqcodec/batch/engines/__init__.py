"""Who does the jobs of a batch."""
