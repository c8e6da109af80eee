"""Sound that no output could hold as it is: converted to FLAC while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from lfqcodec.media import StreamInfo
from lfqcodec.video.failures import MEDIA_ERRORS, Notes
from lfqcodec.video.sound import Recoder, prepare


class ToFlac:
    """Makes FLAC of the packets of an opened input's stream. `info` describes what comes out."""

    def __init__(self, stream: Any, info: StreamInfo, notes: Notes) -> None:
        """Raises `MEDIA_ERRORS` where the sound cannot be decoded here, or not be encoded."""
        rate = info.sample_rate
        decoder = stream.codec_context
        if decoder.is_open:
            # Reading may have begun before, elsewhere in the input.
            decoder.flush_buffers()
        encoder: Any = av.CodecContext.create("flac", "w")
        prepare(encoder, decoder, rate=rate, channels=info.channels)
        self._recoder = Recoder(decoder, encoder, rate=rate, padding=info.initial_padding)
        self._ticks, self._notes, self._codec = info.time_base * rate, notes, info.codec
        self.info = replace(
            info,
            codec="flac",
            time_base=Fraction(1, rate),
            bit_rate=0,
            frame_size=int(encoder.frame_size),
            initial_padding=0,
            extradata=bytes(encoder.extradata),
        )
        notes.add(f"sound ({info.codec}) is converted to flac: no output could hold it as it is")

    def packets(self, packet: Any) -> Iterator[Any]:
        """The av.Packets that are ready after a packet; none for a damaged one."""
        try:
            yield from self._recoder.packets(bytes(packet), round(packet.pts * self._ticks))
        except MEDIA_ERRORS:
            self._notes.add(f"damaged sound ({self._codec}) could not be decoded")

    def rest(self) -> Iterator[Any]:
        """What is left at the end."""
        return self._recoder.rest()
