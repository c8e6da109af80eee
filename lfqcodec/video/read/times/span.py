"""The part of an input that is wanted, while it is read: a state for the pictures in it, one for behind it.

A state takes an item and gives what goes out now, and the state after it: None when nothing more can come.
"""

from __future__ import annotations

from fractions import Fraction

from lfqcodec.video.read.times.timeline import Timed, Timeline

# How far (seconds) to go on behind the end for sound that is stored later than the pictures it belongs to.
_LINGER = 2


class Inside:
    """Pictures are wanted: those of a `Timeline` within its span, at most `most` of them (None for all)."""

    def __init__(self, line: Timeline, most: int | None) -> None:
        self._line, self._most, self._count = line, most, 0
        self._open = {number for number, info in enumerate(line.streams) if info.kind == "audio"}
        # Where pictures are counted the end is known only when the one behind it comes: packets wait for it.
        self._held: list[Timed] = []

    def step(self, timed: Timed) -> tuple[list[Timed], Inside | Behind | None]:
        """Take the next item."""
        index, _, time = timed
        span, since_origin = self._line.span, time - self._line.origin
        if index >= 0:
            if not self._line.is_heard(timed):
                if span.end is not None and since_origin >= span.end:
                    self._open.discard(index)
                return [], self
            if self._most is not None:
                self._held.append(timed)
                return [], self
            return [timed], self
        if span.end is not None and span.is_over(since_origin):
            return self._finish(self._line.origin + span.end)
        if self._most is not None and self._count >= self._most:
            return self._finish(time)
        self._count += 1
        return [timed, *self._release(time)], self

    def rest(self) -> list[Timed]:
        """What still waits when the input ends."""
        return self._held

    def _finish(self, end: Fraction) -> tuple[list[Timed], Behind | None]:
        return self._release(end), Behind(end, self._open) if self._open else None

    def _release(self, limit: Fraction) -> list[Timed]:
        """Take the packets from before `limit` out of those that wait, in their order."""
        ready = [timed for timed in self._held if timed[2] < limit]
        self._held = [timed for timed in self._held if timed[2] >= limit]
        return ready


class Behind:
    """The last picture is out; sound from before `end` may still come, of the audio streams in `open_`."""

    def __init__(self, end: Fraction, open_: set[int]) -> None:
        self._end, self._open = end, open_

    def step(self, timed: Timed) -> tuple[list[Timed], Behind | None]:
        """Take the next item."""
        index, _, time = timed
        if index < 0:
            return [], None if time > self._end + _LINGER else self
        if time < self._end:
            return [timed], self
        self._open.discard(index)
        return [], self if self._open else None

    def rest(self) -> list[Timed]:
        """Nothing waits."""
        return []
