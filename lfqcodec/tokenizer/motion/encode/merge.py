"""The last step of the search for anchors: vectors that cost less because a neighbour has them.

The prior codes a vector that its neighbours have in a fraction of a bit, and any other in five bits or more.
So every block tries the vectors around it, at what they cost there, and at what they make the blocks cost
that are predicted from it. Blocks at the same place of squares of 2x2 do not depend on each other, and go
together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.encode.search_kernels import AROUND, PREDICTED_FROM

Sad = Callable[[Tensor, Tensor], Tensor]
"""SAD float32 [K, n] of vectors int64 [K, n, 2] for blocks int64 [n]."""
_SAME = 0.0, 2.8, 1.35, 0.6, 0.1
"""Bits of a vector that so many of its four candidates have, as the prior of `motion-2` codes it."""
_NEW, _NEW_SIZE = 4.0, 1.55
"""Bits of another: these, and these times log2 of 1 + its difference to the predictor in quarter-pels."""
_FARTHEST = 4 * 256
"""More than vectors in -256..255 differ."""


def vector_bits(vectors: Tensor, candidates: Tensor) -> Tensor:
    """About what vectors [..., n, 2] cost whose candidates are [4, ..., n, 2]: float32 [..., n]."""
    left, above, corner, before = candidates
    predicted = _median(_median(left, above, corner), before, left)
    hits = (candidates == vectors).all(-1).sum(0)
    other = _other_bits((vectors - predicted).abs().sum(-1))
    return torch.where(hits > 0, torch.tensor(_SAME, device=vectors.device)[hits], other)


def _other_bits(away: Tensor) -> Tensor:
    return _NEW + _NEW_SIZE * torch.log2(away + 1.0)


@cache
def bit_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bits of vectors by how many candidates are the same, and of others by how far away they are."""
    return np.array(_SAME, np.float32), _other_bits(torch.arange(_FARTHEST)).numpy()


def _median(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def merge(sad: Sad, field: Tensor, before: Tensor, lam: Tensor, rounds: int) -> Tensor:
    """A field int64 [h, w, 2] with the vectors of neighbours where these cost less.

    `before` [h, w, 2] is the field of the group before, `lam` float [h * w] what a bit is worth in SAD.
    """
    merged = _Merged(field, before)
    rows, columns, _ = field.shape
    colour = 2 * (merged.y % 2) + merged.x % 2
    # Blocks around which something changed since they were looked at.
    due = torch.ones_like(colour, dtype=torch.bool)
    for _ in range(rounds):
        for number in range(4):
            chosen = (due & (colour == number)).nonzero()[:, 0]
            due[chosen] = False
            tried = merged.tried(chosen)
            several = (tried != tried[0]).any(-1).any(0)
            chosen, tried = chosen[several], tried[:, several]
            if not len(chosen):
                continue
            best = (sad(tried, chosen) + lam[chosen] * merged.bits(tried, chosen)).argmin(0)
            merged.vectors[chosen] = tried.gather(0, best[None, :, None].expand(-1, -1, 2))[0]
            changed = torch.zeros(rows * columns, device=field.device)
            changed[chosen[best > 0]] = 1
            due |= F.max_pool2d(changed.view(1, rows, columns), 5, 1, 2).view(-1) > 0
        if not bool(due.any()):
            break
    return merged.vectors.reshape(rows, columns, 2)


class _Merged:
    """A field on its way: vectors int64 [h * w, 2] of blocks in raster order."""

    def __init__(self, field: Tensor, before: Tensor) -> None:
        rows, columns, _ = field.shape
        self.vectors, self._before = field.reshape(-1, 2).clone(), before.reshape(-1, 2)
        blocks = torch.arange(len(self.vectors), device=field.device)
        self.y, self.x = blocks // columns, blocks % columns
        self._neighbours: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for down, right in AROUND:
            row, column = self.y + down, self.x + right
            inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            self._neighbours[down, right] = torch.where(inside, row * columns + column, blocks), inside

    def tried(self, blocks: Tensor) -> Tensor:
        """What may become the vector of blocks [n], beginning with what it is: [K, n, 2]."""
        around = [self.vectors[self._neighbour(blocks, step)[0]] for step in AROUND]
        return torch.stack([*around, self._before[blocks]])

    def bits(self, tried: Tensor, blocks: Tensor) -> Tensor:
        """What blocks [n] and those that are predicted from them cost with vectors [K, n, 2]: [K, n]."""
        total = vector_bits(tried, self._candidates(blocks)[:, None].expand(-1, *tried.shape))
        for number, (down, right) in enumerate(PREDICTED_FROM):
            place, inside = self._neighbour(blocks, (-down, -right))
            theirs = self._candidates(place)[:, None].repeat(1, len(tried), 1, 1)
            theirs[number] = tried
            total += vector_bits(self.vectors[place].expand_as(tried), theirs) * inside
        return total

    def _neighbour(self, blocks: Tensor, step: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The blocks (rows, columns) further, or the same ones where these are outside; whether inside."""
        places, inside = self._neighbours[step]
        return places[blocks], inside[blocks]

    def _candidates(self, blocks: Tensor) -> Tensor:
        """The four candidates of blocks, [4, n, 2]; the vector before stands in for what is outside."""
        own, found = self._before[blocks], []
        for step in PREDICTED_FROM:
            place, inside = self._neighbour(blocks, step)
            found.append(torch.where(inside[:, None], self.vectors[place], own))
        return torch.stack([*found, own])
