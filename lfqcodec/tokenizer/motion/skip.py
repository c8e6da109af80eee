"""Blocks that need no tokens: the prediction is as near to the picture as its source was to its own.

Without this every group would code again what the tokens of the group before could not express, or gave only
nearly: a still picture would flicker, and cost as much as a moving one. Encoders alone do this.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 16
_WORSE = 1.25
"""A prediction may be so much worse, in squared error."""
_FLOOR = 0.1 * 3 * BLOCK**2
"""Squared error of a block that nobody sees: 50 dB and better is never worth a token."""


def block_errors(decoded: Tensor, original: Tensor, grid: tuple[int, int]) -> Tensor:
    """Squared error of blocks of 16x16, over all channels: float32 [h/2, w/2].

    Both pictures are patches uint8 [h * w, 192] of a `grid` of (h, w).
    """
    errors = (decoded.to(torch.int16) - original).float().square_().sum(1)
    return errors.reshape(grid[0] // 2, 2, grid[1] // 2, 2).sum((1, 3))


def moved(errors: Tensor, field: Tensor) -> Tensor:
    """Errors float32 [rows, columns] of a reference from where a field int64 [rows, columns, 2] points."""
    rows, columns = errors.shape
    # To the nearest block; vectors are (dx, dy) in quarter-pels.
    steps = torch.div(field + 2 * BLOCK, 4 * BLOCK, rounding_mode="floor")
    y = (torch.arange(rows, device=field.device)[:, None] + steps[..., 1]).clamp(0, rows - 1)
    x = (torch.arange(columns, device=field.device) + steps[..., 0]).clamp(0, columns - 1)
    return errors[y, x]


def as_good(errors: Tensor, before: Tensor) -> Tensor:
    """Where a prediction with these errors is as good as its reference was; bool, shapes alike."""
    return errors <= _WORSE * before + _FLOOR
