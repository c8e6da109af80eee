"""What the demuxer gave: to be compared with what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

# Pictures of VP8 that only others refer to are packets of their own; a bit of the first byte tells them.
_VP8_SHOWN = 0x10


@dataclass
class Delivered:
    """Packets and seconds of a copied stream."""

    packets: int = 0
    seconds: Fraction = Fraction(0)


@dataclass
class Tally:
    """Pictures (packets of video that are meant to be shown), and what came of each copied stream.

    `decoded` counts the pictures that came out of the decoder.
    """

    pictures: int = 0
    decoded: int = 0
    streams: list[Delivered] = field(default_factory=list)

    def picture(self, packet: Any, codec: str) -> None:
        """Count a packet of video."""
        hidden = packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & _VP8_SHOWN)
        self.pictures += not hidden

    def sound(self, number: int, packet: Any) -> None:
        """Count a packet of copied stream `number`."""
        stream = self.streams[number]
        stream.packets += 1
        stream.seconds += (packet.duration or 0) * packet.time_base
