"""`VideoWriter`: frames and copied packets into an output that appears whole or not at all."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np

from lfqcodec.errors import LfqError
from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.video.failures import Notes, display_name


class VideoWriter(ABC):
    """An output being written; a context manager. `notes` says what the output cannot hold.

    Leaving the `with` block finishes the output and gives it its name; leaving it by an exception removes
    what was written. Errors are `OutputError`.
    """

    keeps_packets = False

    def __init__(self, dest: Any, info: VideoInfo, *, overwrite: bool = False) -> None:
        self.name = display_name(dest)
        self.info = info
        self.notes = Notes()
        self.frames = 0
        self._dest = dest
        self._overwrite = overwrite
        self._stack = contextlib.ExitStack()
        self._last_pts: int | None = None

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

    @abstractmethod
    def _begin(self) -> None:
        """Open the output; what has to be closed or undone, after an error too, goes on `_stack`."""

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...

    def _write_packet(self, packet: StreamPacket) -> None:
        return

    @abstractmethod
    def _finish(self) -> None:
        """Everything was written: flush it. Not called after an error."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as guard:
            guard.push(self._stack)
            self._begin()
            guard.pop_all()
        if self.info.streams and not self.keeps_packets:
            self.notes.add("sound and subtitles are left out: this output holds pictures only")
        if (self.info.metadata.tags or self.info.metadata.chapters) and not self.keeps_packets:
            self.notes.add("tags and chapters are left out: this output holds none")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
            return
        try:
            self._stack.__exit__(kind, error, trace)
        except LfqError:
            # Cleaning up rewords system errors as failures of this output; the first error is the cause.
            if not isinstance(error, LfqError):
                raise


def nominal_rate(info: VideoInfo) -> Fraction:
    """Frames per second to announce: 25 where none is known."""
    rate = info.frame_rate
    return rate if rate is not None and 0 < rate <= 1000 else Fraction(25)
