"""The sample aspect ratio in a Matroska file, which PyAV cannot set: put into the header once it is written.

No byte may move, as other parts of the file point to places in it. So the title of the video track is written
with blanks behind it (`padded`), and `aspect` needs their room. Elements are those of RFC 9559.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lfqcodec.video.write.ebml import VOID, Change, Element, element, elements

_TRACK_TYPE, _NAME, _VIDEO = 0x83, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_RATIO = 3  # a unit of the display size: it is no size, only a shape
_ROOM = 40


def padded(title: str) -> str:
    """A title for the video track that leaves room."""
    return title + " " * _ROOM


def _display(width: int, height: int, sar: Fraction) -> bytes:
    """Elements that say how the picture is shown: as a size where that is exact, else as a shape."""
    unit = b""
    if (wide := width * sar).denominator == 1:
        width = wide.numerator
    elif (high := height / sar).denominator == 1:
        height = high.numerator
    else:
        width, height = (sar * Fraction(width, height)).as_integer_ratio()
        unit = element(_DISPLAY_UNIT, bytes([_RATIO]), size_bytes=1)
    sides = (_DISPLAY_WIDTH, width), (_DISPLAY_HEIGHT, height)
    return b"".join(element(name, side.to_bytes(8, "big"), size_bytes=1) for name, side in sides) + unit


def aspect(title: str, size: tuple[int, int], sar: Fraction) -> Change:
    """What puts the ratio and the true `title` into the video track of a file of `padded(title)`.

    `size` is (width, height) of the picture. It raises ValueError where the header is not as it should be.
    """
    display = _display(*size, sar)

    def change(data: bytes, track: Sequence[Element]) -> bytes:
        is_video = any(e.identifier == _TRACK_TYPE and data[e.payload : e.end] == b"\1" for e in track)
        return _with_aspect(data, track, title, display) if is_video else data[track[0].begin : track[-1].end]

    return change


def _with_aspect(data: bytes, track: Sequence[Element], title: str, display: bytes) -> bytes:
    """The payload of a track entry, as long as it was."""
    parts = []
    for each in track:
        if each.identifier == _VIDEO:
            kept = b"".join(
                data[part.begin : part.end]
                for part in elements(data, each.payload, each.end)
                if part.identifier not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
            )
            parts.append(element(_VIDEO, kept + display, size_bytes=2))
        elif each.identifier != _NAME:
            parts.append(data[each.begin : each.end])
        elif title:
            parts.append(element(_NAME, title.encode(), size_bytes=2))
    made = b"".join(parts)
    room = track[-1].end - track[0].begin - len(made)
    if room < 3:
        raise ValueError("no room for the aspect ratio")
    return made + element(VOID, bytes(room - 3), size_bytes=2)
