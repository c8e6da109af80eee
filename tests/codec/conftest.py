"""Clips that several files of tests code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from codec_support import encoded, frames_of, y4m
from video_support import write_video


@pytest.fixture(scope="session")
def uneven(tmp_path_factory):
    """100 frames on a millisecond clock, uneven, with AAC; in GOPs of two chunks the last has one frame."""
    times = [0, *np.cumsum(np.random.default_rng(3).integers(10, 70, 99)).tolist()]
    return write_video(
        tmp_path_factory.mktemp("uneven") / "a.mp4",
        frames=100,
        size=(24, 24),
        pts=times,
        time_base=Fraction(1, 1000),
        rate=30,
        audio="aac",
        seconds=times[-1] / 1000,
    )


@pytest.fixture(scope="session")
def steady():
    """80 frames at 25 a second in GOPs of 33, 33 and 14 frames: units 0 1, 2 3, 4, index, trailer."""
    return encoded(y4m(80, (24, 24)), gop=33, profile="static")


@pytest.fixture(scope="session")
def frames(steady):
    return frames_of(steady)
