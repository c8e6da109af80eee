"""Plain descriptions of video, audio and packets, shared by the container and by video input and output."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Colour:
    """Code points of ISO/IEC 23091-2 (H.273). `full_range` is True for 0-255 luma."""

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1
    full_range: bool = False


def frame_ticks(rate: Fraction, time_base: Fraction) -> int:
    """How many ticks of `time_base` a picture is shown at `rate` pictures a second, at least one."""
    return max(1, round(1 / (rate * time_base)))


@dataclass(frozen=True)
class StreamInfo:
    """An audio or subtitle stream that is copied packet by packet.

    `codec` is FFmpeg's codec name (ASCII). `time_base` is seconds per tick. `layout` is FFmpeg's channel
    layout name ("" for subtitles). `initial_padding` counts samples to drop at the start.
    """

    kind: str  # "audio" | "subtitle"
    codec: str
    time_base: Fraction
    sample_rate: int = 0
    channels: int = 0
    layout: str = ""
    bit_rate: int = 0
    frame_size: int = 0
    initial_padding: int = 0
    language: str = ""
    extradata: bytes = b""


Tags = tuple[tuple[str, str], ...]
"""Pairs of key and text, in the order of the keys: those of FFmpeg in lower case, as ("title", ...)."""


TRACK_FLAGS = (
    *("default", "dub", "original", "comment", "lyrics", "karaoke", "forced"),
    *("hearing_impaired", "visual_impaired"),
)
"""Marks of tracks: FFmpeg's dispositions, whose bits these are, from bit 0 on."""


@dataclass(frozen=True)
class Track:
    """What a container says of a stream besides its format.

    `flags` are names of FFmpeg's dispositions, as "forced", in the order of `TRACK_FLAGS`.
    """

    tags: Tags = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """A part of the video, in nanoseconds from its first frame on."""

    start: int
    end: int
    title: str = ""


@dataclass(frozen=True)
class Metadata:
    """What does not change how a video is decoded: tags of the file and of its streams, and chapters.

    `streams` has one entry for each copied stream, in order; all is empty where nothing is known.
    """

    tags: Tags = ()
    video: Track = field(default_factory=Track)
    streams: tuple[Track, ...] = ()
    chapters: tuple[Chapter, ...] = ()


@dataclass(frozen=True)
class StreamPacket:
    """One copied packet of `VideoInfo.streams[stream]`; times are in ticks of that stream's time base."""

    stream: int
    pts: int
    dts: int
    duration: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True)
class Frame:
    """One upright picture: `pts` in ticks of the video time base, `rgb` uint8 of shape [H, W, 3]."""

    pts: int
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    `width` and `height` are those of the frames handed out (after rotation and scaling). `frame_rate` is
    frames per second, None where unknown. `frame_count` is None where unknown. `sar` is the sample
    aspect ratio. `rotation` is what a player still has to apply, clockwise, in degrees.
    `notes` says in plain words what the reader could not keep (HDR, alpha, a data stream, ...).
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    colour: Colour = field(default_factory=Colour)
    sar: Fraction = Fraction(1)
    rotation: int = 0
    streams: tuple[StreamInfo, ...] = ()
    is_image: bool = False
    notes: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=Metadata)
