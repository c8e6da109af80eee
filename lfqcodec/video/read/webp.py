"""Animated WebP: FFmpeg decodes its pictures, but not the animation (RFC 9649, sections 2.7 and 2.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import InputVideoError
from lfqcodec.video.failures import MEDIA_ERRORS, reason
from lfqcodec.video.read.describe.orientation import exif_orientation
from lfqcodec.video.read.source import Item, Source

ENOUGH = 21
"""So many bytes of a file tell whether it is such a one."""

_HEADER, _FRAME_HEADER = 12, 16
_ANIMATION, _ALPHA = 0x02, 0x10
_TO_BACKGROUND, _REPLACE = 0x01, 0x02
# Milliseconds: what is shorter is shown for a tenth of a second, as browsers do.
_SHORTEST, _USUAL = 11, 100


def is_animated_webp(data: bytes) -> bool:
    """Whether a file that begins like this is a WebP animation: its extended header has a bit for it."""
    extended = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X"
    return extended and len(data) >= ENOUGH and bool(data[20] & _ANIMATION)


@dataclass(frozen=True)
class _Part:
    """A picture of the animation: where it is laid on the canvas, for how long (ms), how, and its chunks."""

    left: int
    top: int
    size: tuple[int, int]
    milliseconds: int
    flags: int
    chunks: bytes

    @classmethod
    def of(cls, payload: bytes) -> _Part:
        left, top, width, height, shown = (
            int.from_bytes(payload[at : at + 3], "little") for at in range(0, 15, 3)
        )
        shown = shown if shown >= _SHORTEST else _USUAL
        size = width + 1, height + 1
        return cls(2 * left, 2 * top, size, shown, payload[15], payload[_FRAME_HEADER:])

    def as_still(self) -> bytes:
        """The same picture as a file of its own."""
        width, height = (side - 1 for side in self.size)
        head = bytes([_ALPHA, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
        extended = b"VP8X" + struct.pack("<I", len(head)) + head if self.chunks[:4] == b"ALPH" else b""
        body = b"WEBP" + extended + self.chunks
        return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and payload of the chunks of a file; one that is cut off ends it."""
    at = _HEADER
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            return
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


class WebpSource(Source):
    """An animated WebP file with the bytes `data`. Raises `InputVideoError` where it has no pictures."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name)
        self._parts: list[_Part] = []
        head = b""
        for chunk, payload in _chunks(data):
            if chunk == b"VP8X" and len(payload) >= 10:
                head = payload
            elif chunk == b"ANMF" and len(payload) > _FRAME_HEADER:
                self._parts.append(_Part.of(payload))
        if not head or not self._parts:
            raise InputVideoError(f"{name}: an animated WebP without a picture that can be read")
        self._size = tuple(int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            self.notes.add("the input breaks off: pictures behind that are missing")
        self.time_base = Fraction(1, 1000)
        self.frame_count = len(self._parts)
        self.duration = sum(part.milliseconds for part in self._parts) * self.time_base
        self.frame_rate = self.frame_count / self.duration
        self.exif = exif_orientation(data)

    def items(self, copied: list[Any]) -> Iterator[Item]:
        """As `Source` says. Raises `InputVideoError` for a picture that cannot be decoded."""
        width, height = self._size
        canvas = np.zeros((height, width, 4), np.uint8)
        decoder: Any = av.CodecContext.create("webp", "r")
        now = 0
        for number, part in enumerate(self._parts):
            right, bottom = part.left + part.size[0], part.top + part.size[1]
            if right > width or bottom > height:
                raise InputVideoError(f"{self.name}: picture {number} lies outside of the animation")
            place = canvas[part.top : bottom, part.left : right]
            try:
                (decoded,) = decoder.decode(av.Packet(part.as_still()))
                picture = decoded.to_ndarray(format="rgba")
                if picture.shape != place.shape:
                    raise ValueError("has another size than is said of it")
            except MEDIA_ERRORS as error:
                raise InputVideoError(f"{self.name}: picture {number}: {reason(error)}") from error
            place[:] = picture if part.flags & _REPLACE else _over(picture, place)
            frame = av.VideoFrame.from_ndarray(canvas, format="rgba")
            frame.pts, frame.time_base = now, self.time_base
            self.tally.pictures += 1
            self.tally.decoded += 1
            yield -1, frame
            now += part.milliseconds
            if part.flags & _TO_BACKGROUND:
                # The colour of the background is for programs that draw no background of their own.
                place[:] = 0


def _over(above: NDArray[np.uint8], below: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`above` laid over `below`, both RGBA that is not multiplied with its alpha."""
    first, second = above[..., 3:] / 255, below[..., 3:] / 255
    alpha = first + second * (1 - first)
    colour = above[..., :3] * first + below[..., :3] * second * (1 - first)
    mixed = np.concatenate([colour / np.maximum(alpha, 1e-9), alpha * 255], axis=2)
    result: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return result
