"""Motion compensation of batches in floats, with gradients to the references: for training.

It gives what `compensation` gives, but for that module's rounding. Pictures are float [B, C, H, W], H and W
multiples of 16; fields int64 [B, H/16, W/16, 2].
"""

from __future__ import annotations

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.compensation import AFTER, BEFORE, BLOCK, REACH, TAPS

_MARGIN = 4
"""From here on outwards all samples of a row or a column are the same, whatever the phase."""


def quarter_pel_planes(pictures: Tensor) -> Tensor:
    """Pictures at all quarter-pel phases, with a border of 4: [B, C, 16, H + 8, W + 8], phase fy * 4 + fx."""
    batch, channels, h, w = pictures.shape
    # As products with matrices that are mostly zero: on CPUs a tenth of the time of convolving.
    down = (_phases(h, pictures) @ pictures[:, :, None]).unsqueeze(3)
    planes = down @ _phases(w, pictures).transpose(1, 2)
    return planes.reshape(batch, channels, 16, h + 2 * _MARGIN, w + 2 * _MARGIN)


def _phases(size: int, like: Tensor) -> Tensor:
    """Rows of samples to those at the four phases, with the border: matrices [4, size + 8, size]."""
    taps = torch.tensor(TAPS, dtype=like.dtype, device=like.device) / 64
    place = torch.arange(size + 2 * _MARGIN, device=like.device)[:, None] - _MARGIN
    sources = (place + torch.arange(-BEFORE, AFTER + 1, device=like.device)).clamp(0, size - 1)
    matrices = like.new_zeros(len(taps), len(place), size)
    every = len(taps), len(place), taps.shape[1]
    return matrices.scatter_add_(2, sources.expand(every), taps[:, None].expand(every))


def fetch(planes: Tensor, vectors: Tensor) -> Tensor:
    """Samples [B, C, H, W] of planes [B, C, 16, H + 8, W + 8] by a vector for each pixel [B, H, W, 2]."""
    batch, channels, _, high, wide = planes.shape
    h, w = vectors.shape[1:3]
    dx, dy = vectors[..., 0], vectors[..., 1]
    y = (torch.arange(h, device=vectors.device)[:, None] + (dy >> 2) + _MARGIN).clamp(0, high - 1)
    x = (torch.arange(w, device=vectors.device) + (dx >> 2) + _MARGIN).clamp(0, wide - 1)
    index = (((dy & 3) * 4 + (dx & 3)) * high + y) * wide + x
    flat = planes.reshape(batch, channels, -1)
    return flat.gather(2, index.reshape(batch, 1, h * w).expand(-1, channels, -1)).reshape(
        batch, channels, h, w
    )


def compensate(planes: Tensor, field: Tensor) -> Tensor:
    """Overlapped block motion compensation: [B, C, H, W] of the planes that `quarter_pel_planes` made."""
    h, w = (n * BLOCK for n in field.shape[1:3])
    place = torch.arange(max(h, w), device=field.device)
    # The weight of the block below or to the right, of the two whose centres a pixel lies between.
    ramp = (
        ((((place + BLOCK // 2) % BLOCK + 0.5) - BLOCK // 2) / (2 * REACH) + 0.5).clamp(0, 1).to(planes.dtype)
    )
    rows, columns = ramp[:h, None], ramp[:w]
    spread = _replicated(field).repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    total = planes.new_zeros(())
    for below in (0, 1):
        for right in (0, 1):
            y, x = BLOCK // 2 + below * BLOCK, BLOCK // 2 + right * BLOCK
            weight = (rows if below else 1 - rows) * (columns if right else 1 - columns)
            total = total + weight * fetch(planes, spread[:, y : y + h, x : x + w])
    return total


def _replicated(field: Tensor) -> Tensor:
    """With a border of one block, copied from the edge."""
    field = torch.cat([field[:, :1], field, field[:, -1:]], 1)
    return torch.cat([field[:, :, :1], field, field[:, :, -1:]], 2)
