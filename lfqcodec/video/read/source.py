"""Decoded pictures and copied packets of one opened input, in demux order."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from lfqcodec.errors import InputVideoError
from lfqcodec.media import Metadata
from lfqcodec.video.failures import MEDIA_ERRORS, Notes, reading, reason
from lfqcodec.video.read.describe.choose import bits, choose_video
from lfqcodec.video.read.describe.metadata import read_metadata
from lfqcodec.video.read.describe.orientation import Orientation
from lfqcodec.video.read.tally import Delivered, Tally
from lfqcodec.video.read.times.clock import Clock
from lfqcodec.video.read.times.rate import announced_rate, positive

# FFmpeg "plays" any text as the screen of a terminal; nobody means that.
_NOT_VIDEO = frozenset({"tty", "bin", "xbin", "adf", "idf", "rawvideo", "lavfi"})
_MAX_THREADS = 8
_SMALL = 128 * 128
"""Pixels of a picture up to which threads take longer than they save."""
# Flags of AVInputFormat: streams without time stamps; formats whose time stamps may jump.
_NO_TIMESTAMPS, _JUMPS = 0x80, 0x200

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
        self.tally = Tally()

    @abstractmethod
    def items(self, copied: list[Any]) -> Iterator[Item]:
        """Decoded frames and packets of the `copied` streams from here on."""

    def metadata(self, copied: list[Any]) -> Metadata:
        """What the input says of itself, its video and the `copied` streams; times on its own clock."""
        return Metadata()

    def holds_chapters(self, stream: Any) -> bool:
        """True for a stream that is only another form of the chapters."""
        return False

    def seek(self, seconds: Fraction | None) -> None:
        """Continue from a keyframe at or before `seconds` of the file's clock; from the start for None."""
        return

    def close(self) -> None:
        return


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
        self.file: BinaryIO | None = None
        """A file that is closed with this."""
        self._opener = opener
        self._length = length
        self._failure = failure
        self._container = self._open()
        self._closed = False
        form = self._container.format
        flags = bits(form.flags)
        self._raw, self._jumps, self._avi = (
            bool(flags & _NO_TIMESTAMPS),
            bool(flags & _JUMPS),
            form.name == "avi",
        )
        try:
            self.video = choose_video(self._container, name, self.notes)
        except BaseException:
            self.close()
            raise
        self._prepare(self.video)
        video = self.video
        self._reordered = bool(video.codec_context.has_b_frames)
        # Without time stamps, or with none but those of storage, only counting from the start tells the time.
        self.seekable = seekable and not self._raw and not (self._avi and self._reordered)
        self._whole = True
        self._steady_until: Fraction | None = None
        self.time_base = positive(video.time_base) or Fraction(1, 90000)
        self.frame_count = int(video.frames) or None
        self.duration = self._duration()
        self.sar = positive(video.sample_aspect_ratio) or Fraction(1)
        self.is_image = is_image and (
            form.name.endswith("_pipe") or form.name == "image2" or self.frame_count == 1
        )
        if self.is_image:
            self.time_base, self.frame_rate, self.frame_count = Fraction(1, 25), None, 1
        else:
            self.frame_rate = announced_rate(video, self.notes, raw=self._raw)
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

    @staticmethod
    def _prepare(video: Any) -> None:
        video.thread_type = "AUTO"
        # Frame threads hold one picture each, so their number is capped to keep memory bounded.
        small = video.codec_context.width * video.codec_context.height <= _SMALL
        video.codec_context.thread_count = 1 if small else min(os.cpu_count() or 1, _MAX_THREADS)

    def _duration(self) -> Fraction | None:
        if self.video.duration:
            return Fraction(self.video.duration) * self.time_base
        length = self._container.duration
        return Fraction(length, 1_000_000) if length else None

    def items(self, copied: list[Any]) -> Iterator[Item]:
        """As `Source` says. Damage is noted and skipped, as ffmpeg does."""
        numbers = {stream.index: number for number, stream in enumerate(copied)}
        video, codec = self.video, self.video.codec_context.codec.name
        self.tally = tally = Tally(streams=[Delivered() for _ in copied])
        clock = Clock(self.notes, jumps=self._jumps)
        # AVI has the order of storage alone: the pictures, in their order, have its times in theirs.
        times: deque[int] = deque()
        damaged = packets = end = 0
        for packet in self._demux([video, *copied]):
            stream = packet.stream_index
            if stream != video.index:
                number = numbers.get(stream)
                if number is not None:
                    self._place(clock, packet, copied[number].type)
                    tally.sound(number, packet)
                    yield number, packet
                continue
            clock.place(packet, stream)
            packets += 1
            tally.picture(packet, codec)
            if packet.pos is not None:
                end = packet.pos + packet.size
            if self._avi and packet.dts is not None:
                times.append(packet.dts)
            try:
                frames = packet.decode()
            except MEDIA_ERRORS:
                damaged += 1
                if times:
                    times.pop()
                continue
            yield from self._frames(frames, times)
        # What the decoder still holds. The demuxer's own last packets cannot be used: they say stream 0.
        with contextlib.suppress(*MEDIA_ERRORS):
            yield from self._frames(video.codec_context.decode(None), times)
        name = self._container.format.name
        if name == "yuv4mpegpipe" and self._length is not None and self._length() > end:
            self.notes.add("the last frame is cut off and left out")
        if damaged:
            self.notes.add(f"{damaged} damaged parts of the video could not be decoded")
        if self._whole and self.frame_count is not None and packets < self.frame_count:
            self.notes.add(
                f"the input ends early: it holds {packets} of the {self.frame_count} frames it announces"
            )

    def metadata(self, copied: list[Any]) -> Metadata:
        """As `Source` says."""
        return read_metadata(self._container, self.video, copied, self.notes)

    def holds_chapters(self, stream: Any) -> bool:
        """As `Source` says. MP4 has the titles of chapters in a track."""
        chapters = self._container.chapters()
        return bool(chapters) and stream.type == "data" and stream.frames == len(chapters)

    def _demux(self, streams: list[Any]) -> Iterator[Any]:
        """The packets of some streams that have data, up to the end or to where reading fails."""
        container = self._container
        demuxer = container.demux(streams)
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
                return
            if packet is None:
                return
            if packet.size:
                yield packet

    @staticmethod
    def _place(clock: Clock, packet: Any, kind: str) -> None:
        """Put a copied packet on the clock; one without times follows the one before it."""
        if clock.place(packet, packet.stream_index, sparse=kind != "audio") is None:
            packet.pts = packet.dts = round((clock.due(packet.stream_index) - clock.moved) / packet.time_base)
            clock.place(packet, packet.stream_index, sparse=True)

    def _frames(self, frames: list[Any], times: deque[int]) -> Iterator[Item]:
        for frame in frames:
            self.tally.decoded += 1
            if self._raw:
                frame.pts = None
            elif times:
                frame.pts = times.popleft()
            yield -1, frame

    def _stop_if_interrupted(self) -> None:
        """Raise Ctrl-C, or what else is no error of the input, that came while a stream was read."""
        failure = self._failure()
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def seek(self, seconds: Fraction | None) -> None:
        """As `Source` says. Raises `InputVideoError` where neither is possible."""
        self._whole = seconds is None
        if seconds is not None:
            if self._jumps and not self._steady(seconds):
                raise InputVideoError(f"{self.name}: cannot seek behind a jump of its clock")
            ticks = int(seconds // self.time_base)
            with reading(self.name, "cannot seek"):
                self._container.seek(ticks, stream=self.video, backward=True)
            return
        # Opening again is the one way to rewind that works for every format.
        # Numbers first: streams of a closed container must not be touched.
        number, kept = self.video.index, [s.index for s in self.streams]
        self._close_container()
        self._container = self._open()
        self._closed = False
        self.video = self._container.streams[number]
        self._prepare(self.video)
        self.streams = [self._container.streams[i] for i in kept]

    def _steady(self, seconds: Fraction) -> bool:
        """Whether the clock does not jump before it says `seconds`: seeking would not land there else."""
        if self._steady_until is None or self._steady_until < seconds:
            clock = Clock(Notes(), jumps=True)
            with contextlib.closing(self._opener()) as container:
                wanted = [
                    container.streams[s.index] for s in (self.video, *self.streams) if s.type != "subtitle"
                ]
                for packet in container.demux(wanted):
                    time = clock.place(packet, packet.stream_index) if packet.size else None
                    if clock.moved:
                        return False
                    if time is not None and time > seconds and packet.stream_index == self.video.index:
                        break
            self._steady_until = seconds
        return True

    def close(self) -> None:
        self._close_container()
        if self.file is not None:
            self.file.close()

    def _close_container(self) -> None:
        self._closed = True
        with contextlib.suppress(*MEDIA_ERRORS):
            self._container.close()
