"""From frames and pixels to latent frames, grids and word counts (spec sections 5 and 12)."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.limits import BITS_PER_TOKEN, CHUNK_FRAMES, SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.errors import InvalidField

SUBTOKENS = 2
SUBTOKEN_BITS = BITS_PER_TOKEN // SUBTOKENS
PRECISION_BITS = 24
WORD_BITS = 32


@dataclass(frozen=True)
class Layer:
    """A named grid of tokens of a group of pictures.

    `stream` is the rANS stream of the chunk that its tokens are in; `shape` is (planes, rows, columns).
    """

    name: str
    stream: int
    shape: tuple[int, int, int]


def latent_grid(width: int, height: int) -> tuple[int, int]:
    """Latent rows and columns (h, w) of a picture, rounded up."""
    return -(-height // SPATIAL_FACTOR), -(-width // SPATIAL_FACTOR)


def max_valid(gop_start: bool) -> int:
    """The most new frames that a chunk may hold: 17 for the first of a GOP, 16 for a later one."""
    return CHUNK_FRAMES if gop_start else CHUNK_FRAMES - 1


def latent_frames(valid: int, gop_start: bool) -> int:
    """Latent frames T of a chunk with `valid` new frames; `InvalidField` where `valid` is out of range."""
    if not 1 <= valid <= max_valid(gop_start):
        raise InvalidField(f"valid frames must be 1..{max_valid(gop_start)}, not {valid}")
    if gop_start:
        return 1 + -(-(valid - 1) // TEMPORAL_FACTOR)
    return -(-valid // TEMPORAL_FACTOR)


def padded_frames(frames: int, *, gop_start: bool) -> int:
    """`frames` rounded up to a number that fills its latent frames: 1 + 4k at a GOP start, else 4k."""
    if gop_start:
        return 1 + -(-(frames - 1) // TEMPORAL_FACTOR) * TEMPORAL_FACTOR
    return -(-frames // TEMPORAL_FACTOR) * TEMPORAL_FACTOR


def max_words(tokens: int) -> int:
    """The most 32-bit words that `tokens` tokens can take: a subtoken adds 24 bits to the state at most."""
    bits = tokens * SUBTOKENS * PRECISION_BITS
    return -(-bits // WORD_BITS) + 2
