"""Audio and subtitle streams on their way in: what is copied, what is not, and packets as plain data."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video.names import codec_name

# What FFmpeg takes so many channels for where nothing is said of them (av_channel_layout_default).
_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_UNKNOWN_LAYOUT = re.compile(r"\d+ channels?")
_TEXT_SUBTITLES = frozenset({"subrip", "ass", "webvtt", "mov_text", "text"})


def copied_stream(stream: Any) -> tuple[StreamInfo | None, str]:
    """Describe an audio or text subtitle stream of an opened input; or None and a note why it is left out."""
    kind, context = stream.type, stream.codec_context
    name = codec_name(stream)
    if kind not in ("audio", "subtitle"):
        title = stream.metadata.get("filename") or stream.metadata.get("handler_name")
        return None, f"a stream of {kind}{f' ({title})' if title else ''} is left out"
    if not name or stream.time_base is None:
        return None, f"a stream of {kind} in an unknown codec is left out"
    if kind == "subtitle" and name not in _TEXT_SUBTITLES:
        return None, f"subtitles as pictures ({name}) are left out"
    language = stream.metadata.get("language", "")
    info = StreamInfo(
        kind=kind,
        codec=name,
        time_base=stream.time_base,
        language="" if language == "und" else language,
        extradata=bytes(context.extradata or b""),
    )
    if kind == "subtitle":
        return info, ""
    if not context.sample_rate or not context.layout.nb_channels:
        return None, f"an unreadable audio stream ({name}) is left out"
    return replace(
        info,
        sample_rate=int(context.sample_rate),
        channels=int(context.layout.nb_channels),
        layout=_layout(context.layout),
        bit_rate=int(context.bit_rate or 0),
        frame_size=int(context.frame_size or 0),
        initial_padding=max(0, int(getattr(context, "delay", 0) or 0)),
    ), ""


def _layout(layout: Any) -> str:
    """The name of a channel layout; the usual one for the number of channels where only that is known."""
    name = str(layout.name)
    return _DEFAULT_LAYOUTS.get(layout.nb_channels, name) if _UNKNOWN_LAYOUT.fullmatch(name) else name


def with_padding_of(info: StreamInfo, packet: Any) -> StreamInfo:
    """`info` with the start padding that only the first packet tells (MP4 keeps it in its edit list)."""
    if info.kind != "audio" or info.initial_padding or not packet.has_sidedata("skip_samples"):
        return info
    side = bytes(packet.get_sidedata("skip_samples"))
    if len(side) < 4:
        return info
    return replace(info, initial_padding=struct.unpack_from("<I", side)[0])


def packet_times(packet: Any) -> tuple[int, int, int]:
    """(pts, dts, duration) in ticks of the stream, of a packet with a time stamp."""
    pts, dts = packet.pts, packet.dts
    first, second = (dts if pts is None else pts), (pts if dts is None else dts)
    return int(first), int(second), max(0, int(packet.duration or 0))


def to_packet(index: int, packet: Any, shift: Fraction, time_base: Fraction) -> StreamPacket:
    """A plain copy of a demuxed packet, `shift` seconds earlier (to the nearest tick)."""
    ticks = round(shift / time_base)
    pts, dts, duration = packet_times(packet)
    return StreamPacket(index, pts - ticks, dts - ticks, duration, bool(packet.is_keyframe), bytes(packet))
