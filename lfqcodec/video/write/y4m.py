"""YUV4MPEG2 output: raw 8-bit 4:2:0 planes behind a text header, for files and pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from lfqcodec.errors import OutputError
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.output import replacing
from lfqcodec.video.colour import rgb_to_yuv
from lfqcodec.video.failures import writing
from lfqcodec.video.write.writer import VideoWriter, nominal_rate

# A time stamp may differ from the frame rate's by this many frames before one is repeated or left out.
_SLACK = Fraction(3, 5)


def header(info: VideoInfo) -> bytes:
    """The stream header. `C420mpeg2` states where `rgb_to_yuv` places chroma; the range tag is FFmpeg's."""
    rate, sar = nominal_rate(info), info.sar
    span = "FULL" if info.colour.full_range else "LIMITED"
    return (
        f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} Ip"
        f" A{sar.numerator}:{sar.denominator} C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE={span}\n"
    ).encode("ascii")


class Y4mWriter(VideoWriter):
    """Writes to a path (whole or not at all), to standard output (None), or to a binary file object.

    The format has one frame rate and no time stamps: where those of the video differ, pictures are repeated
    or left out, so that it plays as long as it should.
    """

    def _begin(self) -> None:
        self._file: BinaryIO
        self._data: tuple[bytes, ...] = ()
        self._written = self._repeated = self._dropped = 0
        if isinstance(self._dest, Path):
            temporary = self._stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
            self._file = self._stack.enter_context(temporary.open("wb"))
        elif self._dest is None:
            self.name = "standard output"
            self._file = sys.stdout.buffer
        else:
            self._file = self._dest
        with self._writing():
            self._file.write(header(self.info))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with writing(self.name):
                yield
        except OutputError as error:
            if self._dest is None and isinstance(error.__cause__, BrokenPipeError):
                # Standard output is gone: what Python flushes at exit must not fail a second time.
                with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
                    os.dup2(null.fileno(), sys.stdout.fileno())
            raise

    def _write(self, frame: Frame) -> None:
        if self.frames == 0:
            self._first_pts = frame.pts
        # Where the frame belongs, in frames of the output.
        place = (frame.pts - self._first_pts) * self.info.time_base * nominal_rate(self.info)
        while self._data and place - self._written > _SLACK:
            self._repeated += 1
            self._put()
        if place - self._written < -_SLACK:
            self._dropped += 1
            return
        planes = rgb_to_yuv(frame.rgb, self.info.colour)
        self._data = (b"FRAME\n", *(plane.tobytes() for plane in planes))
        self._put()

    def _put(self) -> None:
        """Write the last picture."""
        self._written += 1
        with self._writing():
            for part in self._data:
                self._file.write(part)

    def _finish(self) -> None:
        with self._writing():
            self._file.flush()
        if self._repeated or self._dropped:
            self.notes.add(
                f"{self._repeated} pictures are repeated and {self._dropped} left out: y4m has one frame rate"
            )
