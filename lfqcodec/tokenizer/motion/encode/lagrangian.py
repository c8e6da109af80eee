"""What a bit is worth at q, in training and for what encoders choose. Importing it loads no torch."""

from __future__ import annotations

WEIGHT, BASE = 0.0002, 2.7
"""Training weighs squared error a sample by WEIGHT * BASE^q against bits a pixel, of three samples."""
ERROR_OF_BIT = 3 / WEIGHT
"""Squared error in 8-bit steps, summed over samples, that is worth a bit at q 0 in training."""


def error_of_bit(q: float, at_zero: float = ERROR_OF_BIT) -> float:
    """Squared error that is worth a bit at q, where it is `at_zero` at q 0."""
    return float(at_zero * BASE**-q)
