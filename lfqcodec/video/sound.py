"""Sound from one codec into another, for what an output or a .lfq file cannot hold as it is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

_BITS_PER_CHANNEL = 96_000
# Sound whose time stamp is off by less than this (seconds) goes on without a gap.
_GAP = Fraction(1, 20)


class Recoder:
    """Decodes packets with `decoder` and encodes what they hold with `encoder`, both av.AudioCodecContexts.

    `encoder` may be the stream of an output, too; `prepare` opens both. Times are in samples. The first
    `padding` samples are start padding, which the decoder drops. Gaps are filled with silence. Raises
    `MEDIA_ERRORS`.
    """

    def __init__(self, decoder: Any, encoder: Any, *, rate: int, padding: int) -> None:
        self._decoder, self._encoder, self._rate, self._padding = decoder, encoder, rate, padding
        self._resampler = av.AudioResampler(
            encoder.format.name, encoder.layout.name, rate, encoder.frame_size or None
        )
        # The sample at which the next frame begins, None before the first packet.
        self._next: int | None = None

    def packets(self, data: bytes, begin: int) -> Iterator[Any]:
        """The av.Packets that are ready after one with this data, of sound from the sample `begin` on."""
        packet: Any = av.Packet(len(data))
        packet.update(data)
        if self._next is None:
            self._next = begin + self._padding
        for frame in self._decoder.decode(packet):
            while begin - self._next > _GAP * self._rate:
                yield from self._encode(self._silence(frame, begin - self._next))
            begin += frame.samples
            yield from self._encode(frame)

    def rest(self) -> Iterator[Any]:
        """What is left at the end."""
        if self._next is not None:
            for ready in self._resampler.resample(None):
                yield from self._encoder.encode(ready)
            yield from self._encoder.encode(None)

    def _encode(self, frame: Any) -> Iterator[Any]:
        assert self._next is not None
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
        self._next += frame.samples
        for ready in self._resampler.resample(frame):
            yield from self._encoder.encode(ready)

    def _silence(self, like: Any, samples: int) -> Any:
        """At most a second of it, in the format of the frame `like`."""
        frame = av.AudioFrame(like.format.name, like.layout.name, min(samples, self._rate))
        middle = b"\x80" if like.format.name.startswith("u8") else b"\0"
        for plane in frame.planes:
            plane.update(middle * plane.buffer_size)
        return frame


def prepare(encoder: Any, decoder: Any, *, rate: int, channels: int) -> None:
    """Set up and open an encoder for what `decoder`, which is opened too, gives. Raises `MEDIA_ERRORS`."""
    decoder.open(strict=False)
    encoder.sample_rate = rate
    encoder.layout = decoder.layout.name
    encoder.time_base = Fraction(1, rate)
    if encoder.name == "flac":
        wide = decoder.format is not None and decoder.format.name.startswith("s32")
        encoder.format = "s32" if wide else "s16"
    else:
        encoder.format = encoder.codec.audio_formats[0]
        encoder.bit_rate = _BITS_PER_CHANNEL * channels
    encoder.open()
