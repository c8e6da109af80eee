"""Reading and writing of single fields: little-endian integers, varints, CRC-32 (spec sections 1 and 2)."""

from __future__ import annotations

import struct
import zlib

from lfqcodec.errors import InvalidField, Truncated

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")

VARINT_BYTES = 10


def crc32(data: bytes | memoryview) -> int:
    """CRC-32 of IEEE 802.3 as zlib computes it; `crc32(b"123456789") == 0xCBF43926`."""
    return zlib.crc32(data)


def require(condition: bool, message: str, *, offset: int | None = None, chunk: int | None = None) -> None:
    """Raise `InvalidField` unless `condition` holds."""
    if not condition:
        raise InvalidField(message, offset=offset, chunk=chunk)


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
        return len(self._data) - self._at

    def fail(self, message: str) -> InvalidField:
        """An `InvalidField` placed at the next field."""
        return InvalidField(message, offset=self.offset, chunk=self._chunk)

    def take(self, count: int, what: str) -> bytes:
        if count > self.remaining:
            raise self.fail(f"{what}: {count} bytes announced, {self.remaining} are there")
        start = self._at
        self._at += count
        return self._data[start : self._at]

    def u8(self, what: str) -> int:
        return int(_U8.unpack(self.take(1, what))[0])

    def u16(self, what: str) -> int:
        return int(_U16.unpack(self.take(2, what))[0])

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack(self.take(8, what))[0])

    def i64(self, what: str) -> int:
        return int(_I64.unpack(self.take(8, what))[0])

    def varint(self, what: str) -> int:
        """An unsigned LEB128 integer below 2^64 in its shortest form."""
        value = 0
        for index in range(VARINT_BYTES):
            byte = self.u8(what)
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if byte == 0 and index > 0:
                    raise self.fail(f"{what}: varint is not in its shortest form")
                if value >= 1 << 64:
                    break
                return value
        raise self.fail(f"{what}: varint is not below 2^64")

    def svarint(self, what: str) -> int:
        """A zigzag-coded signed varint: 0, -1, 1, -2, ... are stored as 0, 1, 2, 3, ..."""
        value = self.varint(what)
        return (value >> 1) ^ -(value & 1)

    def finish(self, what: str) -> None:
        """Refuse bytes left over."""
        if self.remaining:
            raise self.fail(f"{what}: {self.remaining} bytes too many")


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


def pack_u16(value: int, what: str) -> bytes:
    return _pack(_U16, value, what)


def pack_u32(value: int, what: str) -> bytes:
    return _pack(_U32, value, what)


def pack_u64(value: int, what: str) -> bytes:
    return _pack(_U64, value, what)


def pack_i64(value: int, what: str) -> bytes:
    return _pack(_I64, value, what)


def pack_u8(value: int, what: str) -> bytes:
    return _pack(_U8, value, what)


def _pack(form: struct.Struct, value: int, what: str) -> bytes:
    try:
        return form.pack(value)
    except struct.error as error:
        raise InvalidField(f"{what} does not fit its field: {value}") from error


def truncated(what: str, wanted: int, got: int, *, offset: int, chunk: int | None = None) -> Truncated:
    """The error for a file that ends inside `what`; `offset` is where the file ends."""
    return Truncated(
        f"file ends inside {what}: {wanted} bytes wanted, {got} there", offset=offset, chunk=chunk
    )
