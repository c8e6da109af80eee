"""Output streams for packets that are copied without re-encoding, made from a `StreamInfo` alone.

PyAV adds such a stream only from a template that lives in an opened input. So a Matroska header of a few
dozen bytes is made here, with one track of the right codec and start padding, and opened as that input; the
other parameters (extradata, layout, ...) are then set on it. No encoder is opened and no packet changes.
"""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import av

from lfqcodec.media import StreamInfo
from lfqcodec.video.failures import MEDIA_ERRORS

# Codec -> Matroska name.
_AUDIO = {
    **{name: f"A_{name.upper()}" for name in ("aac", "ac3", "alac", "dts", "eac3", "flac", "mlp")},
    **{name: f"A_{name.upper()}" for name in ("opus", "truehd", "vorbis")},
    **{f"mp{layer}": f"A_MPEG/L{layer}" for layer in (1, 2, 3)},
    "wavpack": "A_WAVPACK4",
}
# Codec -> (Matroska name, bits of a sample).
_PCM = {
    **{f"pcm_s{bits}le": ("A_PCM/INT/LIT", bits) for bits in (16, 24, 32)},
    **{f"pcm_s{bits}be": ("A_PCM/INT/BIG", bits) for bits in (16, 24, 32)},
    **{f"pcm_f{bits}le": ("A_PCM/FLOAT/IEEE", bits) for bits in (32, 64)},
    "pcm_u8": ("A_PCM/INT/LIT", 8),
}
_SUBTITLES = {"subrip": "S_TEXT/UTF8", "text": "S_TEXT/UTF8", "ass": "S_TEXT/ASS", "webvtt": "S_TEXT/WEBVTT"}


def _element(identifier: int, payload: bytes) -> bytes:
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 56).to_bytes(8, "big") + payload


def _number(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(8, "big"))


def _header(info: StreamInfo) -> bytes | None:
    """A Matroska file without packets whose only track is `info`; None for a codec it has no name for."""
    if info.kind == "audio":
        name, bits = _PCM.get(info.codec, (_AUDIO.get(info.codec), 0))
        kind = 2
    else:
        name, bits = _SUBTITLES.get(info.codec), 0
        kind = 17
    if name is None:
        return None
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, kind) + _element(0x86, name.encode())
    if info.kind == "audio":
        rate = max(info.sample_rate, 1)
        if info.initial_padding > 0:
            track += _number(0x56AA, info.initial_padding * 10**9 // rate)
        sound = _element(0xB5, struct.pack(">d", rate)) + _number(0x9F, max(info.channels, 1))
        if bits:
            sound += _number(0x6264, bits)
        track += _element(0xE1, sound)
    versions = _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
    ebml = versions + _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2)
    segment = _element(0x1549A966, _number(0x2AD7B1, 10**6)) + _element(0x1654AE6B, _element(0xAE, track))
    # FFmpeg reads the header up to the first cluster, so there has to be one.
    segment += _element(0x1F43B675, _number(0xE7, 0))
    return _element(0x1A45DFA3, ebml) + _element(0x18538067, segment)


def _add(container: Any, info: StreamInfo) -> Any:
    header = _header(info)
    if header is None:
        raise ValueError(f"codec {info.codec} cannot be put back")
    with av.open(io.BytesIO(header), format="matroska") as source:
        stream: Any = container.add_stream_from_template(source.streams[0], opaque=True)
    context = stream.codec_context
    context.extradata = info.extradata or None
    if info.kind == "audio":
        context.sample_rate = info.sample_rate
        if info.layout:
            # A layout that this build cannot name is replaced by the usual one for the number of channels.
            with contextlib.suppress(*MEDIA_ERRORS):
                context.layout = info.layout
        context.bit_rate = info.bit_rate
    stream.time_base = info.time_base
    if info.language:
        stream.metadata["language"] = info.language
    return stream


def add_copied_stream(container: Any, info: StreamInfo) -> Any:
    """Add `info` to an output container whose header is not yet written; returns the stream.

    Raises ValueError, with the reason in words, where that format cannot hold it.
    """
    # A stream that the muxer refuses would fail the whole file when its header is written: try it alone.
    form = container.format.name
    try:
        trial = av.open(io.BytesIO(), "w", format=form)
        _add(trial, info)
        trial.start_encoding()
        with contextlib.suppress(*MEDIA_ERRORS):
            trial.close()
        return _add(container, info)
    except MEDIA_ERRORS as error:
        raise ValueError(f"{info.kind} ({info.codec}) cannot be stored in {form}") from error
