"""The frame around every unit: sync, lengths and two checksums (spec section 4).

sync "LFQ" + type | u16 head length | u32 body length | head | u32 head CRC | body | u32 body CRC
"""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.limits import MAX_UNIT_HEAD, Limits
from lfqcodec.bitstream.syntax.fields import Cursor, crc32, limit, pack, require
from lfqcodec.errors import ChecksumMismatch

SYNC = b"LFQ"
CHUNK_UNIT = ord("C")
PACKETS_UNIT = ord("P")
INDEX_UNIT = ord("I")
UNIT_TYPES = frozenset((CHUNK_UNIT, PACKETS_UNIT, INDEX_UNIT))

PREFIX_BYTES = 10
CRC_BYTES = 4


@dataclass(frozen=True)
class UnitFrame:
    """A unit whose head has passed its checksum. `offset` is that of the sync; `head` its head fields."""

    kind: int
    offset: int
    head: bytes
    body_length: int

    @property
    def head_offset(self) -> int:
        return self.offset + PREFIX_BYTES

    @property
    def body_offset(self) -> int:
        return self.head_offset + len(self.head) + CRC_BYTES

    @property
    def size(self) -> int:
        """Bytes from the sync to the end of the body CRC."""
        return PREFIX_BYTES + len(self.head) + CRC_BYTES + self.body_length + CRC_BYTES


def pack_unit(kind: int, head: bytes, body: bytes, limits: Limits) -> bytes:
    """The bytes of a unit. `LimitExceeded` where the body is over `limits.max_unit_bytes`."""
    limit(len(body), limits.max_unit_bytes, f"unit of {len(body)} bytes")
    start = SYNC + pack("BHI", "head or body length", kind, len(head), len(body)) + head
    return b"".join((start, pack("I", "head CRC", crc32(start)), body, pack("I", "body CRC", crc32(body))))


def parse_prefix(prefix: bytes, offset: int, chunk: int | None) -> int:
    """Check the ten bytes before a head and give the head length. Only what decides how far to read."""
    require(prefix[:3] == SYNC, "no unit starts here", offset=offset, chunk=chunk)
    length = int.from_bytes(prefix[4:6], "little")
    message = f"unit head of {length} bytes, at most {MAX_UNIT_HEAD} are possible"
    require(length <= MAX_UNIT_HEAD, message, offset=offset + 4, chunk=chunk)
    return length


def parse_frame(data: bytes, offset: int, limits: Limits, chunk: int | None = None) -> UnitFrame:
    """Check prefix, head and head CRC (`data`, all of them) and give the frame.

    Errors: `ChecksumMismatch` (head CRC), `InvalidField` (unknown type), `LimitExceeded` (body length).
    """
    if crc32(data[:-CRC_BYTES]) != int.from_bytes(data[-CRC_BYTES:], "little"):
        raise ChecksumMismatch("unit head is damaged", offset=offset, chunk=chunk)
    kind, _, size = Cursor(data[len(SYNC) :]).unpack("BHI", "unit prefix")
    require(kind in UNIT_TYPES, f"unknown unit type {kind}", offset=offset + 3, chunk=chunk)
    limit(size, limits.max_unit_bytes, f"unit of {size} bytes", offset=offset + 6, chunk=chunk)
    return UnitFrame(kind, offset, data[PREFIX_BYTES:-CRC_BYTES], size)
