"""Video chunks: what is known of them, payload words, token checksums (spec sections 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import GROUP_SIZES, max_words, stream_tokens
from lfqcodec.bitstream.limits import MAX_PTS, MAX_STREAMS, MIN_PTS, Profile
from lfqcodec.bitstream.syntax.fields import crc32, require
from lfqcodec.bitstream.syntax.header import FileHeader
from lfqcodec.errors import ChecksumMismatch, NumericsMismatch

MAX_DURATION = (1 << 32) - 1


@dataclass(frozen=True)
class ChunkHead:
    """What is known of a chunk without its payload.

    `number` counts chunks from 0, `first_frame` frames. `pts` holds one presentation time per new frame in
    ticks of the header's time base, strictly increasing; `last_duration` is the duration of the last of
    them. Groups have `group_size` pictures, one of `GROUP_SIZES`. `words` and `token_crcs` have one entry
    per stream. `offset` is the file position of the unit and `size` its length in bytes.
    """

    number: int
    gop_start: bool
    first_frame: int
    pts: tuple[int, ...]
    last_duration: int
    words: tuple[int, ...]
    token_crcs: tuple[int, ...]
    group_size: int = GROUP_SIZES[0]
    offset: int = 0
    size: int = 0

    @property
    def valid(self) -> int:
        """Number of new frames: 1..17 in the first chunk of a GOP, 1..16 in a later one."""
        return len(self.pts)

    @property
    def stream_count(self) -> int:
        """rANS streams of the chunk: 1 where nothing of the pictures between is stored, else 2."""
        return len(self.words)

    @property
    def durations(self) -> list[int]:
        """Ticks that each new frame lasts."""
        return [after - before for before, after in pairwise(self.pts)] + [self.last_duration]

    @property
    def end_pts(self) -> int:
        """Where the last frame ends."""
        return self.pts[-1] + self.last_duration

    def tokens(self, header: FileHeader) -> tuple[int, ...]:
        """How many tokens each stream that the chunk can have holds."""
        size = header.height, header.width
        return stream_tokens(header.layers, size, self.valid, self.gop_start, self.group_size)


@dataclass(frozen=True)
class Chunk:
    """A chunk with its payload: `streams[k]` holds the rANS words of stream k, uint32 [words[k]]."""

    head: ChunkHead
    streams: tuple[NDArray[np.uint32], ...]


def token_crc(tokens: NDArray[Any]) -> int:
    """CRC-32 over the tokens of a stream, integers below 2^18, as u32 LE in coding order."""
    return crc32(np.ascontiguousarray(tokens, dtype="<u4").tobytes())


def check_tokens(tokens: NDArray[Any], chunk: ChunkHead, stream: int, profile: Profile) -> None:
    """Compare decoded tokens of a stream, in coding order, with the checksum in the chunk head (section 6).

    Raises `ChecksumMismatch` in profile static, where only damage can be the cause, and `NumericsMismatch`
    in profile exact, where an intact payload means that the arithmetic of the prior differed.
    """
    if token_crc(tokens) == chunk.token_crcs[stream]:
        return
    if profile == Profile.STATIC:
        raise ChecksumMismatch(
            f"tokens of stream {stream} fail their checksum", offset=chunk.offset, chunk=chunk.number
        )
    raise NumericsMismatch(
        f"tokens of stream {stream} of chunk {chunk.number} fail their checksum although the payload is "
        "intact: the prior computed other numbers here than where the file was made"
    )


def drop_streams(chunk: Chunk, streams: int) -> Chunk:
    """The same chunk with its first `streams` streams. `InvalidField` where it does not have that many."""
    require(
        1 <= streams <= chunk.head.stream_count,
        f"cannot keep {streams} of {chunk.head.stream_count} streams",
        chunk=chunk.head.number,
    )
    head = replace(chunk.head, words=chunk.head.words[:streams], token_crcs=chunk.head.token_crcs[:streams])
    return Chunk(head, chunk.streams[:streams])


def pack_body(streams: Sequence[NDArray[np.uint32]]) -> bytes:
    """The words of all streams, one stream after the other, each word little-endian."""
    return b"".join(np.ascontiguousarray(stream, dtype="<u4").tobytes() for stream in streams)


def parse_body(head: ChunkHead, body: bytes) -> Chunk:
    """Split a body, whose length `parse_chunk_head` has checked, into the words of the streams."""
    words = np.frombuffer(body, dtype="<u4").astype(np.uint32, copy=False)
    ends = np.cumsum(head.words)
    return Chunk(head, tuple(words[end - count : end] for end, count in zip(ends, head.words, strict=True)))


def check_chunk(head: ChunkHead, streams: Sequence[NDArray[np.uint32]], header: FileHeader) -> None:
    """`InvalidField` unless a chunk about to be written keeps the rules that `parse_chunk_head` checks."""
    tokens = head.tokens(header)
    most, count = MAX_STREAMS if tokens[-1] else 1, head.stream_count
    require(1 <= count <= most, f"streams must be 1..{most}, not {count}")
    require(len(head.token_crcs) == count, "one token CRC per stream is needed")
    for stream, own in zip(streams, tokens, strict=False):
        bound = max_words(own)
        require(stream.ndim == 1 and stream.dtype == np.uint32, "a stream must be a flat array of uint32")
        require(len(stream) <= bound, f"stream of {len(stream)} words, at most {bound} are possible")
    in_range = all(1 <= duration <= MAX_DURATION for duration in head.durations)
    require(in_range, "frame durations must be 1..2^32-1")
    require(head.pts[0] >= MIN_PTS and head.end_pts <= MAX_PTS, "presentation time does not fit 64 bits")
