"""Video chunks: head fields, payload words, token checksums (spec sections 5 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import GROUP_SIZES, max_valid, max_words, stream_tokens
from lfqcodec.bitstream.limits import MAX_PTS, MAX_STREAMS, MIN_PTS, Profile
from lfqcodec.bitstream.syntax.fields import Cursor, crc32, pack, pack_varint, require
from lfqcodec.bitstream.syntax.header import FileHeader
from lfqcodec.bitstream.syntax.units import UnitFrame
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.errors import ChecksumMismatch, CorruptPayload, NumericsMismatch

FLAG_GOP_START = 1
FLAG_FIRST_PTS = 2
DELTA_SHIFT = 2
DELTA_INHERITED, DELTA_CONSTANT, DELTA_LISTED = 0, 1, 2
GROUP_SHIFT = 4
RESERVED_FLAGS = 0xC0
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


def pack_chunk_head(head: ChunkHead, timeline: Timeline) -> bytes:
    """The head fields of a chunk that follows `timeline`, in the shortest form of its times."""
    durations = head.durations
    constant = len(set(durations)) == 1
    continues = not head.gop_start and head.pts[0] == timeline.end_pts
    if constant and not head.gop_start and durations[0] == timeline.delta:
        mode, stored = DELTA_INHERITED, []
    elif constant:
        mode, stored = DELTA_CONSTANT, durations[:1]
    else:
        mode, stored = DELTA_LISTED, durations
    flags = (FLAG_GOP_START if head.gop_start else 0) | (0 if continues else FLAG_FIRST_PTS)
    flags |= mode << DELTA_SHIFT | GROUP_SIZES.index(head.group_size) << GROUP_SHIFT
    out = [pack("BBBI", "frames, streams or chunk number", flags, head.valid, head.stream_count, head.number)]
    if head.gop_start:
        out.append(pack("Q", "first frame", head.first_frame))
    if not continues:
        out.append(pack("q", "presentation time", head.pts[0]))
    out += map(pack_varint, stored)
    for words, crc in zip(head.words, head.token_crcs, strict=True):
        out += [pack_varint(words), pack("I", "token CRC", crc)]
    return b"".join(out)


def peek_chunk(frame: UnitFrame, chunk: int | None) -> tuple[bool, int]:
    """GOP flag and chunk number, by which a reader goes on after damage. `InvalidField` where too short."""
    flags, _, _, number = Cursor(frame.head, frame.head_offset, chunk).unpack("BBBI", "start of a chunk head")
    return bool(flags & FLAG_GOP_START), number


def parse_chunk_head(frame: UnitFrame, header: FileHeader, timeline: Timeline) -> ChunkHead:
    """Parse the head of a chunk that follows `timeline` and check it against the rules of a chunk by itself.

    Raises `InvalidField`, and `CorruptPayload` for a word count that no encoder can have reached. The rules
    between chunks are those of `Timeline.check`.
    """
    gop_start, number = peek_chunk(frame, timeline.number)
    cursor = Cursor(frame.head, frame.head_offset, number)

    def check(condition: bool, message: str, offset: int) -> None:
        require(condition, message, offset=offset, chunk=number)

    flags, valid, streams, _ = cursor.unpack("BBBI", "start of a chunk head")
    at = frame.head_offset
    check(flags & RESERVED_FLAGS == 0, f"reserved chunk flags are set: {flags:#04x}", at)
    code = flags >> GROUP_SHIFT & 3
    check(code < len(GROUP_SIZES), f"reserved size of groups: {code}", at)
    most = max_valid(gop_start)
    check(1 <= valid <= most, f"valid frames must be 1..{most}, not {valid}", at + 1)
    size = header.height, header.width
    tokens = stream_tokens(header.layers, size, valid, gop_start, GROUP_SIZES[code])
    most = MAX_STREAMS if tokens[-1] else 1
    check(1 <= streams <= most, f"streams must be 1..{most}, not {streams}", at + 2)
    first_frame = cursor.unpack("Q", "first frame")[0] if gop_start else timeline.frames
    pts = [_first_pts(cursor, flags, timeline)]
    for duration in _durations(cursor, flags, valid, timeline):
        pts.append(pts[-1] + duration)
    check(pts[-1] <= MAX_PTS, "presentation time does not fit 64 bits", cursor.offset)
    words: list[int] = []
    crcs: list[int] = []
    for stream in range(streams):
        at = cursor.offset
        count, bound = cursor.varint("word count"), max_words(tokens[stream])
        if count > bound:
            message = f"stream {stream} claims {count} words, at most {bound} are possible"
            raise CorruptPayload(message, offset=at, chunk=number)
        words.append(count)
        crcs += cursor.unpack("I", "token CRC")
    cursor.finish("chunk head")
    matches = frame.body_length == 4 * sum(words)
    check(matches, f"body of {frame.body_length} bytes for {sum(words)} words", frame.offset + 6)
    return ChunkHead(
        number=number,
        gop_start=gop_start,
        first_frame=first_frame,
        pts=tuple(pts[:-1]),
        last_duration=pts[-1] - pts[-2],
        words=tuple(words),
        token_crcs=tuple(crcs),
        group_size=GROUP_SIZES[code],
        offset=frame.offset,
        size=frame.size,
    )


def _first_pts(cursor: Cursor, flags: int, timeline: Timeline) -> int:
    if flags & FLAG_FIRST_PTS:
        return cursor.unpack("q", "presentation time")[0]
    if flags & FLAG_GOP_START or timeline.end_pts is None:
        raise cursor.fail("the first chunk of a GOP needs a presentation time")
    return timeline.end_pts


def _durations(cursor: Cursor, flags: int, valid: int, timeline: Timeline) -> list[int]:
    mode = flags >> DELTA_SHIFT & 3
    if mode == DELTA_INHERITED:
        if flags & FLAG_GOP_START or timeline.delta is None:
            raise cursor.fail("no constant frame duration to go on with")
        return [timeline.delta] * valid
    if mode == DELTA_CONSTANT:
        return [_duration(cursor)] * valid
    if mode == DELTA_LISTED:
        return [_duration(cursor) for _ in range(valid)]
    raise cursor.fail("reserved coding of frame durations")


def _duration(cursor: Cursor) -> int:
    duration = cursor.varint("frame duration")
    if not 1 <= duration <= MAX_DURATION:
        raise cursor.fail(f"frame duration must be 1..2^32-1, not {duration}")
    return duration


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
