"""How a copied stream gets into an output: packet by packet, as text in another format, or converted."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video.failures import MEDIA_ERRORS
from lfqcodec.video.names import codec_name
from lfqcodec.video.sound import Recoder, prepare
from lfqcodec.video.write.acm import rename
from lfqcodec.video.write.ebml import with_tracks
from lfqcodec.video.write.template import SUFFIXES, add_copied_stream, goes_by_number, opened_template
from lfqcodec.video.write.text import has_style, plain_text, to_mov_text

_MP4 = ("mp4", "mov")
# What sound becomes where it cannot be copied.
_CONVERTED = {"mp4": "aac", "mov": "aac", "matroska": "flac"}
_ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Text\r\n"
)


class Carrier(ABC):
    """Makes of `StreamPacket`s what an output container can hold.

    `note` is what is lost of those so far, "" for nothing.
    """

    note = ""
    goes_by_number = False
    """Whether its track needs `acm.rename` once the file is written."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @abstractmethod
    def packets(self, packet: StreamPacket) -> Iterable[Any]:
        """What to mux for a packet: av.Packets, times in their own time base. May raise `MEDIA_ERRORS`."""

    def rest(self) -> Iterable[Any]:
        """What is left to mux at the end."""
        return ()


class Copied(Carrier):
    """Every packet as it is."""

    def __init__(self, container: Any, info: StreamInfo, sample: StreamPacket | None) -> None:
        """Raises ValueError where the container cannot hold it. `sample` is the first packet."""
        super().__init__(add_copied_stream(container, info, sample))
        self.goes_by_number = goes_by_number(container.format.name, info, sample)
        self._base = info.time_base

    def packets(self, packet: StreamPacket) -> Iterable[Any]:
        yield _packet(packet.data, packet, self._base, self.stream)


class Text(Carrier):
    """Text subtitles in the format of the container: SubRip in Matroska, mov_text in MP4."""

    def __init__(self, container: Any, info: StreamInfo) -> None:
        """Raises ValueError where the container cannot hold subtitles."""
        self._codec, self._base = info.codec, info.time_base
        self._mov = container.format.name in _MP4
        if self._mov:
            stream = container.add_stream("mov_text")
            # The encoder makes the description of the track of it; packets are made here.
            stream.codec_context.subtitle_header = _ASS_HEADER
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
            if info.language:
                stream.metadata["language"] = info.language
        else:
            stream = add_copied_stream(container, replace(info, codec="subrip", extradata=b""), None)
        super().__init__(stream)

    def packets(self, packet: StreamPacket) -> Iterable[Any]:
        text = plain_text(packet.data, self._codec)
        if not text:
            return
        same = self._mov and self._codec == "mov_text"
        if not same and has_style(packet.data, self._codec):
            self.note = f"styles of subtitles ({self._codec}) are left out, their text is kept"
        data = packet.data if same else to_mov_text(text) if self._mov else text
        yield _packet(data, packet, self._base, self.stream)


class Converted(Carrier):
    """Sound decoded, and encoded anew in a codec that the container can hold."""

    def __init__(self, container: Any, info: StreamInfo, sample: StreamPacket, codec: str) -> None:
        """Raises ValueError where it cannot be decoded, or not be encoded."""
        self._ticks = info.time_base * info.sample_rate
        rate, channels = info.sample_rate, info.channels
        try:
            self._source = opened_template(info, sample)
            decoder: Any = self._source.streams[0].codec_context
            # Tried before the container has the stream.
            prepare(av.CodecContext.create(codec, "w"), decoder, rate=rate, channels=channels)
            stream = container.add_stream(codec, rate=rate)
            prepare(stream.codec_context, decoder, rate=rate, channels=channels)
        except MEDIA_ERRORS as error:
            raise ValueError(f"{info.kind} ({info.codec}) cannot be converted to {codec}") from error
        stream.time_base = Fraction(1, rate)
        if info.language:
            stream.metadata["language"] = info.language
        super().__init__(stream)
        self._recoder = Recoder(decoder, stream, rate=rate, padding=info.initial_padding)
        name = SUFFIXES[container.format.name]
        self.note = f"sound ({info.codec}) is converted to {codec}, as {name} cannot hold it"

    def packets(self, packet: StreamPacket) -> Iterable[Any]:
        return self._recoder.packets(packet.data, round(packet.pts * self._ticks))

    def rest(self) -> Iterable[Any]:
        return self._recoder.rest()


def _packet(data: bytes, packet: StreamPacket, base: Fraction, stream: Any) -> Any:
    # Filled, not made from `data`: some versions of PyAV would keep a pointer to freed memory.
    copy: Any = av.Packet(len(data))
    copy.update(data)
    copy.stream = stream
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base = base
    copy.is_keyframe = packet.keyframe
    return copy


def fits(form: str, info: StreamInfo, sample: StreamPacket | None) -> bool:
    """Whether a file of the format `form` can hold the stream, tried with its first packet in memory."""
    try:
        file = io.BytesIO()
        with av.open(file, "w", format=form) as trial:
            carrier = Copied(trial, info, sample)
            trial.start_encoding()
            for packet in carrier.packets(sample) if sample is not None else ():
                packet.pts = packet.dts = 0
                trial.mux(packet)
        if sample is None:
            return True
        data = file.getvalue()
        if carrier.goes_by_number:
            data = with_tracks(data, rename)
        again: Any
        with av.open(io.BytesIO(data), format=form) as again:
            if not again.streams or (carrier.goes_by_number and codec_name(again.streams[0]) != info.codec):
                return False
            return any(packet.size for packet in again.demux())
    except MEDIA_ERRORS:
        return False


def carry(container: Any, info: StreamInfo, sample: StreamPacket | None, wish: str = "auto") -> Carrier:
    """The way for a stream into a container whose header is not yet written.

    `wish` is for sound: "auto" copies it where that can be, "copy" does nothing else, and the name of a codec
    converts it to that. Raises ValueError, with the reason in words, where there is none.
    """
    form = container.format.name
    if info.kind == "subtitle":
        needs_text = form in _MP4 or info.codec == "mov_text"
        return Text(container, info) if needs_text else Copied(container, info, sample)
    if wish in ("auto", "copy", info.codec) and fits(form, info, sample):
        return Copied(container, info, sample)
    if wish == "copy":
        raise ValueError(f"{info.kind} ({info.codec}) cannot be stored in {SUFFIXES[form]}")
    if sample is None:
        raise ValueError(f"{info.kind} ({info.codec}), which is empty, cannot be stored in {SUFFIXES[form]}")
    carrier = Converted(container, info, sample, _CONVERTED[form] if wish == "auto" else wish)
    if wish != "auto":
        carrier.note = ""
    return carrier
