"""Damaged files: what is lost, what can be kept, and files cut down without decoding."""
