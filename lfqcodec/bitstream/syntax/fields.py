"""Single fields: little-endian integers, varints, ratios, CRC-32, and their checks (spec sections 1 to 3)."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

from lfqcodec.errors import InvalidField, LimitExceeded, Truncated

VARINT_BYTES = 10


def crc32(data: bytes | memoryview) -> int:
    """CRC-32 of IEEE 802.3 as zlib computes it; `crc32(b"123456789") == 0xCBF43926`."""
    return zlib.crc32(data)


def require(condition: bool, message: str, *, offset: int | None = None, chunk: int | None = None) -> None:
    """Raise `InvalidField` unless `condition` holds."""
    if not condition:
        raise InvalidField(message, offset=offset, chunk=chunk)


def limit(value: int, most: int, what: str, *, offset: int | None = None, chunk: int | None = None) -> None:
    """Raise `LimitExceeded` where `value`, which `what` puts into words, is over `most`."""
    if value > most:
        raise LimitExceeded(f"{what}, at most {most} are allowed", offset=offset, chunk=chunk)


def truncated(what: str, wanted: int, got: int, *, offset: int, chunk: int | None = None) -> Truncated:
    """The error for a file that ends inside `what`; `offset` is where the file ends."""
    return Truncated(
        f"file ends inside {what}: {wanted} bytes wanted, {got} there", offset=offset, chunk=chunk
    )


class Cursor:
    """Takes fields one after the other from `data`, whose first byte lies at `base` in the file.

    Running out of bytes raises `InvalidField`: the enclosing length is already known to be complete, so
    what is wrong is the structure, not the end of the file.
    """

    def __init__(self, data: bytes, base: int = 0, chunk: int | None = None) -> None:
        self._data = data
        self._at = 0
        self._base = base
        self._chunk = chunk

    @property
    def offset(self) -> int:
        """File offset of the next field."""
        return self._base + self._at

    @property
    def remaining(self) -> int:
        """Bytes that are left."""
        return len(self._data) - self._at

    def fail(self, message: str) -> InvalidField:
        """An `InvalidField` placed at the next field."""
        return InvalidField(message, offset=self.offset, chunk=self._chunk)

    def take(self, count: int, what: str) -> bytes:
        if count > self.remaining:
            raise self.fail(f"{what}: {count} bytes announced, {self.remaining} are there")
        self._at += count
        return self._data[self._at - count : self._at]

    def unpack(self, form: str, what: str) -> list[int]:
        """Integers of a fixed size, a letter of `struct` for each: "BH" is a u8 and a u16."""
        return [
            int(struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}"), what))[0]) for code in form
        ]

    def ratio(self, what: str) -> Fraction:
        """A ratio of two u32, both at least 1 and without a common factor: one encoding only."""
        offset = self.offset
        numerator, denominator = self.unpack("II", what)
        text = f"{what} {numerator}/{denominator}"
        require(numerator > 0 and denominator > 0, f"{text} has a zero", offset=offset)
        value = Fraction(numerator, denominator)
        require(value.denominator == denominator, f"{text} is not in lowest terms", offset=offset)
        return value

    def varint(self, what: str) -> int:
        """An unsigned LEB128 integer below 2^64 in its shortest form."""
        value = 0
        for index in range(VARINT_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                break
        if byte == 0 and index > 0:
            raise self.fail(f"{what}: varint is not in its shortest form")
        if byte >= 0x80 or value >= 1 << 64:
            raise self.fail(f"{what}: varint is not below 2^64")
        return value

    def svarint(self, what: str) -> int:
        """A zigzag-coded signed varint: 0, -1, 1, -2, ... are stored as 0, 1, 2, 3, ..."""
        value = self.varint(what)
        return (value >> 1) ^ -(value & 1)

    def finish(self, what: str) -> None:
        """Refuse bytes left over."""
        if self.remaining:
            raise self.fail(f"{what}: {self.remaining} bytes too many")


def pack(form: str, what: str, *values: int) -> bytes:
    """The bytes that `Cursor.unpack` reads. `InvalidField` where a value does not fit its field."""
    try:
        return struct.pack(f"<{form}", *values)
    except struct.error as error:
        raise InvalidField(f"{what} does not fit its field: {', '.join(map(str, values))}") from error


def pack_ratio(value: Fraction, what: str) -> bytes:
    """Two u32, in lowest terms."""
    return pack("II", what, value.numerator, value.denominator)


def pack_varint(value: int) -> bytes:
    """Unsigned LEB128, shortest form. `value` in 0..2^64-1, else `InvalidField`."""
    require(0 <= value < 1 << 64, f"varint out of range: {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_svarint(value: int) -> bytes:
    """Zigzag-coded signed varint. `value` in -2^63..2^63-1, else `InvalidField`."""
    require(-(1 << 63) <= value < 1 << 63, f"signed varint out of range: {value}")
    return pack_varint(value << 1 if value >= 0 else (~value << 1) | 1)
