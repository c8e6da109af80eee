"""Lookup-free quantization."""
