"""EBML, the syntax of Matroska (RFC 8794): elements made and read, and tracks of a written file changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SEGMENT, TRACKS, TRACK_ENTRY = 0x18538067, 0x1654AE6B, 0xAE
CRC, VOID = 0xBF, 0xEC
_HEAD_BYTES = 1 << 20


class Element(NamedTuple):
    """Where an element lies in some bytes: its beginning, that of its payload, and its end."""

    identifier: int
    begin: int
    payload: int
    end: int


def element(identifier: int, payload: bytes, *, size_bytes: int = 8) -> bytes:
    """An element whose length takes so many bytes."""
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 7 * size_bytes).to_bytes(size_bytes, "big") + payload


def number(identifier: int, value: int) -> bytes:
    """An element that holds a number of 64 bits."""
    return element(identifier, value.to_bytes(8, "big"))


def elements(data: bytes, at: int, end: int) -> Iterator[Element]:
    """The elements of `data` from `at` to `end`."""
    while at < end:
        count = 9 - data[at].bit_length()
        identifier = int.from_bytes(data[at : at + count], "big")
        field = at + count
        count = 9 - data[field].bit_length()
        size = int.from_bytes(data[field : field + count], "big") - (1 << 7 * count)
        payload = field + count
        yield Element(identifier, at, payload, payload + size)
        at = payload + size


Change = Callable[[bytes, Sequence[Element]], bytes]
"""Of a part of a file and the elements of a track entry in it: the payload of that, as long as it was."""


def with_tracks(data: bytes, change: Change) -> bytes:
    """`data`, the beginning of a Matroska file, with `change` applied to each of its tracks."""
    segment = next(each for each in elements(data, 0, len(data)) if each.identifier == SEGMENT)
    tracks = next(each for each in elements(data, segment.payload, len(data)) if each.identifier == TRACKS)
    for each in elements(data, tracks.payload, tracks.end):
        if each.identifier == TRACK_ENTRY:
            made = change(data, [*elements(data, each.payload, each.end)])
            assert len(made) == each.end - each.payload, "no byte may move"
            data = data[: each.payload] + made + data[each.end :]
    first = next(elements(data, tracks.payload, tracks.end))
    if first.identifier == CRC:
        checksum = zlib.crc32(data[first.end : tracks.end]).to_bytes(4, "little")
        data = data[: first.payload] + checksum + data[first.end :]
    return data


def change_tracks(path: Path, changes: Sequence[Change]) -> None:
    """Apply `changes` to the tracks of a Matroska file. No byte of it moves."""
    with path.open("r+b") as file:
        data = file.read(_HEAD_BYTES)
        for change in changes:
            data = with_tracks(data, change)
        file.seek(0)
        file.write(data)
