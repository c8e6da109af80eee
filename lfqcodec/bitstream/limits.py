"""Constants of container version 2 and the caps that a reader puts on sizes (spec sections 2, 3 and 14)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"\x89LFQ\r\n\x1a\n"
TAIL_MAGIC = b"\x89LFQEND\n"
VERSION = 2

BITS_PER_TOKEN = 18
SPATIAL_FACTOR = 8
TEMPORAL_FACTOR = 4
CHUNK_FRAMES = 17
"""Frames in the window of a chunk: new frames of a GOP's first chunk; one more than those of later ones."""

MAX_STREAMS = 2
"""rANS streams of a chunk."""

MAX_INTRA_LAYERS = 24
MAX_ANCHOR_LAYERS = 8
MAX_BETWEEN_LAYERS = 4
MAX_GOP_CHUNKS = 0xFFFF
MAX_UNIT_HEAD = 512
MIN_PTS = -(1 << 63)
MAX_PTS = (1 << 63) - 1


class Profile(IntEnum):
    """Numerics of the prior that gives the frequency rows (spec section 11)."""

    STATIC = 0
    EXACT = 1


@dataclass(frozen=True)
class Limits:
    """Caps checked before memory is allocated; going over one raises `LimitExceeded` (spec section 14).

    A caller may raise or lower each of them. The defaults let through every video up to 16384 pixels a
    side and 2^26 pixels a frame, and keep the memory that a hostile file can claim in proportion to its
    true size and to one frame of that many pixels.
    """

    max_width: int = 16384
    max_height: int = 16384
    max_pixels: int = 1 << 26
    max_frames: int = 1 << 32
    max_header_bytes: int = 1 << 22
    max_streams: int = 64
    max_extradata_bytes: int = 1 << 20
    max_unit_bytes: int = 1 << 28
    max_packet_bytes: int = 1 << 26
    max_unit_packets: int = 1 << 16
    max_gops: int = 1 << 20


DEFAULT_LIMITS = Limits()
