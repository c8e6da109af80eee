"""Pictures in memory as a source: arrays of NumPy, tensors of Torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import ArgumentTypeError, ArgumentValueError, InputVideoError
from lfqcodec.video.read.source import Item, Source


@dataclass(frozen=True)
class Pictures:
    """Pictures in display order, uint8 RGB, all of one size: so many a second.

    Arrays are [H, W, 3] each or [T, H, W, 3] together, tensors [3, H, W] each or [T, 3, H, W] together;
    `frames` may be anything that gives them one after the other.
    """

    frames: Iterable[Any]
    frame_rate: Fraction


class ArraySource(Source):
    """`Pictures` as a video without sound. Raises `ArgumentError` for a first picture that is none."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__("frames")
        self.frame_rate, self.time_base = pictures.frame_rate, 1 / pictures.frame_rate
        try:
            self.frame_count = len(pictures.frames)  # type: ignore[arg-type]
            self.duration = self.frame_count / pictures.frame_rate
        except TypeError:
            pass
        frames = iter(pictures.frames)
        first = next(frames, None)
        if first is None:
            raise ArgumentValueError("source", "has no frames")
        self._shape = to_array(first).shape
        self._frames = itertools.chain([first], frames)

    def items(self, copied: list[Any]) -> Iterator[Item]:
        for number, each in enumerate(self._frames):
            try:
                array = to_array(each)
            except ArgumentTypeError as error:
                raise InputVideoError(f"frame {number} {error.problem}") from error
            if array.shape != self._shape:
                raise InputVideoError(f"frame {number} has the shape {array.shape}, not {self._shape}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts = number
            yield -1, frame


def to_array(picture: Any) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of an array of that shape or a tensor [3, H, W]. Raises `ArgumentTypeError`."""
    wanted = "an array uint8 [H, W, 3]"
    if type(picture).__module__.partition(".")[0] == "torch":
        wanted = "a tensor uint8 [3, H, W]"
        picture = picture.detach().cpu().numpy()
        picture = picture.transpose(1, 2, 0) if picture.ndim == 3 else picture
    if not isinstance(picture, np.ndarray):
        raise ArgumentTypeError("source", f"must give arrays or tensors, not {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ArgumentTypeError("source", f"must be {wanted}, not {picture.dtype} {list(picture.shape)}")
    return picture
