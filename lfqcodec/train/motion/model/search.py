"""Motion search in floats, without a decision on the host: it can be part of a captured CUDA graph.

It tries the candidates of `lfqcodec.tokenizer.motion.encode.search` for all blocks, the steps of between 8
and 1 quarter-pels once each. Luma is float32 [B, 1, H, W] in 8-bit steps, planes are what
`quarter_pel_planes` makes of it, fields int64 [B, H/16, W/16, 2] in quarter-pels, `lam` float32 [B], what a
bit is worth in SAD.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.encode.search import LIMIT, motion_bits, neighbours
from lfqcodec.tokenizer.motion.interpolation import BLOCK
from lfqcodec.tokenizer.motion.training.compensation import fetch_blocks

_LUMA = (76.245, 149.685, 29.07)
_STEPS = (8, 4, 2, 1)
_REACH = 12
_SCALE = 4
_LENGTH_COST = 8.0


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that stays: making one from the host's memory cannot be captured."""
    return torch.tensor(values, dtype=dtype, device=device)


def luma(pictures: Tensor) -> Tensor:
    """float [B, 3, ...] in [-0.5, 0.5] -> [B, 1, ...] in 8-bit steps, less 127.5."""
    weights = constant(_LUMA, pictures.device).reshape(3, *[1] * (pictures.ndim - 2))
    return (pictures.detach() * weights).sum(1, keepdim=True)


@torch.no_grad()
def search_anchor(current: Tensor, reference: Tensor, planes: Tensor, before: Tensor, lam: Tensor) -> Tensor:
    """The field of anchors, predicted from `reference`; `before` is the field of the group before."""

    def predict(field: Tensor) -> Tensor:
        return fetch_blocks(planes, field)

    zero = torch.zeros_like(before)
    return _refine(current, predict, [zero, _coarse(current, reference), before], zero, lam, rounds=2)


@torch.no_grad()
def search_between(current: Tensor, earlier: Tensor, later: Tensor, base: Tensor, lam: Tensor) -> Tensor:
    """The field of pictures in the middle of two references, given as planes: + to one, - to the other."""

    def predict(field: Tensor) -> Tensor:
        return (fetch_blocks(earlier, field) + fetch_blocks(later, -field)) / 2

    return _refine(current, predict, [base], base, lam, rounds=1)


def _refine(
    current: Tensor,
    predict: Callable[[Tensor], Tensor],
    start: list[Tensor],
    base: Tensor,
    lam: Tensor,
    *,
    rounds: int,
) -> Tensor:
    """The field with the least SAD + lam * bits near one of `start`."""

    rows, columns = base.shape[1:3]
    blocks = current.reshape(-1, rows, BLOCK, columns, BLOCK).transpose(2, 3).flatten(3)

    def sad(field: Tensor) -> Tensor:
        return (predict(field) - blocks).abs().sum(-1)

    def better_of(candidates: list[Tensor], best: Tensor, cost: Tensor, error: Tensor) -> list[Tensor]:
        for candidate in candidates:
            candidate = candidate.clamp(-LIMIT, LIMIT)
            other = sad(candidate)
            total = other + weight * motion_bits(candidate - free)
            better = total < cost
            best = torch.where(better[..., None], candidate, best)
            cost, error = torch.where(better, total, cost), torch.where(better, other, error)
        return [best, cost, error]

    weight = lam[:, None, None]
    best, error = start[0], sad(start[0])
    for candidate in start[1:]:
        other = sad(candidate)
        best = torch.where((other < error)[..., None], candidate, best)
        error = torch.minimum(error, other)
    for _ in range(rounds):
        relative = best - base
        free = base + torch.stack([relative, *neighbours(relative)]).median(0).values
        cost = error + weight * motion_bits(best - free)
        best, cost, error = better_of([*neighbours(best), free], best, cost, error)
        for step in _STEPS:
            best, cost, error = better_of(_around(best, step), best, cost, error)
    return best


def _around(field: Tensor, step: int) -> list[Tensor]:
    directions = ((step, 0), (-step, 0), (0, step), (0, -step))
    return [field + constant(each, field.device, torch.int64) for each in directions]


def _coarse(current: Tensor, reference: Tensor) -> Tensor:
    """Full search at a quarter of the size, +-48 pixels, over windows of 24x24."""
    small, wide = F.avg_pool2d(current, _SCALE), F.avg_pool2d(reference, _SCALE)
    h, w = small.shape[2:]
    wide = F.pad(wide, (_REACH,) * 4, mode="replicate")[:, 0]
    offsets = torch.arange(-_REACH, _REACH + 1, device=current.device)
    best, least = torch.zeros(0), torch.zeros(0)
    for dy in range(-_REACH, _REACH + 1):
        rows = wide[:, _REACH + dy : _REACH + dy + h].unfold(2, w, 1).permute(0, 2, 1, 3)
        padded = F.pad((rows - small).abs(), (1, 1, 1, 1), mode="replicate")
        cost = F.avg_pool2d(padded, 6, 4) * BLOCK**2
        cost = cost + (offsets.abs() + abs(dy)).float()[:, None, None] * _LENGTH_COST
        low, which = cost.min(1)
        field = torch.stack([offsets[which], torch.full_like(which, dy)], -1) * (4 * _SCALE)
        if dy == -_REACH:
            best, least = field, low
        else:
            best = torch.where((low < least)[..., None], field, best)
            least = torch.minimum(low, least)
    return best
