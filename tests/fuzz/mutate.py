"""Mutations of whole files, by which a fuzzer gets at what lies behind the checksums.

Everything comes from a `random.Random`, so a seed gives the same inputs on every machine.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

CONFORMANCE = Path(__file__).parents[1] / "conformance"
_VALUES = [
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
]


def seeds() -> list[bytes]:
    """The valid and uncommon conformance files, small ones first."""
    files = [*CONFORMANCE.glob("valid/*.lfq"), *CONFORMANCE.glob("uncommon/*.lfq")]
    return sorted((path.read_bytes() for path in files), key=lambda data: (len(data), data))


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def units(data: bytes) -> list[tuple[int, int, int, int]]:
    """Where units lie as far as their lengths lead: begin, body, end of the body, end."""
    at = int.from_bytes(data[12:16], "little")
    found = []
    while data[at : at + 3] == b"LFQ" and at + 14 <= len(data):
        body = at + 14 + int.from_bytes(data[at + 4 : at + 6], "little")
        end = body + int.from_bytes(data[at + 6 : at + 10], "little")
        if end + 4 > len(data):
            break
        found.append((at, body, end, end + 4))
        at = end + 4
    return found


def mend(data: bytes) -> bytes:
    """The same bytes with right checksums of header, heads, bodies and trailer. Those of tokens stay."""
    out = bytearray(data)
    length = int.from_bytes(data[12:16], "little")
    if 20 <= length <= len(out):
        out[length - 4 : length] = u32(zlib.crc32(out[: length - 4]))
    for begin, body, end, _ in units(data):
        out[body - 4 : body] = u32(zlib.crc32(out[begin : body - 4]))
        out[end : end + 4] = u32(zlib.crc32(out[body:end]))
    if len(out) >= 20 and out[-8:] == b"\x89LFQEND\n":
        out[-12:-8] = u32(zlib.crc32(out[-20:-12]))
    return bytes(out)


class Mutator:
    """Makes inputs out of a corpus, one after the other."""

    def __init__(self, corpus: list[bytes], seed: int) -> None:
        self._corpus, self._random = corpus, random.Random(seed)
        self._ways: list[Callable[[bytearray], bytearray]] = [
            self._flip,
            self._byte,
            self._value,
            self._value,
            self._delete,
            self._insert,
            self._double,
            self._cut,
            self._unit,
            self._unit,
            self._swap,
            self._length,
            self._varint,
        ]

    def next(self) -> bytes:
        """The next input; the checksums of every second one are right."""
        data = bytearray(self._random.choice(self._corpus))
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 6))):
            data = self._random.choice(self._ways)(data)
        return mend(bytes(data)) if self._random.random() < 0.5 else bytes(data)

    def change(self, data: bytes) -> bytes:
        """One change of `data`."""
        return bytes(self._random.choice(self._ways)(bytearray(data)))

    def _at(self, data: bytearray, room: int = 1) -> int:
        # Half of the changes go where the fields are: header, heads and index are short beside bodies.
        spots = units(bytes(data))
        if spots and self._random.random() < 0.5:
            begin, body, _, _ = self._random.choice(spots)
            return min(self._random.randrange(begin, body), max(0, len(data) - room))
        return self._random.randrange(max(1, len(data) - room + 1))

    def _flip(self, data: bytearray) -> bytearray:
        if data:
            data[self._at(data)] ^= 1 << self._random.randrange(8)
        return data

    def _byte(self, data: bytearray) -> bytearray:
        if data:
            data[self._at(data)] = self._random.choice((0, 1, 0x7F, 0x80, 0xFF, self._random.randrange(256)))
        return data

    def _value(self, data: bytearray) -> bytearray:
        size = self._random.choice((1, 2, 4, 8))
        value = (self._random.choice(_VALUES) + self._random.randrange(-1, 2)) % (1 << 8 * size)
        at = self._at(data, size)
        data[at : at + size] = value.to_bytes(size, "little")
        return data

    def _delete(self, data: bytearray) -> bytearray:
        at = self._at(data)
        del data[at : at + self._random.choice((1, 1, 2, 4, 16, 64))]
        return data

    def _insert(self, data: bytearray) -> bytearray:
        at = self._at(data)
        data[at:at] = self._random.randbytes(self._random.choice((1, 1, 2, 4, 16, 64)))
        return data

    def _double(self, data: bytearray) -> bytearray:
        at = self._at(data)
        data[at:at] = data[at : at + self._random.choice((1, 4, 18, 100))]
        return data

    def _cut(self, data: bytearray) -> bytearray:
        del data[self._at(data) :]
        return data

    def _unit(self, data: bytearray) -> bytearray:
        """Leave a unit out, double it, or put one of another file in its place."""
        spots = units(bytes(data))
        if not spots:
            return data
        begin, _, _, end = self._random.choice(spots)
        way = self._random.randrange(3)
        if way == 0:
            del data[begin:end]
        elif way == 1:
            data[end:end] = data[begin:end]
        else:
            other = self._random.choice(self._corpus)
            first, _, _, last = self._random.choice(units(other))
            data[begin:end] = other[first:last]
        return data

    def _swap(self, data: bytearray) -> bytearray:
        spots = units(bytes(data))
        if len(spots) < 2:
            return data
        one, two = sorted(self._random.sample(spots, 2))
        return (
            data[: one[0]]
            + data[two[0] : two[3]]
            + data[one[3] : two[0]]
            + data[one[0] : one[3]]
            + data[two[3] :]
        )

    def _length(self, data: bytearray) -> bytearray:
        """Lengthen or shorten a head or body, its own length with it, so that what follows stays in place."""
        spots = units(bytes(data))
        if not spots:
            return data
        begin, body, end, _ = self._random.choice(spots)
        grow = self._random.choice((-4, -1, 1, 4, 40))
        in_head = self._random.random() < 0.5
        low, high = (begin + 10, body - 4) if in_head else (body, end)
        if high - low + grow < 0:
            return data
        if grow > 0:
            at = self._random.randint(low, high)
            data[at:at] = self._random.randbytes(grow)
        else:
            at = self._random.randint(low, high + grow)
            del data[at : at - grow]
        if in_head:
            data[begin + 4 : begin + 6] = (high - low + grow).to_bytes(2, "little")
        else:
            data[begin + 6 : begin + 10] = u32(high - low + grow)
        return data

    def _varint(self, data: bytearray) -> bytearray:
        """A long or large varint in the head of a unit, whose length grows."""
        spots = units(bytes(data))
        if not spots:
            return data
        begin, body, _, _ = self._random.choice(spots)
        if body - begin < 16:
            return data
        at = self._random.randrange(begin + 10, body - 4)
        coded = self._random.choice(
            (b"\x80\x00", b"\xff" * 9 + b"\x01", b"\x80" * 10 + b"\x01", b"\x80\x80\x80\x80\x10")
        )
        data[at : at + 1] = coded
        data[begin + 4 : begin + 6] = (body - begin - 14 + len(coded) - 1).to_bytes(2, "little")
        return data
