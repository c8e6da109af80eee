"""A part of a video by time: the frames and packets that belong to it, and their times from its start on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lfqcodec import arguments
from lfqcodec.bitstream import FileHeader
from lfqcodec.errors import ArgumentValueError
from lfqcodec.media import StreamPacket


def exact_seconds(value: float | Fraction | None, name: str) -> Fraction | None:
    """`value` as an exact number of seconds. `ArgumentError`, calling it `name`, where it is not finite."""
    return None if value is None else arguments.seconds(name, value)


def check_range(start: float | Fraction | None, duration: float | Fraction | None) -> None:
    """`ArgumentError` unless `start` >= 0 and `duration` > 0 seconds; None is allowed."""
    begin, length = exact_seconds(start, "start"), exact_seconds(duration, "duration")
    if begin is not None and begin < 0:
        raise ArgumentValueError("start", "must be at least 0 seconds")
    if length is not None and length <= 0:
        raise ArgumentValueError("duration", "must be over 0 seconds")


class Cut:
    """The frames from `start` (seconds after the first frame of the file) on, for `duration` seconds.

    The first frame that is taken becomes time 0. Without `start` all sound from before it is kept, with
    `start` only packets that are still heard then; `lfqcodec.video` cuts its inputs by the same rules.
    """

    # Frame times are ticks, but users give decimal seconds: allow what rounding loses.
    TOLERANCE = Fraction(1, 1000)

    def __init__(
        self, header: FileHeader, start: float | Fraction | None, duration: float | Fraction | None
    ) -> None:
        check_range(start, duration)
        self._header = header
        self.start = exact_seconds(start, "start") or None
        self._duration = exact_seconds(duration, "duration")
        self._origin: int | None = None
        self._zero: int | None = None
        self.seconds = Fraction(0)
        """Length of what was taken so far, the duration of its last frame included."""

    def begin(self, pts: int) -> None:
        """Say at which tick the first frame of the file is shown; the first call counts."""
        if self._origin is None:
            self._origin = pts

    @property
    def begun(self) -> bool:
        """True once a frame was taken, so that packets can be moved with it."""
        return self._zero is not None

    def _since_origin(self, pts: int) -> Fraction:
        return (pts - (self._origin or 0)) * self._header.time_base

    @property
    def _end(self) -> Fraction | None:
        return None if self._duration is None else (self.start or 0) + self._duration

    def is_over(self, pts: int) -> bool:
        """True for a frame, shown from tick `pts` on, behind the end."""
        return self._end is not None and self._since_origin(pts) >= self._end - self.TOLERANCE

    def touches(self, begin: int, end: int) -> bool:
        """True where any of the time from tick `begin` to `end`, which may be the same, is in the cut."""
        early = self.start is not None and self._since_origin(end) < self.start - self.TOLERANCE
        return not early and not self.is_over(begin)

    def first_tick(self) -> int:
        """The first tick that may belong to the cut."""
        wanted = (self.start or Fraction(0)) - self.TOLERANCE
        return (self._origin or 0) - (-wanted // self._header.time_base)

    def frame(self, pts: int, duration: int) -> int | None:
        """The new time of a frame, None where it lies outside; all in ticks of the video."""
        if self.is_over(pts):
            return None
        if self.start is not None and self._since_origin(pts) < self.start - self.TOLERANCE:
            return None
        if self._zero is None:
            self._zero = pts
        self.seconds = (pts - self._zero + duration) * self._header.time_base
        return pts - self._zero

    def may_take(self, packet: StreamPacket) -> bool:
        """False for a packet that is over before the start, whichever frame will be the first."""
        ticks = packet.pts + packet.duration
        heard_until = ticks * self._header.streams[packet.stream].time_base
        origin = (self._origin or 0) * self._header.time_base
        return self.start is None or heard_until - origin > self.start - self.TOLERANCE

    def packet(self, packet: StreamPacket) -> StreamPacket | None:
        """The packet moved as the frames are, None where it is not heard in the cut. Needs `begun`."""
        assert self._zero is not None
        base = self._header.streams[packet.stream].time_base
        zero = self._zero * self._header.time_base
        begins, ends = packet.pts * base, (packet.pts + packet.duration) * base
        if self.start is not None and begins < zero and ends <= zero:
            return None
        if self._end is not None and begins - (self._origin or 0) * self._header.time_base >= self._end:
            return None
        ticks = round(zero / base)
        return replace(packet, pts=packet.pts - ticks, dts=packet.dts - ticks)
