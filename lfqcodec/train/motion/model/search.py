"""Motion search on decoded references: on CPUs that of encoders, on GPUs the same in floats.

Encoders decide on the host where to look closer, which cannot be part of a captured CUDA graph. There all
blocks try the candidates of `lfqcodec.tokenizer.motion.encode.search`, the steps of between 8 and 1
quarter-pels once each, and nothing is merged. Pictures are float [B, 3, H, W] in [-0.5, 0.5], fields int64
[B, H/16, W/16, 2] in quarter-pels; `lam` float32 [B] is what a bit is worth in SAD.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.encode import search as encoders
from lfqcodec.tokenizer.motion.encode.search import LIMIT, LumaPlanes, motion_bits, neighbours
from lfqcodec.tokenizer.motion.interpolation import BLOCK
from lfqcodec.tokenizer.motion.training.compensation import fetch_blocks, quarter_pel_planes

_LUMA = (76.245, 149.685, 29.07)
_STEPS = (8, 4, 2, 1)
_REACH = 12
_SCALE = 4
_LENGTH_COST = 8.0
Seen = TypeVar("Seen")


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that stays: making one from the host's memory cannot be captured."""
    return torch.tensor(values, dtype=dtype, device=device)


class Search(ABC, Generic[Seen]):
    """The fields of pictures. References are decoded pictures, as `reference` prepares them."""

    @abstractmethod
    def reference(self, pictures: Tensor) -> Seen:
        """What is needed of decoded pictures."""

    @abstractmethod
    def joined(self, first: Seen, second: Seen) -> Seen:
        """Both as one batch."""

    @abstractmethod
    def anchor(self, pictures: Tensor, reference: Seen, before: Tensor, lam: Tensor) -> Tensor:
        """The field of anchors; `before` is that of the group before."""

    @abstractmethod
    def between(self, pictures: Tensor, earlier: Seen, later: Seen, base: Tensor, lam: Tensor) -> Tensor:
        """The field of pictures in the middle of two references: + to the earlier, - to the later."""


def search_for(device: torch.device) -> Search[Any]:
    """That of encoders where it can run: its kernels need a CPU, and numba."""
    return EncoderSearch() if device.type == "cpu" and find_spec("numba") else FloatSearch()


class EncoderSearch(Search[LumaPlanes]):
    """As `lfqcodec.tokenizer.motion.encode.search` finds them, at medium effort."""

    def reference(self, pictures: Tensor) -> LumaPlanes:
        """See `Search`."""
        return LumaPlanes(samples(pictures))

    def joined(self, first: LumaPlanes, second: LumaPlanes) -> LumaPlanes:
        """See `Search`."""
        return first.joined(second)

    def anchor(self, pictures: Tensor, reference: LumaPlanes, before: Tensor, lam: Tensor) -> Tensor:
        """See `Search`."""
        return encoders.search_anchor(samples(pictures), reference, before, lam)

    def between(
        self, pictures: Tensor, earlier: LumaPlanes, later: LumaPlanes, base: Tensor, lam: Tensor
    ) -> Tensor:
        """See `Search`."""
        return encoders.search_between(samples(pictures), earlier, later, base, lam)


class _Floats(NamedTuple):
    """Luma [B, 1, H, W], and what `quarter_pel_planes` makes of it."""

    luma: Tensor
    planes: Tensor


class FloatSearch(Search[_Floats]):
    """Without a decision on the host."""

    @torch.no_grad()
    def reference(self, pictures: Tensor) -> _Floats:
        """See `Search`."""
        seen = luma(pictures)
        return _Floats(seen, quarter_pel_planes(seen))

    def joined(self, first: _Floats, second: _Floats) -> _Floats:
        """See `Search`."""
        return _Floats(*map(torch.cat, zip(first, second, strict=True)))

    @torch.no_grad()
    def anchor(self, pictures: Tensor, reference: _Floats, before: Tensor, lam: Tensor) -> Tensor:
        """See `Search`."""

        def predict(field: Tensor) -> Tensor:
            return fetch_blocks(reference.planes, field)

        current, zero = luma(pictures), torch.zeros_like(before)
        start = [zero, _coarse(current, reference.luma), before]
        return _refine(current, predict, start, zero, lam, rounds=2)

    @torch.no_grad()
    def between(
        self, pictures: Tensor, earlier: _Floats, later: _Floats, base: Tensor, lam: Tensor
    ) -> Tensor:
        """See `Search`."""

        def predict(field: Tensor) -> Tensor:
            return (fetch_blocks(earlier.planes, field) + fetch_blocks(later.planes, -field)) / 2

        return _refine(luma(pictures), predict, [base], base, lam, rounds=1)


def luma(pictures: Tensor) -> Tensor:
    """float [B, 3, H, W] in [-0.5, 0.5] -> float32 [B, 1, H, W] in 8-bit steps, less 127.5."""
    weights = constant(_LUMA, pictures.device).reshape(3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True).float()


@torch.no_grad()
def samples(pictures: Tensor) -> Tensor:
    """float in [-0.5, 0.5] -> uint8."""
    return ((pictures.clamp(-0.5, 0.5) + 0.5) * 255).round().to(torch.uint8)


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
