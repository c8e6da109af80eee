"""Views: what a tokenizer sees of an item. Each is a function of the seed, the item and its number alone."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.generate.pictures import middle, scaled, to_video
from lfqcodec.train.data import Entry, Pack
from lfqcodec.train.generator.config import DataConfig


def span(config: DataConfig) -> int:
    """Frames that a clip must have."""
    return (config.frames - 1) * config.stride + 1


def scaled_side(config: DataConfig, rng: np.random.Generator) -> int:
    """What the shorter side is scaled to: as in ADM (`random_crop_arr`), each whole number alike."""
    low, high = (math.ceil(config.size / part) for part in reversed(config.crop))
    return int(rng.integers(low, high + 1))


def random_view(pack: Pack, entry: Entry, config: DataConfig, *, seed: int, number: int) -> Tensor:
    """View `number` of an item to train on: float32 [3, T, S, S] in [-1, 1].

    A random window of time; scaled to a random size; a random square of it, mirrored by chance.
    """
    name = hashlib.sha256(f"{entry.source}\n{entry.name}".encode()).digest()
    rng = np.random.default_rng((seed, int.from_bytes(name[:8], "little"), number))
    first = int(rng.integers(entry.frames - span(config) + 1))
    video = scaled(_window(pack, entry, config, first), scaled_side(config, rng))
    top, left = (int(rng.integers(side - config.size + 1)) for side in video.shape[2:])
    video = video[:, :, top : top + config.size, left : left + config.size]
    return to_video(video.flip(-1) if config.flip and rng.integers(2) else video)


def middle_view(pack: Pack, entry: Entry, config: DataConfig) -> Tensor:
    """The view to measure on: the middle in time and space, as float32 [3, T, S, S] in [-1, 1]."""
    window = _window(pack, entry, config, (entry.frames - span(config)) // 2)
    return to_video(middle(scaled(window, config.size), config.size))


def _window(pack: Pack, entry: Entry, config: DataConfig, first: int) -> NDArray[np.uint8]:
    return pack.frames(entry, first, config.frames, config.stride)
