"""The index of GOPs at the end of a file, and the trailer that finds it (spec section 9)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from lfqcodec.bitstream.limits import MAX_PTS, MIN_PTS, TAIL_MAGIC, Limits
from lfqcodec.bitstream.syntax.fields import Cursor, crc32, limit, pack, pack_svarint, pack_varint, require
from lfqcodec.bitstream.syntax.units import UnitFrame
from lfqcodec.errors import ChecksumMismatch, InvalidField

TRAILER_BYTES = 20
MIN_ENTRY_BYTES = 3


@dataclass(frozen=True)
class IndexEntry:
    """Where a GOP starts: file offset of its first chunk, number and presentation time of its first frame."""

    offset: int
    first_frame: int
    first_pts: int


@dataclass(frozen=True)
class Index:
    """All GOPs of a file in order, and its totals. `end_pts` is where the last frame ends."""

    entries: tuple[IndexEntry, ...]
    chunks: int
    frames: int
    end_pts: int

    def find_pts(self, pts: int) -> int:
        """Number of the GOP shown at time `pts`: the last that starts at or before it, else the first."""
        return max(0, bisect_right(self.entries, pts, key=lambda entry: entry.first_pts) - 1)


def pack_index(index: Index) -> tuple[bytes, bytes]:
    """Head and body of the index unit."""
    totals = (len(index.entries), index.chunks, index.frames, index.end_pts)
    head = pack("IIQq", "a total of the index", *totals)
    body = bytearray()
    before = IndexEntry(0, 0, 0)
    for entry in index.entries:
        body += pack_varint(entry.offset - before.offset)
        body += pack_varint(entry.first_frame - before.first_frame)
        body += pack_svarint(entry.first_pts - before.first_pts)
        before = entry
    return head, bytes(body)


def parse_index(frame: UnitFrame, body: bytes, limits: Limits) -> Index:
    """Parse an index unit. Entries must increase in offset, frame and time, and lie before the index.

    Raises `InvalidField` or `LimitExceeded`.
    """
    at, size = frame.head_offset, frame.body_length
    cursor = Cursor(frame.head, at)
    count, chunks, frames, end_pts = cursor.unpack("IIQq", "index head")
    cursor.finish("index head")
    require(1 <= count <= chunks, f"index of {count} GOPs for {chunks} chunks", offset=at)
    require(count * MIN_ENTRY_BYTES <= size, f"index of {count} GOPs in {size} bytes", offset=at)
    limit(count, limits.max_gops, f"{count} GOPs", offset=at)
    limit(frames, limits.max_frames, f"{frames} frames", offset=at + 8)
    cursor = Cursor(body, frame.body_offset)
    entries: list[IndexEntry] = []
    offset = first_frame = first_pts = 0
    for number in range(count):
        at = cursor.offset
        steps = cursor.varint("offset"), cursor.varint("first frame"), cursor.svarint("presentation time")
        offset, first_frame, first_pts = offset + steps[0], first_frame + steps[1], first_pts + steps[2]
        if number == 0:
            require(steps[0] > 0 and steps[1] == 0, "the first GOP must start with frame 0", offset=at)
        else:
            require(min(steps) > 0, "index entries do not increase", offset=at)
        inside = offset < frame.offset and first_frame < frames
        require(inside, "index entry lies outside the file", offset=at)
        require(MIN_PTS <= first_pts <= MAX_PTS, "presentation time does not fit 64 bits", offset=at)
        entries.append(IndexEntry(offset, first_frame, first_pts))
    cursor.finish("index")
    require(first_pts < end_pts, "the file ends before its last GOP starts", offset=frame.head_offset + 16)
    return Index(tuple(entries), chunks, frames, end_pts)


def make_index(entries: Sequence[IndexEntry], chunks: int, frames: int, end_pts: int | None) -> Index:
    """The index of a file with these GOPs. `InvalidField` where there is no chunk."""
    if end_pts is None or not entries:
        raise InvalidField("a file must hold at least one chunk")
    return Index(tuple(entries), chunks, frames, end_pts)


def pack_trailer(index_offset: int) -> bytes:
    """The last 20 bytes of a file."""
    offset = pack("Q", "index offset", index_offset)
    return offset + pack("I", "trailer CRC", crc32(offset)) + TAIL_MAGIC


def parse_trailer(data: bytes, offset: int) -> int:
    """The index offset from the last 20 bytes, which start at `offset` in the file.

    Raises `InvalidField` (tail magic, offset) or `ChecksumMismatch`.
    """
    require(data[12:] == TAIL_MAGIC, "no trailer here", offset=offset + 12)
    if crc32(data[:8]) != int.from_bytes(data[8:12], "little"):
        raise ChecksumMismatch("trailer is damaged", offset=offset)
    index_offset = int.from_bytes(data[:8], "little")
    require(index_offset < offset, "the index does not lie before the trailer", offset=offset)
    return index_offset
