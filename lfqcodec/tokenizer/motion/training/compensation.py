"""Motion compensation of batches in floats, with gradients to the references: for training.

It gives what `compensation` gives, but for that module's rounding. Pictures are float [B, C, H, W], H and W
multiples of 16; fields int64 [B, H/16, W/16, 2].
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.interpolation import AFTER, BEFORE, BLOCK, REACH, TAPS, WINDOW

_WIDE = BEFORE + WINDOW + AFTER
PLANE_MARGIN = BLOCK + 4
"""A block that lies farther out sees the same: from 4 samples on those of a row or a column are alike."""


@torch.no_grad()
def quarter_pel_planes(pictures: Tensor) -> Tensor:
    """Pictures at all quarter-pel phases fy * 4 + fx, with a border of 20: [B, C, 16, H + 40, W + 40].

    For motion search: no gradients.
    """
    batch, channels, h, w = pictures.shape
    down, across = (_plane_filters(size, pictures.dtype, pictures.device) for size in (h, w))
    # As products with matrices that are mostly zero: on CPUs a tenth of the time of convolving.
    with torch.autocast(pictures.device.type, enabled=False):
        planes = (down @ pictures[:, :, None]).unsqueeze(3) @ across.transpose(1, 2)
    return planes.reshape(batch, channels, 16, h + 2 * PLANE_MARGIN, w + 2 * PLANE_MARGIN)


def fetch_blocks(planes: Tensor, field: Tensor) -> Tensor:
    """The blocks that a field points to in planes [B, 1, 16, ...]: [B, H/16, W/16, 256]."""
    rows, columns = field.shape[1:3]
    high, wide = planes.shape[3:]
    dx, dy = field[..., 0], field[..., 1]
    block = torch.arange(max(rows, columns), device=field.device) * BLOCK + PLANE_MARGIN
    y = (block[:rows, None] + (dy >> 2)).clamp(0, high - BLOCK)
    x = (block[:columns] + (dx >> 2)).clamp(0, wide - BLOCK)
    corner = (((dy & 3) * 4 + (dx & 3)) * high + y) * wide + x
    sample = torch.arange(BLOCK, device=field.device)
    index = corner[..., None] + (sample[:, None] * wide + sample).flatten()
    return planes.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)


def compensate(references: Tensor, field: Tensor) -> Tensor:
    """Overlapped block motion compensation: [B, C, H, W] of references [B, C, H, W], float32 or float64."""
    # Never in half precision: a prediction must not be coarser than an 8-bit sample.
    with torch.autocast(references.device.type, enabled=False):
        batch, channels, h, w = references.shape
        rows, columns = field.shape[1:3]
        dx, dy = field[..., 0], field[..., 1]
        y, x = _samples(dy, rows, 1, h), _samples(dx, columns, 2, w)
        places = (y[..., :, None] * w + x[..., None, :]).flatten(1)[:, None].expand(-1, channels, -1)
        windows = (
            references.flatten(2).gather(2, places).reshape(batch, channels, rows, columns, _WIDE, _WIDE)
        )
        kind = references.dtype, references.device
        filters = _window_filters(*kind)
        down, across = filters[dy & 3][:, None], filters[dx & 3][:, None].transpose(-1, -2)
        predicted = down @ windows @ across * _weights(rows, columns, *kind)
        blocks = predicted.permute(0, 1, 4, 5, 2, 3).reshape(batch, channels * WINDOW**2, rows * columns)
        return F.fold(blocks, (h, w), WINDOW, padding=REACH, stride=BLOCK)


def _samples(vectors: Tensor, count: int, axis: int, size: int) -> Tensor:
    """Where the samples of blocks' windows lie along an axis of the field: [B, rows, columns, 31]."""
    shape = [1, 1, 1]
    shape[axis] = count
    blocks = torch.arange(count, device=vectors.device).reshape(shape) * BLOCK
    window = torch.arange(-REACH - BEFORE, BLOCK + REACH + AFTER, device=vectors.device)
    return ((blocks + (vectors >> 2))[..., None] + window).clamp(0, size - 1)


# Cached: what is made from the host's memory cannot be part of a captured CUDA graph.
@lru_cache(maxsize=16)
def _window_filters(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The filters of the four phases as matrices [4, 24, 31]."""
    return _matrices(torch.arange(WINDOW)[:, None] + torch.arange(BEFORE + 1 + AFTER), _WIDE).to(
        device, dtype
    )


@lru_cache(maxsize=16)
def _plane_filters(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same for a row of samples and its border: [4, size + 40, size]."""
    place = torch.arange(size + 2 * PLANE_MARGIN)[:, None] - PLANE_MARGIN
    sources = (place + torch.arange(-BEFORE, AFTER + 1)).clamp(0, size - 1)
    return _matrices(sources, size).to(device, dtype)


def _matrices(sources: Tensor, size: int) -> Tensor:
    """Matrices [4, n, size] that take each of n samples from eight `sources` int64 [n, 8], by phase."""
    taps = torch.tensor(TAPS, dtype=torch.float64) / 64
    every = len(taps), *sources.shape
    matrices = torch.zeros(len(taps), len(sources), size, dtype=torch.float64)
    return matrices.scatter_add_(2, sources.expand(every), taps[:, None].expand(every))


@lru_cache(maxsize=16)
def _weights(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What blocks weigh in what they predict: [rows, columns, 24, 24]."""
    rise = ((torch.arange(WINDOW) + 0.5) / (2 * REACH)).clamp(max=1)
    axes = []
    for count in (rows, columns):
        weights = torch.minimum(rise, rise.flip(0)).repeat(count, 1)
        weights[0, : 2 * REACH] = weights[-1, -2 * REACH :] = 1
        axes.append(weights)
    return (axes[0][:, None, :, None] * axes[1][None, :, None, :]).to(device, dtype)
