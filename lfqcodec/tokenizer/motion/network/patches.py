"""Pictures as patches of 8x8 samples, channels_last [B, C, h, w] or rows of one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

PATCH = 8
"""Pixels of a block, in each direction."""
SAMPLES = 3 * PATCH**2


def to_patches(pictures: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 64 * C, H/8, W/8], channels_last; channels in the order of `pixel_unshuffle`."""
    batch, channels, high, wide = pictures.shape
    h, w = high // PATCH, wide // PATCH
    split = pictures.reshape(batch, channels, h, PATCH, w, PATCH).permute(0, 2, 4, 1, 3, 5)
    # One copy, where `pixel_unshuffle` and a change of layout would make two.
    return split.reshape(batch, h, w, channels * PATCH**2).permute(0, 3, 1, 2)


def from_patches(patches: Tensor, size: int = PATCH) -> Tensor:
    """[B, C * size^2, h, w] -> [B, C, size * h, size * w], contiguous."""
    return _split(patches, size).permute(0, 3, 1, 4, 2, 5).reshape(*_unfolded(patches, size))


def patch_rows(picture: Tensor) -> Tensor:
    """A picture [3, H, W] as rows, its patches in raster order: [H/8 * W/8, 192]."""
    if picture.dtype != torch.uint8:
        return to_patches(picture[None])[0].permute(1, 2, 0).flatten(0, 1)
    # Eight samples are moved at a time.
    eights = picture.contiguous().view(torch.int64).unflatten(1, (-1, PATCH))  # type: ignore[no-untyped-call]
    return eights.permute(1, 3, 0, 2).contiguous().view(torch.uint8).view(-1, SAMPLES)  # type: ignore[no-any-return]


def from_patch_rows(rows: Tensor, grid: Sequence[int]) -> Tensor:
    """The inverse, for a `grid` of (h, w) patches."""
    h, w = grid
    if rows.dtype != torch.uint8:
        return from_patches(rows.reshape(1, h, w, -1).permute(0, 3, 1, 2))[0]
    eights = rows.contiguous().view(torch.int64).view(h, w, -1, PATCH).permute(2, 0, 3, 1)
    return eights.contiguous().view(torch.uint8).view(-1, PATCH * h, PATCH * w)


def enlarge(x: Tensor, size: int) -> Tensor:
    """The same, channels_last."""
    batch, channels, high, wide = _unfolded(x, size)
    rows = _split(x, size).permute(0, 1, 4, 2, 5, 3).reshape(batch, high, wide, channels)
    return rows.permute(0, 3, 1, 2)


def _split(x: Tensor, size: int) -> Tensor:
    """[B, C * size^2, h, w] -> [B, h, w, C, size, size]."""
    return x.permute(0, 2, 3, 1).unflatten(3, (-1, size, size))  # type: ignore[no-untyped-call, no-any-return]


def _unfolded(x: Tensor, size: int) -> tuple[int, int, int, int]:
    batch, channels, h, w = x.shape
    return batch, channels // size**2, h * size, w * size


def plane(values: Tensor, like: Tensor) -> Tensor:
    """One value for all positions of a picture: [B] -> [B, 1, h, w]."""
    return values[:, None, None, None].expand(-1, 1, *like.shape[2:])


def near_tokens(values: Tensor) -> Tensor:
    """Where a block or one of its eight neighbours has a value: [B, C, h, w] -> bool [B, h, w]."""
    # `any` takes several times as long as the largest.
    most = values.detach().abs().amax(1, keepdim=True)
    return F.max_pool2d(most, 3, 1, 1)[:, 0] > 0


def to_pixels(mask: Tensor) -> Tensor:
    """bool [B, h, w] for blocks -> float32 [B, 1, 8 * h, 8 * w] for pixels."""
    return F.interpolate(mask[:, None].float(), scale_factor=PATCH, mode="nearest")
