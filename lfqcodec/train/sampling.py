"""Random crops of a pack. Batch n is a function of (seed, n) alone, so a resumed run sees the same crops.

A batch is planned first, as a list of `Crop`s and `Glide`s, which costs next to nothing, and then read. So a
process that trains on a share of every batch reads that share only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.train.pack import Entry, Pack


@dataclass(frozen=True)
class SampleConfig:
    """What a batch is made of: `batch` crops of `frames` x `size` x `size`.

    `max_shrink` bounds the random reduction (which also takes out coding noise). `skip_chance` is the chance
    of taking every n-th frame, with n one of `rate_jitter`, as far as the clip is long enough.
    `image_share` is the share of pictures among the crops of more than one frame: a part of them,
    `still_share`, stands still, and over the others the window glides along a straight line, by up to
    `max_pan` pixels a frame.
    Raises `LfqError` for a value out of range.
    """

    batch: int
    frames: int
    size: int
    max_shrink: float = 2.0
    skip_chance: float = 0.1
    rate_jitter: tuple[int, ...] = (2,)
    image_share: float = 0.0
    still_share: float = 0.25
    max_pan: float = 3.0

    def __post_init__(self) -> None:
        if min(self.batch, self.frames, self.size) < 1:
            raise LfqError("a batch needs at least one crop of one frame of one pixel")
        if not (self.max_shrink >= 1 and math.isfinite(self.max_shrink)):
            raise LfqError(f"max_shrink is {self.max_shrink}; it must be at least 1")
        for name in ("skip_chance", "image_share", "still_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise LfqError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if not self.rate_jitter or min(self.rate_jitter) < 1:
            raise LfqError(f"rate_jitter is {self.rate_jitter}; it must be numbers from 1")
        if not (self.max_pan >= 0 and math.isfinite(self.max_pan)):
            raise LfqError(f"max_pan is {self.max_pan}; it must be at least 0")


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


@dataclass(frozen=True)
class Glide:
    """A window over a picture that was shrunk to `height` x `width`.

    It begins at (`top`, `left`) and moves by (`down`, `right`) over the clip; all in pixels after shrinking.
    """

    entry: Entry
    height: int
    width: int
    top: float
    left: float
    down: float
    right: float
    flip: bool


class Sampler:
    """Draws batches from a pack; batch n is a function of (seed, n).

    Raises `InputVideoError` where no clip is large and long enough, or pictures are wanted and there are
    none.
    Reading changes nothing in a sampler, so several threads may share one.
    """

    def __init__(self, pack: Pack, config: SampleConfig, *, seed: int, held_out: bool = False) -> None:
        self.pack, self.config, self.seed = pack, config, seed
        kind = "held-out " if held_out else ""
        large = [
            e for e in (pack.held_out if held_out else pack.training) if min(e.height, e.width) >= config.size
        ]
        self.pool = [e for e in large if e.frames >= config.frames]
        self.pictures = [e for e in large if e.frames == 1] if self._mixed else []
        if self._mixed and not self.pictures:
            raise InputVideoError(f"no {kind}picture has {config.size}x{config.size} pixels")
        if not self.pool and not (self._mixed and config.image_share == 1):
            raise InputVideoError(
                f"no {kind}clip has {config.frames} frames of {config.size}x{config.size} pixels"
            )
        # Long clips are drawn more often, but less than in proportion: their frames resemble each other.
        weight = np.sqrt([e.frames - config.frames + 1 for e in self.pool])
        if config.frames == 1:
            weight = np.minimum(weight, 8.0)
        self.weight = weight / weight.sum()

    @property
    def _mixed(self) -> bool:
        return self.config.frames > 1 and self.config.image_share > 0

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Tensor:
        """Batch number `step`: float32 [B, 3, T, S, S] in [-1, 1].

        With `world` processes, process `rank` gets crops rank * B / world and on: float32
        [B / world, 3, T, S, S]. All shares, in order of rank, are the whole batch to the bit. Raises
        `LfqError` where the batch cannot be divided so.
        """
        share = check_share(self.config.batch, rank, world)
        plan = self.plan(step)[rank * share : (rank + 1) * share]
        return torch.stack([self.read(crop) for crop in plan])

    def plan(self, step: int) -> list[Crop | Glide]:
        """What all crops of batch number `step` are."""
        rng = np.random.default_rng((self.seed, step))
        return [self._draw(rng) for _ in range(self.config.batch)]

    def read(self, crop: Crop | Glide) -> Tensor:
        """One crop: float32 [3, T, S, S] in [-1, 1]."""
        x = self._read_glide(crop) if isinstance(crop, Glide) else self._read_crop(crop)
        if crop.flip:
            x = x.flip(-1)
        return (x / 127.5 - 1).transpose(0, 1)

    # The order in which numbers are drawn decides what a run sees: a new one goes behind a setting that is
    # off by default.

    def _draw(self, rng: np.random.Generator) -> Crop | Glide:
        if self._mixed and rng.random() < self.config.image_share:
            return self._draw_glide(rng)
        c = self.config
        entry = self.pool[int(rng.choice(len(self.pool), p=self.weight))]
        step = 1
        if c.frames > 1 and rng.random() < c.skip_chance:
            fitting = [n for n in c.rate_jitter if entry.frames >= n * (c.frames - 1) + 1]
            if len(fitting) > 1:
                step = fitting[int(rng.integers(len(fitting)))]
            elif fitting:
                step = fitting[0]
        span = step * (c.frames - 1) + 1
        first = int(rng.integers(entry.frames - span + 1))
        side = max(c.size, int(c.size * self._draw_shrink(rng, entry)))
        top = int(rng.integers(entry.height - side + 1))
        left = int(rng.integers(entry.width - side + 1))
        return Crop(entry, first, step, side, top, left, bool(rng.random() < 0.5))

    def _draw_shrink(self, rng: np.random.Generator, entry: Entry) -> float:
        largest = min(entry.height, entry.width) / self.config.size
        return min(float(rng.uniform(1.0, self.config.max_shrink)), largest)

    def _draw_glide(self, rng: np.random.Generator) -> Glide:
        c = self.config
        entry = self.pictures[int(rng.integers(len(self.pictures)))]
        shrink = self._draw_shrink(rng, entry)
        height = max(c.size, round(entry.height / shrink))
        width = max(c.size, round(entry.width / shrink))
        spare = np.array([height - c.size, width - c.size])
        flip = bool(rng.random() < 0.5)
        if rng.random() < c.still_share:
            top, left = (float(v) for v in rng.integers(spare + 1))
            return Glide(entry, height, width, top, left, 0.0, 0.0, flip)
        angle = rng.uniform(0, 2 * math.pi)
        way = np.array([math.sin(angle), math.cos(angle)]) * rng.uniform(0, c.max_pan) * (c.frames - 1)
        # Slower where there is not that much room, in the same direction; along the side that has room only
        # where the other has none.
        way[spare == 0] = 0.0
        way *= min(1.0, *(float(s / abs(w)) if w else 1.0 for s, w in zip(spare, way, strict=True)))
        top, left = (float(v) for v in np.maximum(0.0, -way) + rng.random(2) * (spare - abs(way)))
        return Glide(entry, height, width, top, left, float(way[0]), float(way[1]), flip)

    # Reading gives float32 [T, 3, S, S] in [0, 255].

    def _read_crop(self, crop: Crop) -> Tensor:
        c = self.config
        rows, columns = slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)
        view = self.pack.frames(crop.entry, crop.first, c.frames, crop.step)[:, rows, columns]
        return _resized(view, c.size, c.size)

    def _read_glide(self, glide: Glide) -> Tensor:
        c = self.config
        picture = _resized(self.pack.frames(glide.entry, 0, 1), glide.height, glide.width)
        if not (glide.down or glide.right):
            top, left = int(glide.top), int(glide.left)
            window = picture[:, :, top : top + c.size, left : left + c.size]
            return window.expand(c.frames, -1, -1, -1).contiguous()
        time = torch.arange(c.frames) / (c.frames - 1)
        pixel = torch.arange(c.size)
        # Centres of the pixels as grid_sample counts them: the picture reaches from -1 to 1.
        y = ((glide.top + glide.down * time)[:, None] + pixel + 0.5) * (2 / glide.height) - 1
        x = ((glide.left + glide.right * time)[:, None] + pixel + 0.5) * (2 / glide.width) - 1
        shape = (c.frames, c.size, c.size)
        grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), -1)
        # Bicubic, as linear weights would blur the frames by how far they lie between the pixels.
        moved = F.grid_sample(
            picture.expand(c.frames, -1, -1, -1), grid, "bicubic", "border", align_corners=False
        )
        return moved.clamp(0, 255)


def check_share(batch: int, rank: int, world: int) -> int:
    """Crops of a batch for each of `world` processes. Raises `LfqError` where it does not work out."""
    if world < 1 or not 0 <= rank < world:
        raise LfqError(f"there is no process {rank} of {world}")
    if batch % world:
        raise LfqError(f"a batch of {batch} cannot be divided among {world} processes")
    return batch // world


def _resized(view: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """Frames uint8 [T, H, W, 3] as float32 [T, 3, height, width] in [0, 255]."""
    x = torch.from_numpy(np.array(view)).permute(0, 3, 1, 2).float()
    if x.shape[-2:] != (height, width):
        x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
    return x
