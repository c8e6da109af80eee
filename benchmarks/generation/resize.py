"""Bilinear resizing as TensorFlow 1 did it, which the networks of FID, IS and MAGVIT's FVD were fed with."""

from __future__ import annotations

import torch
from torch import Tensor


def resize_tf1(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Without half-pixel centres: what is at i comes from i * in / out. float [..., H, W] -> [..., *size]."""
    for dim, wanted in ((-2, size[0]), (-1, size[1])):
        have = x.shape[dim]
        place = torch.arange(wanted, device=x.device, dtype=torch.float32) * (have / wanted)
        low = place.floor().long().clamp(max=have - 1)
        high = (low + 1).clamp(max=have - 1)
        share = (place - low).to(x.dtype)
        share = share[:, None] if dim == -2 else share
        first, second = x.index_select(dim, low), x.index_select(dim, high)
        x = first + (second - first) * share
    return x
