"""Blocks that need no tokens (docs/decisions/0010). Encoders alone do this.

Blocks of anchors keep tokens that are worth their bits by what the linear path gains. Pictures between have
none where the prediction is as near to the picture as its sources were to theirs. For anchors that rule would
not do: what each may lose adds up along a GOP.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.lfq.ternary import VALUES
from lfqcodec.tokenizer.motion.encode.lagrangian import error_of_bit

BLOCK = 16
_WORSE = 1.25
"""A prediction may be so much worse, in squared error."""
_FLOOR = 0.1 * 3 * BLOCK**2
"""Squared error of a block that nobody sees: 50 dB and better is never worth a token."""

_ERROR_OF_BIT = 3000.0
"""Squared error that a bit must save at q 0 by the linear path alone; networks save half as much again."""
_VALUE_BITS, _LAYER_BITS, _BLOCK_BITS = 3.3, 2.0, 2.0
"""About what a value that is not 0, each layer that a block is coded in, and the block cost."""


def block_errors(decoded: Tensor, original: Tensor, grid: tuple[int, int]) -> Tensor:
    """Squared error of blocks of 16x16, over all channels: float32 [h/2, w/2].

    Both pictures are patches uint8 [h * w, 192] of a `grid` of (h, w).
    """
    return in_blocks((decoded.to(torch.int16) - original).float().square_().sum(1), grid)


def in_blocks(errors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sums over blocks of 16x16: errors of patches [h * w] of a `grid` of (h, w) -> [h/2, w/2]."""
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


def block_bits(values: Tensor) -> Tensor:
    """About how many bits blocks of 16x16 take: float32 [planes, h/2, w/2].

    `values` float32 [planes, 9 * layers, h, w] are ternary.
    """
    planes, _, height, width = values.shape
    layers = values.reshape(planes, -1, VALUES, height, width).abs().amax(2)
    numbers = torch.arange(1, layers.shape[1] + 1, device=values.device)[:, None, None]
    deepest = F.max_pool2d((layers * numbers).amax(1).float(), 2)
    count = F.avg_pool2d((values != 0).sum(1).float(), 2) * 4
    return _VALUE_BITS * count + _LAYER_BITS * deepest + _BLOCK_BITS


def not_worth(gained: Tensor, bits: Tensor, q: float) -> Tensor:
    """Where blocks gain less squared error on the linear path than these bits are worth at q; bool."""
    return gained < bits * error_of_bit(q, _ERROR_OF_BIT)
