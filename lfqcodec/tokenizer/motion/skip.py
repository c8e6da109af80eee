"""Blocks that need no tokens: the prediction is as near to the picture as its source was to its own.

Without this every group would code again what the tokens of the group before could not express, or gave only
nearly: a still picture would flicker, and cost as much as a moving one. Encoders alone do this.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 16
_WORSE = 1.25
"""A prediction may be so much worse, in squared error."""
_FLOOR = 0.1 * 3 * BLOCK**2
"""Squared error of a block that nobody sees: 50 dB and better is never worth a token."""


def block_errors(decoded: Tensor, original: Tensor) -> Tensor:
    """Squared error of blocks of 16x16, over all channels: uint8 [3, H, W] twice -> float32 [H/16, W/16]."""
    error = (decoded.float() - original.float()).square().sum(0)
    return F.avg_pool2d(error[None, None], BLOCK)[0, 0] * BLOCK**2


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
