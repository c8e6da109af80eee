"""The frame rate of an input: what it says, where that can be, else what its time stamps say."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lfqcodec.video.failures import Notes

DEFAULT_RATE = Fraction(25)
_FASTEST = 1000
# Rates above this are rare, and often the unit of time of a recorder that knows no rate.
PLAUSIBLE = 120
_STANDARD = [Fraction(each) for each in (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)]
_STANDARD += [Fraction(each * 1000, 1001) for each in (15, 24, 30, 48, 60, 120, 240)]


def positive(value: Any) -> Fraction | None:
    """A rate or ratio as a positive Fraction, None where FFmpeg does not know it."""
    if value is None:
        return None
    fraction = Fraction(value)
    return fraction if fraction > 0 else None


def announced_rate(video: Any, notes: Notes, *, raw: bool) -> Fraction | None:
    """What the container says, or in `raw` streams, which have no time stamps, the stream itself."""
    if raw:
        if positive(video.codec_context.framerate) is None:
            notes.add(f"the input has no frame rate: taken as {DEFAULT_RATE} frames per second")
            return DEFAULT_RATE
        return positive(video.guessed_rate) or DEFAULT_RATE
    rate = positive(video.average_rate) or positive(video.guessed_rate)
    return rate if rate is not None and rate <= _FASTEST else None


def measured_rate(announced: Fraction | None, times: Sequence[Fraction]) -> Fraction | None:
    """`announced`, unless the times (seconds, increasing) of the first pictures speak against it."""
    if len(times) < 3:
        return announced
    rate = (len(times) - 1) / (times[-1] - times[0])
    if announced is None and rate > _FASTEST:
        return None
    if announced is not None and (announced <= PLAUSIBLE or announced < rate * Fraction(3, 2)):
        return announced
    # Stamps are rounded, most often to milliseconds.
    nearest = min(_STANDARD, key=lambda each: abs(each - rate))
    return nearest if abs(nearest - rate) < rate / 50 else rate.limit_denominator(1000)
