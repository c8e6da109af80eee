"""`open_video`: upright 8-bit RGB frames, and copied audio and subtitle packets, of any input.

Time. The first frame handed out has pts 0; the same number of seconds (an exact Fraction) is taken off every
copied packet, rounded to the tick of its stream, so sound stays in sync to within half a tick. Sound from
before the first frame has negative times. Without `start` all of it is kept; with `start`, packets that end
before it are dropped, as are, with `duration` or `max_frames`, packets that begin after the last frame ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, Self

from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.scaling import Scale, parse_scale
from lfqcodec.timespan import TimeSpan
from lfqcodec.video.colour import inspect, square_after_scaling, to_rgb
from lfqcodec.video.failures import Notes, reading
from lfqcodec.video.read import streams
from lfqcodec.video.read.arrays import Pictures
from lfqcodec.video.read.describe.losses import picture_losses
from lfqcodec.video.read.describe.orientation import orientation_of
from lfqcodec.video.read.inputs import open_source
from lfqcodec.video.read.source import Source
from lfqcodec.video.read.tally import Tally
from lfqcodec.video.read.times.span import Behind, Inside
from lfqcodec.video.read.times.timeline import Timed, Timeline


class VideoReader:
    """An opened video; a context manager. `info` is complete before any frame is read.

    `events()` may be called once. `notes` is `info.notes` plus what was noticed while reading.
    `estimated_frames` is for progress bars: how many frames `events()` will give, None where unknown.
    """

    def __init__(
        self,
        source: Source,
        *,
        span: TimeSpan,
        max_frames: int | None,
        scale: Scale | None,
        copy_streams: bool,
    ) -> None:
        self._source = source
        self._max_frames = max_frames
        self._notes = Notes()
        self._used = False
        self._last = -1
        self._line = Timeline(source, span=span, copy_streams=copy_streams)
        self.info = self._describe(self._line.first, scale)
        self.estimated_frames = self._estimate(span)

    def _describe(self, frame: Any, scale: Scale | None) -> VideoInfo:
        source = self._source
        self._conversion = inspect(frame, is_image=source.is_image)
        self._orientation, note = orientation_of(frame, source.exif)
        size = (int(frame.width), int(frame.height))
        sar = source.sar
        if self._orientation.swaps_sides:
            size, sar = size[::-1], 1 / sar
        final = size if scale is None else scale.of(size)
        if scale is not None:
            sar = square_after_scaling(sar, size, final)
        self._raw_size = final[::-1] if self._orientation.swaps_sides else final
        self._coded_size = (int(frame.width), int(frame.height))
        count = source.frame_count if self._line.span == TimeSpan() else None
        if count is not None and self._max_frames is not None:
            count = min(count, self._max_frames)
        notes = [*source.notes, *self._conversion.notes, *([note] if note else [])]
        notes += picture_losses(frame, is_image=source.is_image)
        return VideoInfo(
            width=final[0],
            height=final[1],
            time_base=source.time_base,
            frame_rate=source.frame_rate,
            frame_count=count,
            colour=self._conversion.colour,
            sar=sar,
            rotation=0,
            streams=tuple(self._line.streams),
            is_image=source.is_image,
            notes=tuple(dict.fromkeys(notes)),
            metadata=self._line.metadata(),
        )

    def _estimate(self, span: TimeSpan) -> int | None:
        source, rate = self._source, self._source.frame_rate
        bounds = [] if self._max_frames is None else [Fraction(self._max_frames)]
        total = None if source.frame_count is None else Fraction(source.frame_count)
        if rate is not None:
            begin = span.start or Fraction(0)
            if total is None and source.duration is not None:
                total = source.duration * rate
            if total is not None:
                total = max(Fraction(1), total - begin * rate)
            if span.end is not None:
                bounds.append(max(Fraction(1), (span.end - begin) * rate))
        if total is not None:
            bounds.append(total)
        return round(min(bounds)) if bounds else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that could not be kept or was damaged, as far as it is known by now."""
        return tuple(dict.fromkeys([*self.info.notes, *self._source.notes, *self._line.notes, *self._notes]))

    @property
    def tally(self) -> Tally | None:
        """What the demuxer gave, once all events were taken; None where only a part was wanted."""
        return self._source.tally if self._is_whole else None

    @property
    def _is_whole(self) -> bool:
        return self._line.span == TimeSpan() and self._max_frames is None

    def _convert(self, frame: Any, time: Fraction) -> Frame:
        if (frame.width, frame.height) != self._coded_size:
            self._notes.add("the picture size changes within the video; all were scaled to the first one's")
        with reading(self._source.name, f"pictures of the format {frame.format.name} cannot be read"):
            rgb, transparent = to_rgb(frame, self._conversion, *self._raw_size)
        if transparent:
            self._notes.add("transparent parts were laid over black")
        pts = max(round((time - self._line.zero) / self.info.time_base), self._last + 1)
        self._last = pts
        return Frame(pts=pts, rgb=self._orientation.apply(rgb))

    def _event(self, timed: Timed) -> Frame | StreamPacket:
        index, item, time = timed
        if index < 0:
            return self._convert(item, time)
        return streams.to_packet(index, item, self._line.zero, self._line.streams[index].time_base)

    def events(self) -> Iterator[Frame | StreamPacket]:
        """Frames and copied packets in the order in which the input stores them.

        Frames have strictly increasing pts from 0. Memory does not grow with the length of the input.
        Damage in the middle is skipped and mentioned in `notes`.
        """
        if self._used:
            raise RuntimeError("events() may be called once")
        self._used = True
        state: Inside | Behind = Inside(self._line, self._max_frames)
        for timed in self._line.items:
            ready, following = state.step(timed)
            for each in ready:
                yield self._event(each)
            if following is None:
                return
            state = following
        for each in state.rest():
            yield self._event(each)

    def close(self) -> None:
        """Let go of the input. Reading is over then."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_video(
    source: str | os.PathLike[str] | BinaryIO | Pictures,
    *,
    start: float | Fraction | None = None,
    duration: float | Fraction | None = None,
    max_frames: int | None = None,
    scale: Scale | tuple[int, int] | None = None,
    copy_streams: bool = True,
) -> VideoReader:
    """Open a video, a still image or a folder of pictures.

    `source` is a path, "-" for a stream on standard input (YUV4MPEG2, or any other format that can be read
    without seeking), a binary file object, which is read forward and not closed, or `Pictures` in memory.
    `start` and `duration` are seconds from the first frame and cut exactly: the frames with start <= time <
    start + duration (with 1 ms of tolerance). `max_frames` stops earlier. `scale` is the size of the frames
    handed out, after rotation (`lfqcodec.scaling`). `copy_streams=False` leaves out audio and subtitles.

    Raises `InputVideoError`, with one line that names the input, where it is missing, unreadable, not a
    video, or without a frame that can be decoded; `ValueError` for arguments out of range.
    """
    span = TimeSpan.of(start, duration)
    if max_frames is not None and max_frames < 1:
        raise ValueError("max_frames must be at least 1")
    opened = open_source(source)
    try:
        return VideoReader(
            opened,
            span=span,
            max_frames=max_frames,
            scale=None if scale is None else parse_scale(scale),
            copy_streams=copy_streams,
        )
    except BaseException:
        opened.close()
        raise
