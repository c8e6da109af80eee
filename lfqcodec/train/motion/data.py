"""Crops to train on: first pictures, and chains of pictures, which depend on seed and number alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.errors import InputVideoError
from lfqcodec.train.data.pack import Entry, Pack
from lfqcodec.train.data.sampling import SampleConfig, Sampler
from lfqcodec.train.data.sources import Item
from lfqcodec.train.motion.config import PICTURES_OF_STEP, MotionTrainConfig

_SHRINK = 1.5
_SKIP_CHANCE = 0.2
_REVERSE_CHANCE = 0.4
_HELD_OUT_PICTURES = 16
_SHORT, _MEDIUM = 60, 200
PRACTISED = _MEDIUM
"""Number of the chain from which on they have any length. Networks that are new begin with number 0."""
SUFFIX = ".npy"


class Clips(Pack):
    """Clips as arrays uint8 [T, H, W, 3], memory-mapped: .npy files below folders, and whole packs.

    Raises `InputVideoError` where there are none, or a file holds something else.
    """

    def __init__(self, folders: Iterable[Path], packs: Iterable[Path] = (), *, holdout: float = 0.06) -> None:
        self._arrays: list[NDArray[np.uint8]] = []
        self.entries = []
        for path in (path for folder in folders for path in sorted(folder.rglob(f"*{SUFFIX}"))):
            self._add(_mapped(path), path.stem, Item(path.name, path).source)
        for pack in map(Pack, packs):
            for entry in pack.entries:
                self._add(pack.frames(entry, 0, entry.frames), entry.name, entry.source)
        if not self.entries:
            raise InputVideoError(f"nothing to train on: no {SUFFIX} file and no pack")
        self.split(holdout)

    def _add(self, frames: NDArray[np.uint8], name: str, source: str) -> None:
        count, h, w, _ = frames.shape
        # Not a place in a file: which array.
        self.entries.append(Entry(name, source, count, h, w, len(self._arrays)))
        self._arrays.append(frames)

    def frames(self, entry: Entry, first: int, count: int, step: int = 1) -> NDArray[np.uint8]:
        """View of frames as uint8 [count, H, W, 3]."""
        return self._arrays[entry.offset][first : first + (count - 1) * step + 1 : step]


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputVideoError(f"{path}: cannot be read ({error})") from error
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise InputVideoError(f"{path}: holds no frames uint8 [T, H, W, 3]")
    return frames  # type: ignore[no-any-return]


class Pictures:
    """Batches of first pictures, float32 [B, 3, S, S] in [-0.5, 0.5], channels_last."""

    def __init__(self, clips: Pack, config: MotionTrainConfig, rank: int = 0, world: int = 1) -> None:
        shape = SampleConfig(config.batch * world, 1, config.size, max_shrink=_SHRINK)
        self._sampler, self._share = Sampler(clips, shape, seed=config.seed), (rank, world)

    def batch(self, number: int) -> Tensor:
        """Batch `number` of this process."""
        pictures = self._sampler.batch(number, *self._share)[:, :, 0] / 2
        return _mixed(pictures, number, self._share[0]).contiguous(memory_format=torch.channels_last)


class Chains:
    """Batches of chains, float32 [B, 1 + 8 * segments, 3, S, S] in [-0.5, 0.5].

    A segment is what one step learns from. The first chains are short.
    """

    def __init__(self, clips: Pack, config: MotionTrainConfig, rank: int = 0, world: int = 1) -> None:
        self._seed, self._share = config.seed, (rank, world)
        self._group_shares = config.group_shares
        self._samplers = {}
        for segments in (1, 2, 4):
            frames = 1 + PICTURES_OF_STEP * segments
            shape = SampleConfig(config.batch * world, frames, config.size, _SHRINK, _SKIP_CHANCE)
            try:
                self._samplers[segments] = Sampler(clips, shape, seed=config.seed)
            except InputVideoError:
                if segments == 1:
                    raise

    def segments(self, number: int) -> int:
        """How many steps chain `number` lasts."""
        choice = [1, 2, 4]
        if number < _MEDIUM:
            choice = [1] if number < _SHORT else [1, 1, 2]
        drawn = choice[int(np.random.default_rng((self._seed, number, 1)).integers(len(choice)))]
        return min(drawn, max(self._samplers))

    def group_size(self, number: int) -> int:
        """How many pictures the groups of chain `number` have."""
        shares = np.asarray(self._group_shares) / sum(self._group_shares)
        return int(np.random.default_rng((self._seed, number, 3)).choice(GROUP_SIZES, p=shares))

    def batch(self, number: int) -> Tensor:
        """Chains `number` of this process."""
        rank, world = self._share
        pictures = self._samplers[self.segments(number)].batch(number, rank, world).transpose(1, 2) / 2
        return _mixed(pictures, number, rank)


def _mixed(batch: Tensor, number: int, rank: int) -> Tensor:
    """Some upside down, and chains [B, T, 3, S, S] some backwards."""
    rng = np.random.default_rng((number, rank, 2))
    rows = []
    for row in batch:
        dims = [-2] if rng.random() < 0.5 else []
        if row.ndim == 4 and rng.random() < _REVERSE_CHANCE:
            dims.append(0)
        rows.append(row.flip(dims))
    return torch.stack(rows)


def held_out_crops(clips: Pack, config: MotionTrainConfig) -> Tensor:
    """The same crops every time, float32 [N, T, 3, S, S]: T is 1, or 17 for groups; N 0 if nothing is."""
    first = config.phase == "intra"
    frames = 1 if first else 1 + _HELD_OUT_PICTURES
    count = config.held_out * 4 if first else config.held_out
    shape = SampleConfig(count, frames, config.size, _SHRINK, skip_chance=0.0)
    for each in (shape, replace(shape, frames=min(frames, 1 + PICTURES_OF_STEP))):
        try:
            return Sampler(clips, each, seed=0, held_out=True).batch(0).transpose(1, 2) / 2
        except InputVideoError:
            continue
    return torch.zeros(0, frames, 3, config.size, config.size)
