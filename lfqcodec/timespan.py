"""A part of a video by time: the rules by which inputs and .lfq files are cut, in exact seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec import arguments
from lfqcodec.errors import ArgumentValueError
from lfqcodec.media import Chapter

_NANOSECONDS = 10**9
TOLERANCE = Fraction(1, 1000)
"""Times of frames are ticks, but users give decimal seconds: 0.0333 is meant to be frame 1 of 30 a second."""


def exact_seconds(value: float | Fraction | None, name: str) -> Fraction | None:
    """`value` as an exact number of seconds. `ArgumentError`, calling it `name`, where it is not finite."""
    return None if value is None else arguments.seconds(name, value)


@dataclass(frozen=True)
class TimeSpan:
    """From `start` to `end`, in seconds since the first frame of the whole; None for no bound.

    The first frame in it becomes time 0. Without `start` all sound from before it is kept, with `start` only
    packets that are still heard then.
    """

    start: Fraction | None = None
    end: Fraction | None = None

    @classmethod
    def of(cls, start: float | Fraction | None, duration: float | Fraction | None) -> TimeSpan:
        """From `start` on for `duration` seconds. `ArgumentError` unless `start` >= 0 and `duration` > 0."""
        begin, length = exact_seconds(start, "start"), exact_seconds(duration, "duration")
        if begin is not None and begin < 0:
            raise ArgumentValueError("start", "must be at least 0 seconds")
        if length is not None and length <= 0:
            raise ArgumentValueError("duration", "must be over 0 seconds")
        return cls(begin or None, None if length is None else (begin or 0) + length)

    def is_before(self, time: Fraction) -> bool:
        """True for what is shown at `time`, or lasts until then, before the start."""
        return self.start is not None and time < self.start - TOLERANCE

    def is_over(self, time: Fraction) -> bool:
        """True for a frame that is shown from `time` on, behind the end."""
        return self.end is not None and time >= self.end - TOLERANCE

    def may_be_heard(self, ends: Fraction) -> bool:
        """False for a packet that `ends` before the start, whichever frame will be the first."""
        return self.start is None or ends > self.start - TOLERANCE

    def chapters(self, chapters: Iterable[Chapter], first: Fraction) -> tuple[Chapter, ...]:
        """What is left of `chapters` where the first frame in the span, at the time `first`, is time 0."""
        begin = round(first * _NANOSECONDS)
        end = None if self.end is None else round(self.end * _NANOSECONDS)
        kept = []
        for each in chapters:
            over = end is not None and each.start >= end
            if self != TimeSpan() and (each.end <= begin or over):
                continue
            last = each.end if end is None else min(each.end, end)
            start = max(0, each.start - begin)
            kept.append(Chapter(start, max(start, last - begin), each.title))
        return tuple(kept)

    def is_heard(self, begins: Fraction, ends: Fraction, first: Fraction) -> bool:
        """Whether a packet belongs to the frames from the time `first` on."""
        early = self.start is not None and begins < first and ends <= first
        return not early and not (self.end is not None and begins >= self.end)
