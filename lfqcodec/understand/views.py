"""What a network sees of a clip: which frames, how large, which square of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.generate.pictures import scaled, to_video
from lfqcodec.understand.config import ClipConfig

Pictures = NDArray[np.uint8]


def frame_numbers(config: ClipConfig, count: int, parts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of `count` frames are taken: int64 [frames].

    With a stride `parts` float64 [1] in [0, 1) says where the window lies; without one, [frames] says where
    each frame lies in its part of the clip. A clip that is too short ends with its last frame repeated.
    """
    if config.stride:
        free = max(0, count - (config.frames - 1) * config.stride - 1)
        first = int(parts[0] * (free + 1))
        numbers = first + config.stride * np.arange(config.frames)
    else:
        numbers = np.floor((np.arange(config.frames) + parts) * count / config.frames).astype(np.int64)
    return np.minimum(numbers, count - 1)


def in_order(config: ClipConfig, numbers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The numbers, in random order where the configuration says so."""
    return rng.permutation(numbers) if config.order == "shuffled" else numbers


def measured_numbers(config: ClipConfig, count: int, segments: int) -> list[NDArray[np.int64]]:
    """The frames of each of `segments` views that are spread over the clip; of one, the middle."""
    size = 1 if config.stride else config.frames
    places = ((k + 0.5) / segments for k in range(segments))
    rng = np.random.default_rng(count)
    return [in_order(config, frame_numbers(config, count, np.full(size, place)), rng) for place in places]


def measured_views(config: ClipConfig, clip: Pictures, segments: int = 1, crops: int = 1) -> Iterator[Tensor]:
    """`segments` x `crops` views of a clip uint8 [T, H, W, 3], crops along its longer side.

    Each is float32 [3, frames, size, size] in [-1, 1]; one crop lies in the middle.
    """
    for numbers in measured_numbers(config, len(clip), segments):
        x = scaled(clip[numbers], config.test_side)
        for number in range(crops):
            place = number / (crops - 1) if crops > 1 else 0.5
            longer = int(x.shape[3] > x.shape[2])
            at = [0.5, 0.5]
            at[longer] = place
            top, left = (round((side - config.size) * p) for side, p in zip(x.shape[2:], at, strict=True))
            yield to_video(x[..., top : top + config.size, left : left + config.size])
