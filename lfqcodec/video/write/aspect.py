"""The sample aspect ratio in a Matroska file, which PyAV cannot set: put into the header once it is written.

No byte may move, as other parts of the file point to places in it. So the title of the video track is written
with blanks behind it (`padded`), and `set_aspect` needs their room. Elements are those of RFC 9559.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

_SEGMENT, _TRACKS, _TRACK_ENTRY = 0x18538067, 0x1654AE6B, 0xAE
_TRACK_TYPE, _NAME, _VIDEO = 0x83, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_CRC, _VOID = 0xBF, 0xEC
_RATIO = 3  # a unit of the display size: it is no size, only a shape
_ROOM = 40
_HEAD_BYTES = 1 << 20


def padded(title: str) -> str:
    """A title for the video track that leaves room."""
    return title + " " * _ROOM


def _size(data: bytes, at: int) -> tuple[int, int]:
    """The number that a length field holds, and where the field ends."""
    count = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + count], "big") - (1 << 7 * count), at + count


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(identifier, where it begins, where its payload begins, where it ends) of the elements in a part."""
    while at < end:
        count = 9 - data[at].bit_length()
        identifier = int.from_bytes(data[at : at + count], "big")
        size, payload = _size(data, at + count)
        yield identifier, at, payload, payload + size
        at = payload + size


def _element(identifier: int, payload: bytes, *, size_bytes: int = 2) -> bytes:
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 7 * size_bytes).to_bytes(size_bytes, "big") + payload


def _display(width: int, height: int, sar: Fraction) -> bytes:
    """Elements that say how the picture is shown: as a size where that is exact, else as a shape."""
    unit = b""
    if (wide := width * sar).denominator == 1:
        width = wide.numerator
    elif (high := height / sar).denominator == 1:
        height = high.numerator
    else:
        width, height = (sar * Fraction(width, height)).as_integer_ratio()
        unit = _element(_DISPLAY_UNIT, bytes([_RATIO]), size_bytes=1)
    sides = (_DISPLAY_WIDTH, width), (_DISPLAY_HEIGHT, height)
    return b"".join(_element(name, side.to_bytes(8, "big"), size_bytes=1) for name, side in sides) + unit


def set_aspect(path: Path, title: str, size: tuple[int, int], sar: Fraction) -> None:
    """Write the ratio and the true `title` into the video track of a Matroska file of `padded(title)`.

    `size` is (width, height) of the picture. Raises ValueError where the header is not as it should be.
    """
    with path.open("r+b") as file:
        data = file.read(_HEAD_BYTES)
        begin = next(p for name, _, p, _ in _elements(data, 0, len(data)) if name == _SEGMENT)
        tracks = next(each for each in _elements(data, begin, len(data)) if each[0] == _TRACKS)
        for name, _, payload, end in _elements(data, tracks[2], tracks[3]):
            track = list(_elements(data, payload, end)) if name == _TRACK_ENTRY else []
            if any(n == _TRACK_TYPE and data[p:e] == b"\1" for n, _, p, e in track):
                made = _with_aspect(data, track, title, _display(*size, sar))
                data = data[:payload] + made + data[end:]
        first = next(_elements(data, tracks[2], tracks[3]))
        if first[0] == _CRC:
            checksum = zlib.crc32(data[first[3] : tracks[3]]).to_bytes(4, "little")
            data = data[: first[2]] + checksum + data[first[3] :]
        file.seek(0, os.SEEK_SET)
        file.write(data)


def _with_aspect(data: bytes, track: list[tuple[int, int, int, int]], title: str, display: bytes) -> bytes:
    """The payload of a track entry, as long as it was."""
    length = track[-1][3] - track[0][1]
    parts = []
    for name, begin, payload, end in track:
        if name == _VIDEO:
            kept = b"".join(
                data[b:e]
                for n, b, _, e in _elements(data, payload, end)
                if n not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
            )
            parts.append(_element(_VIDEO, kept + display))
        elif name != _NAME:
            parts.append(data[begin:end])
        elif title:
            parts.append(_element(_NAME, title.encode()))
    made = b"".join(parts)
    room = length - len(made)
    if room < 3:
        raise ValueError("no room for the aspect ratio")
    return made + _element(_VOID, bytes(room - 3))
