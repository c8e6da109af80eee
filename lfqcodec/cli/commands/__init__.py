"""The commands that make, read and look at .lfq files."""
