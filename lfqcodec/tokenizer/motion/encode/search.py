"""Motion search with the rate in view: the encoder's choice of vectors. Only the encoder runs it.

Fields are int64 [B, H/16, W/16, 2], vectors (dx, dy) in quarter-pels; pictures uint8 [B, 3, H, W], H and W
multiples of 16. The cost of a vector is SAD of luma + lambda * bits, the bits estimated from its distance to
the median of its neighbourhood. All blocks of all pictures are searched at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.compensation import windows_at
from lfqcodec.tokenizer.motion.encode import search_kernels
from lfqcodec.tokenizer.motion.encode.effort import MEDIUM, Effort
from lfqcodec.tokenizer.motion.encode.lagrangian import BASE
from lfqcodec.tokenizer.motion.encode.merge import bit_tables, merge
from lfqcodec.tokenizer.motion.interpolation import AFTER, BEFORE, BLOCK, TAPS
from lfqcodec.tokenizer.motion.network.region import compiled

LIMIT = 255
"""Largest component of a vector that the search tries, in quarter-pels."""
LAMBDA = 48.0
"""What a bit of an anchor's motion is worth in SAD at q 0; see `motion_lambda`."""
BETWEEN = 1.8
"""How much more it is worth for pictures between."""
_MARGIN = BLOCK
_COARSE = 4
_LENGTH_COST = 8.0
_FARTHEST = 8 * 256
"""More than a component of a vector differs from what is predicted."""
_NO_BITS = 0.3
_FIRST_BITS = 3.5


def motion_lambda(q: float) -> float:
    """What a bit of an anchor's motion is worth in SAD: falls as the root of what distortion is worth."""
    return float(LAMBDA * BASE ** (-q / 2))


def luma(pictures: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> int16 [B, H, W], luma in half steps less 256."""
    if compiled(pictures):
        out = np.empty((len(pictures), *pictures.shape[2:]), np.int16)
        search_kernels.luma(pictures.contiguous().numpy(), out)
        return torch.from_numpy(out)
    red, green, blue = pictures.to(torch.int32).unbind(1)
    return (((77 * red + 150 * green + 29 * blue + 64) >> 7) - 256).to(torch.int16)


class LumaPlanes:
    """Luma of pictures uint8 [B, 3, H, W] at all 16 quarter-pel phases, int16 in half steps less 256."""

    def __init__(self, pictures: Tensor) -> None:
        self.full = luma(pictures)
        if compiled(pictures):
            batch, h, w = self.full.shape
            made = np.empty((16 * batch, h + 2 * _MARGIN, w + 2 * _MARGIN), np.int16)
            search_kernels.phases(self.full.numpy(), _MARGIN, np.array(TAPS, np.int16), made)
            self.planes = torch.from_numpy(made)
            return
        border = (_MARGIN + BEFORE, _MARGIN + AFTER)
        # Padding is for floats alone.
        padded = F.pad((self.full[:, None] >> 1).float(), border * 2, mode="replicate")[:, 0]
        source = padded.to(torch.int16)
        across = torch.stack([_filtered(source, phase) >> 5 for phase in range(4)], 1)
        down = torch.stack([(_filtered(across, phase) + 32) >> 6 for phase in range(4)], 1)
        # Phase number: fy * 4 + fx.
        self.planes = down.flatten(0, 2).contiguous()

    def joined(self, other: LumaPlanes) -> LumaPlanes:
        """Those of both batches of pictures."""
        both = copy(self)
        both.full = torch.cat([self.full, other.full])
        both.planes = torch.cat([self.planes, other.planes])
        return both

    def blocks(self, picture: Tensor, y: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
        """Predictions of blocks at (y, x) of pictures, int64 [n]; vectors [..., n, 2] -> [..., n, 16, 16]."""
        dx, dy = vectors[..., 0], vectors[..., 1]
        _, h, w = self.planes.shape
        rows = (y + (dy >> 2) + _MARGIN).clamp(0, h - BLOCK)
        columns = (x + (dx >> 2) + _MARGIN).clamp(0, w - BLOCK)
        planes = picture * 16 + ((dy & 3) << 2) + (dx & 3)
        return windows_at(self.planes[:, None], (BLOCK, BLOCK), planes, rows, columns)[..., 0, :, :]


def _filtered(source: Tensor, phase: int) -> Tensor:
    """HEVC's filter of a phase along axis 2, without border: int16, sums wrap (only extremes would)."""
    length = source.shape[2] - BEFORE - AFTER
    total: Tensor | None = None
    for tap, weight in enumerate(TAPS[phase]):
        if weight:
            part = source.narrow(2, tap, length)
            total = part * weight if total is None else total.add_(part, alpha=weight)
    assert total is not None
    return total


class Matching:
    """SAD of blocks of the current pictures against predictions from one reference, or from two."""

    def __init__(self, current: Tensor, earlier: LumaPlanes, later: LumaPlanes | None) -> None:
        self._earlier, self._later = earlier, later
        batch, h, w = current.shape
        self.shape = (batch, h // BLOCK, w // BLOCK)
        tiles = current.reshape(batch, self.shape[1], BLOCK, self.shape[2], BLOCK)
        self._current = tiles.transpose(2, 3).reshape(-1, BLOCK, BLOCK)
        places = [torch.arange(n, device=current.device) for n in self.shape]
        grid = torch.meshgrid(*places, indexing="ij")
        self._picture, self._y, self._x = (
            g.flatten() * k for g, k in zip(grid, (1, BLOCK, BLOCK), strict=True)
        )
        self._places = torch.stack((self._picture, self._y, self._x), 1)
        self._all = torch.arange(len(self._places), device=current.device)

    def sad(self, vectors: Tensor, chosen: Tensor | None = None) -> Tensor:
        """SAD in steps of luma, float32 [K, n], of vectors [K, n, 2] for all blocks or the `chosen` ones."""
        if compiled(self._current):
            return self._compiled_sad(vectors, self._all if chosen is None else chosen)
        return self.gathered_sad(vectors, chosen)

    @cached_property
    def _arrays(self) -> list[Any]:
        """What kernels begin with."""
        planes = [each.planes.numpy() for each in (self._earlier, self._later or self._earlier)]
        current = self._current.numpy().reshape(-1, BLOCK**2)
        return [current, *planes, self._later is not None, self._places.numpy(), _MARGIN]

    def _compiled_sad(self, vectors: Tensor, chosen: Tensor) -> Tensor:
        sads = np.empty(vectors.shape[:2], np.float32)
        arguments = [*self._arrays, chosen.numpy(), vectors.contiguous().numpy(), sads]
        search_kernels.block_sads(*arguments)
        return torch.from_numpy(sads)

    def gathered_sad(self, vectors: Tensor, chosen: Tensor | None = None) -> Tensor:
        """The same, for GPUs."""
        current, where = self._current, (self._picture, self._y, self._x)
        if chosen is not None:
            current = current[chosen]
            where = (self._picture[chosen], self._y[chosen], self._x[chosen])
        if self._later is None:
            error = self._earlier.blocks(*where, vectors).sub_(current)
            return error.abs_().float().flatten(2).sum(2) / 2
        error = self._earlier.blocks(*where, vectors).add_(self._later.blocks(*where, -vectors))
        error.sub_(current * 2)
        return error.abs_().float().flatten(2).sum(2) / 4

    def descend(
        self,
        chosen: Tensor,
        found: tuple[Tensor, Tensor, Tensor],
        free: Tensor,
        lam: Tensor,
        steps: Sequence[int],
    ) -> None:
        """Improve what was `found` for the `chosen` blocks by smaller and smaller `steps`, in place.

        `found` are vectors [n, 2], costs and SAD [n] of all blocks. `free` [n, 2] are the vectors that cost
        next to nothing, `lam` [n] what a bit is worth.
        """
        if not compiled(free):
            _descend(self, chosen, found, free, lam, steps)
            return
        arrays = (each.numpy() for each in (chosen, *found, free, lam))
        arguments = [*self._arrays, *arrays, np.array(steps), LIMIT, _bit_table()]
        search_kernels.descend(*arguments)

    def merge(self, first: int, field: Tensor, before: Tensor, lam: Tensor, rounds: int) -> Tensor:
        """`merge` for the field [h, w, 2] of blocks numbered from `first` on."""
        if not compiled(field):
            return merge(lambda tried, chosen: self.sad(tried, chosen + first), field, before, lam, rounds)
        merged = field.numpy().copy()
        fields = merged, before.contiguous().numpy(), lam.numpy()
        arguments = [*self._arrays, first, *fields, rounds, *bit_tables()]
        search_kernels.merge(*arguments)
        return torch.from_numpy(merged)


def neighbours(field: Tensor) -> list[Tensor]:
    """The fields of the blocks above, below, left and right, replicated at the border."""
    above = torch.cat([field[:, :1], field[:, :-1]], 1)
    below = torch.cat([field[:, 1:], field[:, -1:]], 1)
    left = torch.cat([field[:, :, :1], field[:, :, :-1]], 2)
    right = torch.cat([field[:, :, 1:], field[:, :, -1:]], 2)
    return [above, below, left, right]


def motion_bits(difference: Tensor) -> Tensor:
    """About how many bits a difference [..., 2] to what is predicted costs."""
    return _component_bits(difference.abs().float()).sum(-1)


def _component_bits(size: Tensor) -> Tensor:
    return torch.where(size > 0, 2 * torch.log2(size + 1) + (_FIRST_BITS - 2), _NO_BITS)


@cache
def _bit_table() -> NDArray[np.float32]:
    """The same for all sizes that there are."""
    return _component_bits(torch.arange(_FARTHEST).float()).numpy()


def _refine(
    matching: Matching, start: Tensor, base: Tensor, lam: Tensor, rounds: int, steps: tuple[int, ...]
) -> Tensor:
    """The field with the least cost near one of `start` [K, B, h, w, 2]; `lam` float [B * h * w].

    A vector costs the difference to the median of its neighbourhood, after `base` is taken from all of them.
    """
    shape = start.shape[1:]
    sads = matching.sad(start.reshape(len(start), -1, 2))
    sad, first = sads.min(0)
    best = _picked(start.reshape(len(start), -1, 2), first)
    searched: Tensor | None = None
    for _ in range(rounds):
        relative = best.reshape(shape) - base
        free = (base + torch.stack([relative, *neighbours(relative)]).median(0).values).reshape(-1, 2)
        cost = sad + lam * motion_bits(best - free)
        near = neighbours(best.reshape(shape))
        candidates = torch.cat([torch.stack(near).reshape(len(near), -1, 2), free[None]]).clamp(-LIMIT, LIMIT)
        sads = matching.sad(candidates)
        costs, which = (sads + lam * motion_bits(candidates - free)).min(0)
        better = costs < cost
        best = torch.where(better[:, None], _picked(candidates, which), best)
        cost = torch.where(better, costs, cost)
        sad = torch.where(better, sads.gather(0, which[None])[0], sad)
        # The rest cannot gain: another vector costs more bits than there is error to remove.
        worth = sad > (_FIRST_BITS - _NO_BITS) * lam
        if searched is not None:
            # Nothing is new where the start and what is free are as they were.
            worth &= (torch.cat([best, free], 1) != searched).any(1)
        chosen = worth.nonzero()[:, 0]
        matching.descend(chosen, (best, cost, sad), free, lam, steps)
        searched = torch.cat([best, free], 1)
    return best.reshape(shape)


def _picked(candidates: Tensor, which: Tensor) -> Tensor:
    """Of vectors [K, n, 2] those with the numbers `which` [n]."""
    return candidates.gather(0, which[None, :, None].expand(-1, -1, 2))[0]


def _descend(
    matching: Matching,
    chosen: Tensor,
    found: tuple[Tensor, Tensor, Tensor],
    free: Tensor,
    lam: Tensor,
    steps: Sequence[int],
) -> None:
    """`Matching.descend` for GPUs."""
    best, cost, sad = found
    own, own_cost, own_sad, own_free, own_lam = (each[chosen] for each in (best, cost, sad, free, lam))
    directions = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], device=best.device)
    for step in steps:
        candidates = (own + directions[:, None] * step).clamp(-LIMIT, LIMIT)
        sads = matching.sad(candidates, chosen)
        costs, which = (sads + own_lam * motion_bits(candidates - own_free)).min(0)
        better = costs < own_cost
        own = torch.where(better[:, None], _picked(candidates, which), own)
        own_cost = torch.where(better, costs, own_cost)
        own_sad = torch.where(better, sads.gather(0, which[None])[0], own_sad)
    best[chosen], cost[chosen], sad[chosen] = own, own_cost, own_sad


def _coarse(current: Tensor, reference: Tensor, reach: int) -> Tensor:
    """Full search at a quarter of the size, +- `reach` pixels of it, over windows of 24x24: luma -> field."""
    centre, wide = (
        F.pad(F.avg_pool2d(each[:, None].float(), _COARSE), (border,) * 4, mode="replicate")[:, 0]
        .round()
        .to(torch.int16)
        for each, border in ((current, 1), (reference, reach + 1))
    )
    h, w = centre.shape[1:]
    # For 16x16 pixels in steps of luma.
    weight = _COARSE**2 / 2 * (BLOCK / (BLOCK + 8)) ** 2
    if compiled(current):
        found = np.empty((len(centre), h // 4, w // 4, 2), np.int64)
        search_kernels.full_search(centre.numpy(), wide.numpy(), reach, weight, _LENGTH_COST, found)
        return torch.from_numpy(found) * (4 * _COARSE)
    offsets = torch.arange(-reach, reach + 1, device=current.device)
    best, least = None, None
    for dy in range(-reach, reach + 1):
        rows = wide[:, reach + dy : reach + dy + h].unfold(2, w, 1).permute(2, 0, 1, 3)
        sads = _window_sums(_window_sums((rows - centre).abs_(), 2), 3)
        costs = sads.float() * weight
        # A small charge for length.
        low, which = (costs + _LENGTH_COST * (offsets.abs() + abs(dy))[:, None, None, None]).min(0)
        field = torch.stack([offsets[which], torch.full_like(which, dy)], -1)
        if best is None or least is None:
            best, least = field, low
        else:
            best = torch.where((low < least)[..., None], field, best)
            least = torch.minimum(low, least)
    assert best is not None
    return best * (4 * _COARSE)


def _window_sums(values: Tensor, axis: int) -> Tensor:
    """Sums over 6 values along an axis, every 4: [.., 4 n + 2, ..] -> [.., n, ..], int16."""
    windows = values.unfold(axis, 6, 4)
    total = windows[..., 0] + windows[..., 1]
    for place in range(2, 6):
        total += windows[..., place]
    return total


@torch.no_grad()
def search_anchor(
    current: Tensor,
    reference: LumaPlanes,
    before: Tensor | None,
    lam: float | Tensor,
    effort: Effort = MEDIUM,
) -> Tensor:
    """The field of anchors uint8 [B, 3, H, W], predicted from `reference`.

    `before` is the field of the group before; `lam`, a number or float [B], what a bit is worth in SAD.
    """
    own = luma(current)
    matching = Matching(own, reference, None)
    zero = torch.zeros(*matching.shape, 2, dtype=torch.int64, device=current.device)
    weights = _per_block(lam, matching.shape, current.device)
    start = [zero] if before is None else [zero, before]
    if bool((matching.sad(zero.reshape(1, -1, 2))[0] > (_FIRST_BITS - _NO_BITS) * weights).any()):
        start.append(_coarse(own, reference.full, effort.reach))
    found = _refine(matching, torch.stack(start), zero, weights, effort.rounds, effort.steps)
    prior = zero if before is None else before
    merged = []
    for number, (field, own) in enumerate(zip(found, prior, strict=True)):
        count = own[..., 0].numel()
        blocks = slice(number * count, (number + 1) * count)
        merged.append(matching.merge(blocks.start, field, own, weights[blocks], effort.merge_rounds))
    return torch.stack(merged)


@torch.no_grad()
def search_between(
    current: Tensor,
    earlier: LumaPlanes,
    later: LumaPlanes,
    base: Tensor,
    lam: float | Tensor,
    effort: Effort = MEDIUM,
) -> Tensor:
    """The field of pictures uint8 [B, 3, H, W] in the middle between two references.

    A vector points to the earlier reference, its negative to the later. It costs its difference to `base`.
    """
    matching = Matching(luma(current), earlier, later)
    weights = _per_block(lam, matching.shape, current.device)
    return _refine(matching, base[None], base, weights, effort.between_rounds, effort.between_steps)


def _per_block(lam: float | Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    each = torch.as_tensor(lam, dtype=torch.float32, device=device).reshape(-1, 1, 1)
    return each.expand(shape).flatten().contiguous()
