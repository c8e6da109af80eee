"""Measurements of lfqcodec: quality by stages, memory. Run `python -m benchmarks --help`."""
