"""A part of a video by time: the frames and packets that belong to it, and their times from its start on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lfqcodec.bitstream import FileHeader
from lfqcodec.media import StreamPacket
from lfqcodec.timespan import TOLERANCE, TimeSpan


class Cut:
    """The frames from `start` (seconds after the first frame of the file) on, for `duration` seconds.

    Those of a `TimeSpan`, in ticks of the streams of a .lfq file.
    """

    def __init__(
        self, header: FileHeader, start: float | Fraction | None, duration: float | Fraction | None
    ) -> None:
        self.span = TimeSpan.of(start, duration)
        self._header = header
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

    def is_over(self, pts: int) -> bool:
        """True for a frame, shown from tick `pts` on, behind the end."""
        return self.span.is_over(self._since_origin(pts))

    def touches(self, begin: int, end: int) -> bool:
        """True where any of the time from tick `begin` to `end`, which may be the same, is in the cut."""
        return not self.span.is_before(self._since_origin(end)) and not self.is_over(begin)

    def first_tick(self) -> int:
        """The first tick that may belong to the cut."""
        wanted = (self.span.start or Fraction(0)) - TOLERANCE
        return (self._origin or 0) - (-wanted // self._header.time_base)

    def holds(self, pts: int) -> bool:
        """True for a frame, shown from tick `pts` on, that belongs to the cut."""
        return not (self.is_over(pts) or self.span.is_before(self._since_origin(pts)))

    def frame(self, pts: int, duration: int) -> int | None:
        """The new time of a frame, None where it lies outside; all in ticks of the video."""
        if not self.holds(pts):
            return None
        if self._zero is None:
            self._zero = pts
        self.seconds = (pts - self._zero + duration) * self._header.time_base
        return pts - self._zero

    def may_take(self, packet: StreamPacket) -> bool:
        """False for a packet that is over before the start, whichever frame will be the first."""
        return self.span.may_be_heard(self._since_origin_of_packet(packet)[1])

    def _since_origin_of_packet(self, packet: StreamPacket) -> tuple[Fraction, Fraction]:
        """When it begins and when it ends."""
        base = self._header.streams[packet.stream].time_base
        origin = (self._origin or 0) * self._header.time_base
        return packet.pts * base - origin, (packet.pts + packet.duration) * base - origin

    def packet(self, packet: StreamPacket) -> StreamPacket | None:
        """The packet moved as the frames are, None where it is not heard in the cut. Needs `begun`."""
        assert self._zero is not None
        begins, ends = self._since_origin_of_packet(packet)
        if not self.span.is_heard(begins, ends, self._since_origin(self._zero)):
            return None
        base = self._header.streams[packet.stream].time_base
        ticks = round(self._zero * self._header.time_base / base)
        return replace(packet, pts=packet.pts - ticks, dts=packet.dts - ticks)
