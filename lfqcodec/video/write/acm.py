"""Sound that Matroska has no name for: it goes by its number in WAV and AVI files, as the codec A_MS/ACM.

PyAV adds no such track, though FFmpeg reads it. So the track is written under the name of a codec whose
private data are written as they are given, and gets its right name once the file is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from lfqcodec.video.write.ebml import Element

BORROWED = "A_REAL/14_4"
"""The name that such a track is written with; no other track has it."""

NAME = "A_MS/ACM"
_CODEC = 0x86


def rename(data: bytes, track: Sequence[Element]) -> bytes:
    """A track entry with the right name in place of the borrowed one (an `ebml.Change`)."""
    parts = []
    for each in track:
        part = data[each.begin : each.end]
        if each.identifier == _CODEC and data[each.payload : each.end] == BORROWED.encode():
            # A text may end with zeros, which count for nothing (RFC 8794, 7.4).
            part = data[each.begin : each.payload] + NAME.encode().ljust(len(BORROWED), b"\0")
        parts.append(part)
    return b"".join(parts)
