"""Pictures in place of lost ones: the last good one is held, and fades into the next good one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lfqcodec.codec.repair.gaps import Gap

FADE = Fraction(1, 2)
"""Seconds before the next good picture during which it fades in."""

Picture = NDArray[np.uint8]


def blend(first: Picture, second: Picture, share: int) -> Picture:
    """`share` / 256 of the second picture, the rest of the first; in integers, alike on every machine."""
    # At most 255 * 256 + 128, which a uint16 holds.
    mixed = first.astype(np.uint16) * np.uint16(256 - share) + second * np.uint16(share) + np.uint16(128)
    return (mixed >> 8).astype(np.uint8)


def fill(
    gaps: Sequence[Gap], before: Picture | None, after: Picture | None, time_base: Fraction
) -> Iterator[tuple[int, int, Picture]]:
    """Pictures for `gaps`, one behind the other, between two good ones: (from, until, picture) in ticks.

    Where one of the two is None, at the start or the end of a video, the other is held. Both cannot be.
    """
    single = before if after is None else after
    assert single is not None
    end = gaps[-1].end
    begin: Fraction = max(Fraction(gaps[0].begin), end - FADE / time_base)
    for gap in gaps:
        for pts, until in gap.shown():
            if before is None or after is None:
                yield pts, until, single
            elif pts < begin:
                yield pts, until, before
            else:
                # From over 0 at the first faded picture to under 1 at the last.
                length = end - begin
                share = (pts - begin + min(Fraction(until - pts), length) / 2) / length
                yield pts, until, blend(before, after, round(256 * share))
