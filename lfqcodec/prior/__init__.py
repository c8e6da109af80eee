"""Frequency rows in exact integers, fixed and learned."""
