"""Decoded pictures and copied packets of one opened input, in demux order."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from lfqcodec.errors import InputVideoError
from lfqcodec.video.failures import MEDIA_ERRORS, Notes, reading, reason
from lfqcodec.video.read.orientation import Orientation

# FFmpeg "plays" any text as the screen of a terminal; nobody means that.
_NOT_VIDEO = frozenset({"tty", "bin", "xbin", "adf", "idf", "rawvideo", "lavfi"})
_MAX_THREADS = 8
_ATTACHED_PICTURE = 0x400  # a bit of AVStream.disposition

Item = tuple[int, Any]  # (-1, decoded av.VideoFrame) or (index of a copied stream, av.Packet)


class Source(ABC):
    """What `VideoReader` needs of an input. Items come in demux order; `notes` grows while they are read."""

    time_base: Fraction

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes = Notes()
        self.frame_rate: Fraction | None = None
        self.frame_count: int | None = None
        self.duration: Fraction | None = None
        self.sar = Fraction(1)
        self.is_image = False
        self.exif: Orientation | None = None
        self.seekable = False
        self.streams: list[Any] = []

    @abstractmethod
    def items(self, copied: list[Any]) -> Iterator[Item]:
        """Decoded frames and packets of the `copied` streams from here on."""

    def seek(self, seconds: Fraction | None) -> None:
        """Continue from a keyframe at or before `seconds` of the file's clock; from the start for None."""
        return

    def close(self) -> None:
        return


def _bits(flags: Any) -> int:
    """The number behind a flag, which PyAV gives as an int or as an enum, by version."""
    return int(getattr(flags, "value", flags))


def positive(value: Any) -> Fraction | None:
    """A rate or ratio as a positive Fraction, None where FFmpeg does not know it."""
    if value is None:
        return None
    fraction = Fraction(value)
    return fraction if fraction > 0 else None


class MediaSource(Source):
    """One video stream and the copied streams of a file, a pipe or a file object, through PyAV."""

    def __init__(
        self,
        name: str,
        opener: Callable[[], Any],
        length: Callable[[], int] | None = None,
        failure: Callable[[], BaseException | None] = lambda: None,
        *,
        seekable: bool = False,
        is_image: bool = False,
    ) -> None:
        """`opener` opens the input from its start; `length` tells its bytes once it was read to the end.

        `failure` gives the exception, if any, that reading the stream raised and PyAV kept to itself.
        """
        super().__init__(name)
        self._opener = opener
        self._length = length
        self._failure = failure
        self._container = self._open()
        self._closed = False
        try:
            self.video = self._choose_video()
        except BaseException:
            self.close()
            raise
        self._prepare(self.video)
        video = self.video
        self.seekable = seekable
        self._whole = True
        self.time_base = positive(video.time_base) or Fraction(1, 90000)
        rate = positive(video.average_rate) or positive(video.guessed_rate)
        self.frame_rate = rate if rate is not None and rate <= 1000 else None
        self.frame_count = int(video.frames) or None
        self.duration = self._duration()
        self.sar = positive(video.sample_aspect_ratio) or Fraction(1)
        form = self._container.format.name
        self.is_image = is_image and (form.endswith("_pipe") or form == "image2" or self.frame_count == 1)
        if self.is_image:
            self.time_base, self.frame_rate, self.frame_count = Fraction(1, 25), None, 1
        self.streams = [s for s in self._container.streams if s.type != "video"]

    def _open(self) -> Any:
        try:
            container = self._opener()
        except MEDIA_ERRORS as error:
            self._stop_if_interrupted()
            raise InputVideoError(f"{self.name}: not a video that can be read ({reason(error)})") from error
        self._stop_if_interrupted()
        if container.format.name in _NOT_VIDEO:
            container.close()
            raise InputVideoError(f"{self.name}: not a video")
        return container

    def _choose_video(self) -> Any:
        pictures = [s for s in self._container.streams if s.type == "video"]
        # Cover art of songs and thumbnails are video streams too, but not the video.
        moving = [s for s in pictures if not _bits(s.disposition) & _ATTACHED_PICTURE]
        if not moving:
            what = "has sound but no video" if self._container.streams.audio else "has no video"
            raise InputVideoError(f"{self.name}: {what}")
        best = self._container.streams.best("video")
        video = best if best is not None and best in moving else moving[0]
        if video.codec_context is None:
            raise InputVideoError(f"{self.name}: the codec of its video is not known here")
        if len(moving) > 1 and self.name.lower().endswith((".heic", ".heif", ".avif")):
            raise InputVideoError(f"{self.name}: pictures made of several tiles are not supported")
        if len(moving) > 1:
            self.notes.add(f"{len(moving)} video streams: only stream {video.index} is read")
        if len(moving) < len(pictures):
            self.notes.add("cover art is left out")
        return video

    @staticmethod
    def _prepare(video: Any) -> None:
        video.thread_type = "AUTO"
        # Frame threads hold one picture each, so their number is capped to keep memory bounded.
        video.codec_context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)

    def _duration(self) -> Fraction | None:
        if self.video.duration:
            return Fraction(self.video.duration) * self.time_base
        length = self._container.duration
        return Fraction(length, 1_000_000) if length else None

    def items(self, copied: list[Any]) -> Iterator[Item]:
        """As `Source` says. Damage is noted and skipped, as ffmpeg does."""
        index = {stream.index: number for number, stream in enumerate(copied)}
        video = self.video
        damaged = packets = end = 0
        raw = self._container.format.name == "yuv4mpegpipe"
        container = self._container
        demuxer = container.demux([video, *copied])
        while True:
            if self._closed or container is not self._container:
                # FFmpeg would crash rather than complain.
                raise InputVideoError(f"{self.name}: was closed before it was read")
            try:
                packet = next(demuxer, None)
                self._stop_if_interrupted()
                if packet is None and (failure := self._failure()) is not None:
                    raise failure
            except MEDIA_ERRORS as error:
                self._stop_if_interrupted()
                self.notes.add(f"the input breaks off: {reason(error)}")
                # The frames that the decoder still holds are good.
                with contextlib.suppress(*MEDIA_ERRORS):
                    for frame in video.codec_context.decode(None):
                        yield -1, frame
                break
            if packet is None:
                break
            if packet.stream_index != video.index:
                if packet.size and packet.stream_index in index:
                    yield index[packet.stream_index], packet
                continue
            packets += bool(packet.size)
            if raw and packet.size and packet.pos is not None:
                end = packet.pos + packet.size
            try:
                frames = packet.decode()
            except MEDIA_ERRORS:
                damaged += 1
                continue
            for frame in frames:
                yield -1, frame
        if raw and self._length is not None and self._length() > end:
            self.notes.add("the last frame is cut off and left out")
        if damaged:
            self.notes.add(f"{damaged} damaged parts of the video could not be decoded")
        if self._whole and self.frame_count is not None and packets < self.frame_count:
            self.notes.add(
                f"the input ends early: it holds {packets} of the {self.frame_count} frames it announces"
            )

    def _stop_if_interrupted(self) -> None:
        """Raise Ctrl-C, or what else is no error of the input, that came while a stream was read."""
        failure = self._failure()
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def seek(self, seconds: Fraction | None) -> None:
        """As `Source` says. Raises `InputVideoError` where neither is possible."""
        self._whole = seconds is None
        if seconds is not None:
            ticks = int(seconds // self.time_base)
            with reading(self.name, "cannot seek"):
                self._container.seek(ticks, stream=self.video, backward=True)
            return
        # Opening again is the one way to rewind that works for every format.
        # Numbers first: streams of a closed container must not be touched.
        number, kept = self.video.index, [s.index for s in self.streams]
        self.close()
        self._container = self._open()
        self._closed = False
        self.video = self._container.streams[number]
        self._prepare(self.video)
        self.streams = [self._container.streams[i] for i in kept]

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(*MEDIA_ERRORS):
            self._container.close()
