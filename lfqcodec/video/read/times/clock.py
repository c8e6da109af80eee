"""One clock for all streams of an input: where time stamps start again or jump, pictures and sound go on.

The rule is that of ffmpeg (`ts_discontinuity_detect` in fftools/ffmpeg_demux.c). Within a stream, decoding
times that go back by more than a tenth of a second are a jump; where the format is known for jumps (transport
streams, Ogg), so is a step of more than ten seconds. A jump moves everything behind it, in all streams, so
that the stream in which it was seen goes on where it had ended, both in decoding and in presentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lfqcodec.video.failures import Notes

_BACK = Fraction(1, 10)
_FAR = 10
# Pictures are shown at most so long (seconds) after they are decoded.
_LAG = 1


@dataclass
class _Stream:
    """Decoding times (seconds): of the last packet, of the one before it, and where the next one is due.

    `end` is where the last of all pictures, or sound, ends.
    """

    last: Fraction
    before: Fraction
    due: Fraction
    end: Fraction


class Clock:
    """Moves the time stamps of demuxed packets, in demux order. `moved` is by how many seconds, so far."""

    def __init__(self, notes: Notes, *, jumps: bool) -> None:
        """`jumps` tells that the format is known for them."""
        self._notes, self._jumps = notes, jumps
        self._streams: dict[int, _Stream] = {}
        self._last: Fraction | None = None
        self.moved = Fraction(0)

    def place(self, packet: Any, stream: int, *, sparse: bool = False) -> Fraction | None:
        """Set the times of an av.Packet and give its decoding time; None for a packet without any times.

        `sparse` streams (subtitles) follow the others and show no jumps.
        """
        base = packet.time_base
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return None
        time: Fraction = stamp * base + self.moved
        seen = self._streams.get(stream)
        # Times of presentation go back and forth by nature.
        ordered = packet.dts is not None
        if ordered and not sparse:
            shown = time if packet.pts is None else packet.pts * base + self.moved
            jump = self._jump(time, shown, seen)
            if jump:
                self._notes.add("the clock of the input jumps: pictures and sound go on without a break")
                self.moved -= jump
                time -= jump
        if ticks := round(self.moved / base):
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        if ordered:
            length = (packet.duration or 0) * base
            if not length and seen is not None and not sparse:
                length = max(Fraction(0), time - seen.last)
            # `packet` has its new times here.
            end = (time if packet.pts is None else packet.pts * base) + length
            if seen is None:
                self._streams[stream] = _Stream(time, time, time + length, end)
            else:
                self._streams[stream] = _Stream(time, seen.last, time + length, max(seen.end, end))
            self._last = self._last if sparse else time
        return time

    def due(self, stream: int) -> Fraction:
        """When the next packet of a stream should come."""
        seen = self._streams.get(stream)
        return Fraction(0) if seen is None else seen.due

    def _jump(self, time: Fraction, shown: Fraction, seen: _Stream | None) -> Fraction:
        """By how much the clock has jumped before a packet that is decoded at `time` and `shown` then."""
        if self._last is None:
            return Fraction(0)
        # Where the other streams have gone on to the same time, this one has only paused.
        away = self._jumps and abs(time - self._last) > _FAR
        if seen is None:
            return time - self._last if away else Fraction(0)
        # Where the stamp before was the odd one, those behind it go on as if it had not been.
        back = time < seen.last - _BACK and time <= seen.before
        far = away and abs(time - seen.due) > _FAR
        if not (back or far):
            return Fraction(0)
        jump, other = time - seen.due, shown - seen.end
        # Some formats have no times of decoding, and those that are made up begin anew in each part.
        return other if jump - _LAG < other < jump else jump
