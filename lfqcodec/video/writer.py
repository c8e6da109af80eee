"""`open_writer`: frames and copied packets into a video file, a pipe, or pictures, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from lfqcodec.errors import LfqError, OutputError
from lfqcodec.media import Frame, StreamPacket, VideoInfo

SUPPORTED_OUTPUTS = ".mp4, .mov, .mkv, .y4m, .png, .jpg, a folder (name ending with /), or - for y4m"


class VideoWriter(ABC):
    """An output being written; a context manager. `notes` says what the output cannot hold.

    Leaving the `with` block finishes the output and gives it its name; leaving it by an exception removes
    what was written. Errors are `OutputError`.
    """

    def __init__(self, name: str, info: VideoInfo) -> None:
        self.name = name
        self.info = info
        self.notes: list[str] = []
        self._stack = contextlib.ExitStack()
        self._last_pts: int | None = None
        self.frames = 0

    def write(self, frame: Frame) -> None:
        """Append a picture: uint8 [height, width, 3] of the announced size, `pts` above the one before."""
        expected = (self.info.height, self.info.width, 3)
        if frame.rgb.shape != expected or frame.rgb.dtype != np.uint8:
            raise ValueError(f"frame is {frame.rgb.dtype} {frame.rgb.shape}, not uint8 {expected}")
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise ValueError(f"pts {frame.pts} does not follow {self._last_pts}")
        self._last_pts = frame.pts
        self._write(frame)
        self.frames += 1

    def write_packet(self, packet: StreamPacket) -> None:
        """Append a packet of `info.streams[packet.stream]`; formats without sound ignore it."""
        if not 0 <= packet.stream < len(self.info.streams):
            raise ValueError(f"no stream {packet.stream} was announced")
        self._write_packet(packet)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @abstractmethod
    def _begin(self) -> None:
        """Open the output; what has to be undone goes on `_stack`."""

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...

    def _write_packet(self, packet: StreamPacket) -> None:
        self.note(f"{self.info.streams[packet.stream].kind} is left out: this output holds pictures only")

    @abstractmethod
    def _finish(self) -> None:
        """Everything was written: flush it. Not called after an error."""

    def _abandon(self) -> None:
        """Let go of open files after an error, without raising."""
        return

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as guard:
            guard.push(self._stack)
            try:
                self._begin()
            except BaseException:
                self._abandon()
                raise
            guard.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._finish()
            except BaseException as problem:
                self._abandon()
                if not self._stack.__exit__(type(problem), problem, problem.__traceback__):
                    raise
                return
            self._stack.close()
            return
        self._abandon()
        try:
            self._stack.__exit__(kind, error, trace)
        except LfqError:
            # Cleaning up rewords system errors as failures of this output; the first error is the cause.
            if isinstance(error, LfqError):
                return
            raise


def nominal_rate(info: VideoInfo) -> Fraction:
    """Frames per second to announce: 25 where none is known."""
    rate = info.frame_rate
    return rate if rate is not None and 0 < rate <= 1000 else Fraction(25)


def open_writer(
    dest: str | os.PathLike[str] | BinaryIO, info: VideoInfo, *, overwrite: bool = False
) -> VideoWriter:
    """Prepare to write `dest`, in the format its name tells; work starts on entering the `with` block.

    .mp4, .mov    H.264 at visually lossless quality, 4:2:0 (4:4:4 for odd sizes, which H.264 cannot have in
                  4:2:0); audio copied; time stamps kept exactly
    .mkv          FFV1 4:2:0, lossless after the conversion from RGB; audio and text subtitles copied;
                  Matroska keeps time stamps to the millisecond
    .y4m, -       YUV4MPEG2 with the same 4:2:0 planes; "-" is standard output; a file object is y4m too
    folder        000000.png, 000001.png, ... exact RGB: a name that ends with "/", an existing folder, or
                  a pattern such as frames/%04d.png
    .png, .jpg    one picture

    Nothing appears under the final name until all is written. Raises `OutputError` for a format that is not
    supported, or an output that exists (without `overwrite`) or cannot be written.
    """
    from lfqcodec.video import images, muxed, y4m

    if not isinstance(dest, (str, os.PathLike)):
        return y4m.Y4mWriter(dest, info)
    text = os.fspath(dest)
    if text == "-":
        return y4m.Y4mWriter(None, info)
    path = Path(text)
    suffix = path.suffix.lower()
    separators = tuple(filter(None, (os.sep, os.altsep)))
    if text.endswith(separators) or path.is_dir():
        return images.FolderWriter(path, "%06d.png", info, overwrite=overwrite)
    if suffix == ".png" and re.search(r"%0?\d*d", path.name):
        return images.FolderWriter(path.parent, path.name, info, overwrite=overwrite)
    if suffix in muxed.FORMATS:
        return muxed.MuxedWriter(path, info, overwrite=overwrite)
    if suffix == ".y4m":
        return y4m.Y4mWriter(path, info, overwrite=overwrite)
    if suffix in images.ENCODERS:
        return images.ImageWriter(path, info, overwrite=overwrite)
    what = f"format {suffix!r} is not supported" if suffix else "has no suffix that tells its format"
    raise OutputError(f"{text}: {what}; use {SUPPORTED_OUTPUTS}")
