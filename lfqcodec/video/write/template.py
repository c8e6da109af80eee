"""Output streams for packets that are copied without re-encoding, made from a `StreamInfo` alone.

PyAV adds such a stream only from a template that lives in an opened input. So a Matroska header of a few
dozen bytes is made here, with one track of the right codec and start padding, and opened as that input; the
other parameters (extradata, layout, ...) are then set on it. No encoder is opened and no packet changes.
Codecs without a name in Matroska go by their number in WAV and AVI files, with a WAVEFORMATEX structure.
"""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import replace
from typing import Any

import av

from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video.failures import MEDIA_ERRORS
from lfqcodec.video.write import acm
from lfqcodec.video.write.ebml import element, number

SUFFIXES = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv"}
"""What people call the formats of outputs."""

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
# Codec -> (number of RIFF, bits of a sample or 0).
_RIFF = {
    "adpcm_ms": (0x0002, 4),
    "pcm_alaw": (0x0006, 8),
    "pcm_mulaw": (0x0007, 8),
    "wmavoice": (0x000A, 0),
    "adpcm_ima_wav": (0x0011, 4),
    "adpcm_yamaha": (0x0020, 4),
    "gsm_ms": (0x0031, 0),
    "adpcm_g726": (0x0045, 4),
    "amr_nb": (0x0057, 0),
    "amr_wb": (0x0058, 0),
    "wmav1": (0x0160, 16),
    "wmav2": (0x0161, 16),
    "wmapro": (0x0162, 16),
    "wmalossless": (0x0163, 16),
    "atrac3": (0x0270, 0),
    "adpcm_g722": (0x028F, 4),
    "aac_latm": (0x1602, 0),
    "adpcm_swf": (0x5346, 4),
    "speex": (0xA109, 0),
}
_G711 = ("pcm_alaw", "pcm_mulaw")
# Bytes that a block of these begins with, for each channel, and the samples in them.
_ADPCM_BLOCKS = {"adpcm_ms": (7, 2), "adpcm_ima_wav": (4, 1)}
_SUBTITLES = {"subrip": "S_TEXT/UTF8", "text": "S_TEXT/UTF8", "ass": "S_TEXT/ASS", "webvtt": "S_TEXT/WEBVTT"}


def _block_align(info: StreamInfo, sample: StreamPacket) -> int:
    """Bytes of a block, which decoders have to know of some codecs; a packet is one or more of them."""
    size = len(sample.data)
    if info.codec in _G711:
        return info.channels
    if info.codec in _ADPCM_BLOCKS:
        begin, first = _ADPCM_BLOCKS[info.codec]
        # Of b blocks, the samples of a channel: 2 (size / channels - b begin) + b first.
        samples = round(sample.duration * info.time_base * info.sample_rate)
        blocks = round((2 * size / info.channels - samples) / (2 * begin - first))
        return size // blocks if blocks > 0 and size % blocks == 0 else size
    return size


def _wave_format(info: StreamInfo, sample: StreamPacket) -> bytes:
    number, bits = _RIFF[info.codec]
    rate, align = info.bit_rate // 8, _block_align(info, sample) & 0xFFFF
    fixed = struct.pack("<HHIIHH", number, info.channels, info.sample_rate, rate, align, bits)
    return fixed + len(info.extradata).to_bytes(2, "little") + info.extradata


def _header(info: StreamInfo, sample: StreamPacket | None, *, borrowed: bool = False) -> bytes | None:
    """A Matroska file without packets whose only track is `info`; None for a codec it has no name for.

    With `borrowed` a codec without a name goes by that of another one.
    """
    private = b""
    if info.kind == "audio":
        name, bits = _PCM.get(info.codec, (_AUDIO.get(info.codec), 0))
        kind = 2
        if info.codec in _RIFF and sample is not None:
            name = acm.BORROWED if borrowed else acm.NAME
            private = _wave_format(info, sample)
    else:
        name, bits = _SUBTITLES.get(info.codec), 0
        kind = 17
    if name is None:
        return None
    track = number(0xD7, 1) + number(0x73C5, 1) + number(0x83, kind) + element(0x86, name.encode())
    if private:
        track += element(0x63A2, private)
    if info.kind == "audio":
        rate = max(info.sample_rate, 1)
        if info.initial_padding > 0:
            track += number(0x56AA, info.initial_padding * 10**9 // rate)
        sound = element(0xB5, struct.pack(">d", rate)) + number(0x9F, max(info.channels, 1))
        if bits:
            sound += number(0x6264, bits)
        track += element(0xE1, sound)
    versions = number(0x4286, 1) + number(0x42F7, 1) + number(0x42F2, 4) + number(0x42F3, 8)
    ebml = versions + element(0x4282, b"matroska") + number(0x4287, 4) + number(0x4285, 2)
    segment = element(0x1549A966, number(0x2AD7B1, 10**6)) + element(0x1654AE6B, element(0xAE, track))
    # FFmpeg reads the header up to the first cluster, so there has to be one.
    segment += element(0x1F43B675, number(0xE7, 0))
    return element(0x1A45DFA3, ebml) + element(0x18538067, segment)


def has_template(codec: str, kind: str) -> bool:
    """Whether streams of this codec can be put back into any output."""
    return codec in (_SUBTITLES if kind == "subtitle" else {*_AUDIO, *_PCM, *_RIFF})


def opened_template(info: StreamInfo, sample: StreamPacket | None) -> Any:
    """An opened input without packets, whose only stream has the parameters of `info`.

    `sample`, its first packet, tells what some codecs need. Raises ValueError where this cannot be made.
    """
    header = _header(info, sample)
    if header is None:
        raise ValueError(f"codec {info.codec} cannot be put back")
    source = av.open(io.BytesIO(header), format="matroska")
    _parameters(source.streams[0].codec_context, info)
    return source


def _parameters(context: Any, info: StreamInfo) -> None:
    context.extradata = info.extradata or None
    if info.kind != "audio":
        return
    context.sample_rate = info.sample_rate
    if info.layout:
        # A layout that this build cannot name is replaced by the usual one for the number of channels.
        with contextlib.suppress(*MEDIA_ERRORS):
            context.layout = info.layout
    context.bit_rate = info.bit_rate


def goes_by_number(form: str, info: StreamInfo, sample: StreamPacket | None) -> bool:
    """Whether a track of Matroska needs `acm.rename` for the stream, once its file is written."""
    return form == "matroska" and info.codec in _RIFF and sample is not None


def add_copied_stream(container: Any, info: StreamInfo, sample: StreamPacket | None) -> Any:
    """Add `info` to an output container whose header is not yet written; returns the stream.

    Raises ValueError, with the reason in words, where that format cannot hold it.
    """
    given = info
    try:
        source = opened_template(info, sample)
        if goes_by_number(container.format.name, info, sample):
            assert sample is not None
            header = _header(info, sample, borrowed=True) or b""
            source = av.open(io.BytesIO(header), format="matroska")
            given = replace(info, extradata=_wave_format(info, sample))
        with source:
            stream: Any = container.add_stream_from_template(source.streams[0], opaque=True)
        _parameters(stream.codec_context, given)
    except MEDIA_ERRORS as error:
        form = SUFFIXES[container.format.name]
        raise ValueError(f"{info.kind} ({info.codec}) cannot be stored in {form}") from error
    stream.time_base = info.time_base
    if info.language:
        stream.metadata["language"] = info.language
    return stream
