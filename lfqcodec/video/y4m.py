"""YUV4MPEG2 output: raw 8-bit 4:2:0 planes behind a text header, for files and pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

from lfqcodec.errors import OutputError
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.output import replacing
from lfqcodec.video.colour import rgb_to_yuv
from lfqcodec.video.failures import display_name, reason
from lfqcodec.video.writer import VideoWriter, nominal_rate

# A time stamp may differ from the frame rate's by this many frames before it counts as variable.
_SLACK = 0.6


def header(info: VideoInfo) -> bytes:
    """The stream header. `C420mpeg2` states where `rgb_to_yuv` places chroma; the range tag is FFmpeg's."""
    rate, sar = nominal_rate(info), info.sar
    span = "FULL" if info.colour.full_range else "LIMITED"
    return (
        f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} Ip"
        f" A{sar.numerator}:{sar.denominator} C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE={span}\n"
    ).encode("ascii")


class Y4mWriter(VideoWriter):
    """Writes to a path (whole or not at all), to standard output (None), or to a binary file object."""

    def __init__(self, dest: Path | BinaryIO | None, info: VideoInfo, *, overwrite: bool = False) -> None:
        name = "standard output" if dest is None else display_name(dest)
        super().__init__(name, info)
        self._dest = dest
        self._overwrite = overwrite
        self._file: BinaryIO | None = None
        self._first_pts = 0

    def _begin(self) -> None:
        if isinstance(self._dest, Path):
            temporary = self._stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
            self._file = temporary.open("wb")
        else:
            self._file = sys.stdout.buffer if self._dest is None else self._dest
        self._put(header(self.info))
        if self.info.streams:
            self.note("sound and subtitles are left out: y4m holds pictures only")

    def _put(self, *parts: bytes) -> None:
        assert self._file is not None
        try:
            for part in parts:
                self._file.write(part)
        except BrokenPipeError as error:
            self._hang_up()
            raise OutputError(f"{self.name}: closed by its reader") from error
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.name}: {reason(error)}") from error

    def _hang_up(self) -> None:
        """Standard output is gone: what Python flushes at exit must not fail a second time."""
        if self._dest is None:
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, sys.stdout.fileno())
                os.close(null)

    def _write(self, frame: Frame) -> None:
        if self.frames == 0:
            self._first_pts = frame.pts
        else:
            seconds = (frame.pts - self._first_pts) * self.info.time_base
            if abs(seconds * nominal_rate(self.info) - self.frames) > _SLACK:
                self.note("variable time stamps are lost, as y4m has one frame rate; every frame is there")
        planes = rgb_to_yuv(frame.rgb, self.info.colour)
        self._put(b"FRAME\n", *(plane.tobytes() for plane in planes))

    def _write_packet(self, packet: object) -> None:
        return

    def _finish(self) -> None:
        assert self._file is not None
        try:
            self._file.flush()
            if isinstance(self._dest, Path):
                self._file.close()
        except BrokenPipeError as error:
            self._hang_up()
            raise OutputError(f"{self.name}: closed by its reader") from error
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.name}: {reason(error)}") from error

    def _abandon(self) -> None:
        if isinstance(self._dest, Path) and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
