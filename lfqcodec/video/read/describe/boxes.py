"""The boxes of MP4 and MOV files (ISO/IEC 14496-12), which tell why a file cannot be read as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"sidx", b"moof")
_MOST = 1 << 16


def _boxes(file: BinaryIO, length: int) -> Iterator[bytes]:
    """Names of the boxes of a file, until one is cut off."""
    at = 0
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if at == 0 and name not in _FIRST:
            return
        yield name
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        if size < 8 or at + size > length:
            return
        at += size


def _names(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(_boxes(file, path.stat().st_size))


def why_unreadable(path: Path) -> str:
    """Why FFmpeg cannot read an MP4 or MOV file, "" where that is not known, or where it is no such file."""
    names = _names(path)
    if not names or b"moov" in names:
        return ""
    if names[0] in (b"styp", b"sidx", b"moof"):
        return "is a segment of a stream; join it behind the first one (cat init.mp4 segment.m4s)"
    return "is not complete: what tells of its pictures (moov) comes last, and is missing"


def holds_another(path: Path) -> bool:
    """Whether a second MP4 or MOV file is joined to the first. FFmpeg does not read it."""
    return _names(path).count(b"moov") > 1
