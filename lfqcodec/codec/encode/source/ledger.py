"""What the demuxer gave, compared with what is in the file: a difference is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video import Tally

# Sound that is converted has packets of another length, the last one with silence behind it (seconds).
_SLACK = Fraction(1, 5)


@dataclass
class Written:
    """Packets and seconds of a copied stream that are in the file."""

    packets: int = 0
    seconds: Fraction = Fraction(0)


class Ledger:
    """Counts the packets of copied streams on their way into the file."""

    def __init__(self, streams: Sequence[StreamInfo]) -> None:
        self._streams = streams
        self._written = [Written() for _ in streams]

    def add(self, packets: Iterable[StreamPacket]) -> None:
        """These packets are in the file."""
        for packet in packets:
            entry = self._written[packet.stream]
            entry.packets += 1
            entry.seconds += packet.duration * self._streams[packet.stream].time_base

    def differences(self, tally: Tally, frames: int) -> tuple[str, ...]:
        """A line for each stream of which not all that the demuxer gave is in the file, of so many frames."""
        told = []
        if tally.pictures > frames:
            told.append(f"the input has {tally.pictures} pictures, of which {frames} are in the file")
        for number, (info, given, written) in enumerate(
            zip(self._streams, tally.streams, self._written, strict=True)
        ):
            # Only what became of converted sound cannot be counted in packets.
            fewer = given.packets > written.packets and info.codec != "flac"
            if fewer or given.seconds - written.seconds > _SLACK:
                told.append(
                    f"{info.kind} {number + 1} ({info.codec}) has {float(given.seconds):.2f} s in the input, "
                    f"in {given.packets} packets: {float(written.seconds):.2f} s are in the file"
                )
        return tuple(told)
