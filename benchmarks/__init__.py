"""Measurements of lfqcodec. Run `python -m benchmarks --help`."""
