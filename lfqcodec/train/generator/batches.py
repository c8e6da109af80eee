"""Batches of a store, with everything that is random in a step; number n is a function of (seed, n) alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.train.generator.tokens import Online, TokenStore


@dataclass(frozen=True)
class TokenBatch:
    """`tokens` int64 [B, T', h, w]; `conditions` are those of padded conditions, without a task the same.

    `labels` int64 [B], where the number of classes stands for a dropped one. `ratios` float64 [B] in [0, 1)
    tell how much is masked, `scores` float64 [B, N, 2] which units: those of the lowest.
    """

    tokens: Tensor
    conditions: Tensor
    labels: Tensor
    ratios: Tensor
    scores: Tensor

    def part(self, begin: int, end: int) -> TokenBatch:
        """Samples `begin` to `end`."""
        return TokenBatch(*(each[begin:end] for each in vars(self).values()))

    def to(self, device: torch.device) -> TokenBatch:
        """The same on a device."""
        return TokenBatch(*(each.to(device) for each in vars(self).values()))


class TokenBatches:
    """Draws batches from the items of a store that are held out, or from the others.

    Every item is drawn alike, and every view of it; with `online` each view is a new one. Raises
    `InputVideoError` where there are no items.
    """

    def __init__(
        self,
        store: TokenStore,
        size: int,
        *,
        seed: int,
        class_drop: float = 0.0,
        held_out: bool = False,
        online: Online | None = None,
    ) -> None:
        self._online = online
        self.store, self.size, self.seed, self.class_drop = store, size, seed, class_drop
        chosen = [item for item in store.items if item.held_out == held_out]
        if not chosen:
            raise InputVideoError(f"the store has no items {'held out' if held_out else 'to train on'}")
        self._first = np.array([item.first for item in chosen])
        self._views = np.array([item.views for item in chosen])
        self._labels = np.array([item.label for item in chosen])

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, number: int, rank: int = 0, world: int = 1) -> TokenBatch:
        """Batch `number`; of `world` processes each gets a part, and all parts are the batch of one.

        Raises `LfqError` where the batch cannot be divided so.
        """
        if self.size % world:
            raise LfqError(f"a batch of {self.size} cannot be divided among {world} processes")
        rng = np.random.default_rng((self.seed, number))
        item = rng.integers(len(self._first), size=self.size)
        begin, end = (each * self.size // world for each in (rank, rank + 1))
        batch = self._drawn(item, rng).part(begin, end)
        if self._online is None:
            return batch
        views = range(number * self.size + begin, number * self.size + end)
        both = torch.from_numpy(self._online(item[begin:end].tolist(), views)).long()
        return replace(batch, tokens=both[:, 0], conditions=both[:, -1])

    def first(self, count: int) -> TokenBatch:
        """The first `count` items, or all, once each; with the same masks every time."""
        rng = np.random.default_rng((self.seed, 0))
        return self._drawn(np.arange(min(count, len(self))), rng)

    def _drawn(self, item: Any, rng: np.random.Generator) -> TokenBatch:
        view = self._first[item] + rng.integers(self._views[item])
        both = (self.store.tokens, self.store.conditions)
        tokens, conditions = (each[view].astype(np.int64) for each in both)
        dropped = rng.random(len(item)) < self.class_drop
        classes = len(self.store.classes)
        labels = np.where(dropped | (classes == 0), classes, self._labels[item])
        ratios = rng.random(len(item))
        scores = rng.random((len(item), int(np.prod(self.store.grid)), 2))
        drawn = (tokens, conditions, labels, ratios, scores)
        return TokenBatch(*(torch.from_numpy(np.array(each)) for each in drawn))
