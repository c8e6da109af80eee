"""Random crops of a pack. Batch n is a function of (seed, n) alone, so a resumed run sees the same crops.

A batch is planned first, as a list of `Crop`s, which costs next to nothing, and then read. So a process that
trains on a share of every batch reads that share only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.train.data.pack import Entry, Pack


@dataclass(frozen=True)
class SampleConfig:
    """What a batch is made of: `batch` crops of `frames` x `size` x `size`.

    `max_shrink` bounds the random reduction (which also takes out coding noise). `skip_chance` is the chance
    of taking every second frame, where the clip is long enough. Raises `LfqError` for a value out of range.
    """

    batch: int
    frames: int
    size: int
    max_shrink: float = 2.0
    skip_chance: float = 0.1

    def __post_init__(self) -> None:
        if min(self.batch, self.frames, self.size) < 1:
            raise LfqError("a batch needs at least one crop of one frame of one pixel")
        if not (1 <= self.max_shrink < math.inf and 0 <= self.skip_chance <= 1):
            raise LfqError("max_shrink must be at least 1, and skip_chance between 0 and 1")


@dataclass(frozen=True)
class Crop:
    """A square of `side` pixels out of every `step`-th frame from `first` on; `flip` mirrors it."""

    entry: Entry
    first: int
    step: int
    side: int
    top: int
    left: int
    flip: bool


class Sampler:
    """Draws batches from a pack. Raises `InputVideoError` where no clip is large and long enough.

    Reading changes nothing in a sampler, so several threads may share one.
    """

    def __init__(self, pack: Pack, config: SampleConfig, *, seed: int, held_out: bool = False) -> None:
        self.pack, self.config, self.seed = pack, config, seed
        entries = pack.held_out if held_out else pack.training
        large = [entry for entry in entries if min(entry.height, entry.width) >= config.size]
        self.pool = [entry for entry in large if entry.frames >= config.frames]
        if not self.pool:
            kind = "held-out " if held_out else ""
            need = f"{config.size}x{config.size} pixels"
            if config.frames == 1:
                raise InputVideoError(f"no {kind}picture has {need}: scale them up")
            raise InputVideoError(f"no {kind}clip has {config.frames} frames of {need}")
        # Long clips are drawn more often, but less than in proportion: their frames resemble each other.
        weight = np.sqrt([entry.frames - config.frames + 1 for entry in self.pool])
        if config.frames == 1:
            weight = np.minimum(weight, 8.0)
        self.weight = weight / weight.sum()

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Tensor:
        """Batch number `step`: float32 [B, 3, T, S, S] in [-1, 1].

        With `world` processes, process `rank` gets crops rank * B / world and on. All shares, in order of
        rank, are the whole batch to the bit. Raises `LfqError` where the batch cannot be divided so.
        """
        if self.config.batch % world:
            raise LfqError(f"a batch of {self.config.batch} cannot be divided among {world} processes")
        share = self.config.batch // world
        plan = self.plan(step)[rank * share : (rank + 1) * share]
        return torch.stack([self.read(crop) for crop in plan])

    def plan(self, step: int) -> list[Crop]:
        """What all crops of batch number `step` are."""
        rng = np.random.default_rng((self.seed, step))
        return [self._draw(rng) for _ in range(self.config.batch)]

    def _draw(self, rng: np.random.Generator) -> Crop:
        c = self.config
        entry = self.pool[int(rng.choice(len(self.pool), p=self.weight))]
        skips = c.frames > 1 and rng.random() < c.skip_chance and entry.frames >= 2 * c.frames - 1
        step = 2 if skips else 1
        span = step * (c.frames - 1) + 1
        first = int(rng.integers(entry.frames - span + 1))
        shrink = min(float(rng.uniform(1.0, c.max_shrink)), min(entry.height, entry.width) / c.size)
        side = max(c.size, int(c.size * shrink))
        top = int(rng.integers(entry.height - side + 1))
        left = int(rng.integers(entry.width - side + 1))
        return Crop(entry, first, step, side, top, left, bool(rng.random() < 0.5))

    def read(self, crop: Crop) -> Tensor:
        """One crop: float32 [3, T, S, S] in [-1, 1]."""
        c = self.config
        rows, columns = slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)
        view = self.pack.frames(crop.entry, crop.first, c.frames, crop.step)[:, rows, columns]
        x = torch.from_numpy(np.array(view)).permute(0, 3, 1, 2).float()
        if crop.side != c.size:
            x = F.interpolate(x, (c.size, c.size), mode="bilinear", antialias=True)
        if crop.flip:
            x = x.flip(-1)
        return (x / 127.5 - 1).transpose(0, 1)
