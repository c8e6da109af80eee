"""Numbers of motion compensation: the blocks, how far they overlap, and HEVC's filters for quarter-pels."""

from __future__ import annotations

BLOCK = 16
REACH = 4
"""Pixels that a block predicts beyond each of its sides."""
WINDOW = BLOCK + 2 * REACH
TAPS = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)
BEFORE, AFTER = 3, 4
"""Samples that a filter needs before and after its own place."""
FRACTION = 64
"""Steps of a prediction to one of an 8-bit sample."""
MIDDLE = 128
