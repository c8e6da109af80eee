"""The frame around every unit: sync, lengths and two checksums (spec section 4).

sync "LFQ" + type | u16 head length | u32 body length | head | u32 head CRC | body | u32 body CRC
"""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.fields import Cursor, crc32, pack_u16, pack_u32
from lfqcodec.bitstream.limits import MAX_UNIT_HEAD, Limits
from lfqcodec.errors import ChecksumMismatch, InvalidField, LimitExceeded

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
        return unit_size(len(self.head), self.body_length)


def unit_size(head_length: int, body_length: int) -> int:
    """Bytes of a whole unit."""
    return PREFIX_BYTES + head_length + CRC_BYTES + body_length + CRC_BYTES


def pack_unit(kind: int, head: bytes, body: bytes, limits: Limits) -> bytes:
    """The bytes of a unit. `LimitExceeded` where the body is over `limits.max_unit_bytes`."""
    if len(body) > limits.max_unit_bytes:
        raise LimitExceeded(f"unit of {len(body)} bytes, at most {limits.max_unit_bytes} are allowed")
    start = b"".join(
        (
            SYNC,
            bytes((kind,)),
            pack_u16(len(head), "head length"),
            pack_u32(len(body), "body length"),
            head,
        )
    )
    return b"".join((start, pack_u32(crc32(start), "head CRC"), body, pack_u32(crc32(body), "body CRC")))


def parse_prefix(prefix: bytes, offset: int, chunk: int | None) -> int:
    """Check the ten bytes before a head and give the head length. Only what decides how far to read."""
    if prefix[:3] != SYNC:
        raise InvalidField("no unit starts here", offset=offset, chunk=chunk)
    head_length = int.from_bytes(prefix[4:6], "little")
    if head_length > MAX_UNIT_HEAD:
        raise InvalidField(
            f"unit head of {head_length} bytes, at most {MAX_UNIT_HEAD} are possible",
            offset=offset + 4,
            chunk=chunk,
        )
    return head_length


def parse_frame(data: bytes, offset: int, limits: Limits, chunk: int | None = None) -> UnitFrame:
    """Check prefix, head and head CRC (`data`, all of them) and give the frame.

    Errors: `ChecksumMismatch` (head CRC), `InvalidField` (unknown type), `LimitExceeded` (body length).
    """
    stored = int.from_bytes(data[-CRC_BYTES:], "little")
    if crc32(data[:-CRC_BYTES]) != stored:
        raise ChecksumMismatch("unit head is damaged", offset=offset, chunk=chunk)
    cursor = Cursor(data[:PREFIX_BYTES], offset, chunk)
    cursor.take(3, "sync")
    kind = cursor.u8("unit type")
    if kind not in UNIT_TYPES:
        raise InvalidField(f"unknown unit type {kind}", offset=offset + 3, chunk=chunk)
    cursor.u16("head length")
    body_length = cursor.u32("body length")
    if body_length > limits.max_unit_bytes:
        raise LimitExceeded(
            f"unit of {body_length} bytes, at most {limits.max_unit_bytes} are allowed",
            offset=offset + 6,
            chunk=chunk,
        )
    return UnitFrame(kind, offset, data[PREFIX_BYTES:-CRC_BYTES], body_length)


def check_body(frame: UnitFrame, body: bytes, stored: int, chunk: int | None = None) -> None:
    """`ChecksumMismatch` unless the CRC-32 of `body` is `stored`."""
    if crc32(body) != stored:
        raise ChecksumMismatch("unit body is damaged", offset=frame.body_offset, chunk=chunk)
