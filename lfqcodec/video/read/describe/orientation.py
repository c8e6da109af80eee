"""Turning pictures upright: display matrices of containers, and EXIF orientation, which FFmpeg makes one."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """First mirror left-right if `mirror`, then turn by `quarter_turns` of 90 degrees clockwise."""

    quarter_turns: int = 0
    mirror: bool = False

    @property
    def swaps_sides(self) -> bool:
        return self.quarter_turns % 2 == 1

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture, contiguous, of [H, W, 3] uint8."""
        if self.mirror:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, -self.quarter_turns))


# EXIF orientation in the same terms: 1 to 4, then 5 to 8.
_UPRIGHT = [Orientation(), Orientation(0, True), Orientation(2), Orientation(2, True)]
_SIDEWAYS = [Orientation(3, True), Orientation(1), Orientation(1, True), Orientation(3)]
_EXIF = dict(enumerate(_UPRIGHT + _SIDEWAYS, start=1))


def exif_orientation(data: bytes) -> Orientation | None:
    """The orientation that the EXIF block of an image file asks for; None where there is none."""
    # JPEG, PNG and WebP mark the block differently, but a TIFF header follows the mark in each of them.
    for mark in (b"Exif\0\0", b"eXIf", b"EXIF"):
        at = data.find(mark, 0, 1 << 18)
        block = data[at + len(mark) : at + len(mark) + (1 << 16)] if at >= 0 else b""
        if mark == b"EXIF":
            block = block[4:].removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is None:
            continue
        with contextlib.suppress(struct.error):
            (start,) = struct.unpack_from(f"{order}I", block, 4)
            (count,) = struct.unpack_from(f"{order}H", block, start)
            for entry in range(start + 2, start + 2 + 12 * count, 12):
                tag, _, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
                if tag == 0x112:
                    return _EXIF.get(value)
    return None


def _matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The display matrix of a frame, None where it has none. Raises ValueError where PyAV cannot tell."""
    side: Any
    for side in frame.side_data:
        if getattr(side.type, "name", "") == "DISPLAYMATRIX":
            data = bytes(side)
            return struct.unpack("=9i", data[:36]) if len(data) >= 36 else None
    return None


def orientation_of(frame: av.VideoFrame, exif: Orientation | None = None) -> tuple[Orientation, str]:
    """Orientation of a decoded frame, and a note ("" if none) where it cannot be honoured exactly.

    `exif` is what the file itself says, if it is a still image.
    """
    try:
        matrix = _matrix(frame)
    except ValueError:
        # One kind of side data that PyAV does not know (EXIF, for one) hides all others; the angle is left.
        return exif or Orientation(round(-frame.rotation / 90) % 4), ""
    if matrix is None:
        return Orientation(), ""
    # Rows are (a b u), (c d v), (x y w): a pixel (p, q) is shown at (a p + c q + x, b p + d q + y).
    a, b, c, d = (value / 65536 for value in (matrix[0], matrix[1], matrix[3], matrix[4]))
    mirror = a * d - b * c < 0
    if mirror:
        a, b = -a, -b
    # What remains is a rotation (a b; c d) = (cos sin; -sin cos); y points down, so it is clockwise.
    angle = float(np.degrees(np.arctan2(b - c, a + d)))
    turns = round(angle / 90)
    note = ""
    if abs(angle - 90 * turns) > 1:
        note = f"rotation by {angle:.0f} degrees is not supported; turned by {90 * turns} instead"
    return Orientation(turns % 4, mirror), note
