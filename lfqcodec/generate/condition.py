"""The first pictures of a clip that is to be continued."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import InputVideoError
from lfqcodec.generate.pictures import middle, scaled
from lfqcodec.media import Frame
from lfqcodec.video import open_video


def read_condition(
    source: str | os.PathLike[str], *, frames: int, size: int, start: Fraction | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """The pictures of a video from `start` on, uint8 [frames, size, size, 3], and notes for a person.

    The shorter side is scaled to `size` and the middle cut out. Raises `InputVideoError` for fewer.
    """
    with open_video(source, start=start, max_frames=frames, copy_streams=False) as reader:
        found = [event.rgb for event in reader.events() if isinstance(event, Frame)]
    if len(found) < frames:
        raise InputVideoError(f"{source}: has {len(found)} pictures there, the condition takes {frames}")
    notes = []
    height, width = found[0].shape[:2]
    if (height, width) != (size, size):
        notes.append(f"the condition was scaled and cut from {width}x{height} to {size}x{size}")
    cut = middle(scaled(np.stack(found), size), size).permute(0, 2, 3, 1)
    return cut.to("cpu").numpy().astype(np.uint8), notes
