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
from lfqcodec.video.colour import inspect, square_after_scaling, to_rgb
from lfqcodec.video.failures import Notes
from lfqcodec.video.read import streams
from lfqcodec.video.read.inputs import open_source
from lfqcodec.video.read.orientation import orientation_of
from lfqcodec.video.read.source import Source
from lfqcodec.video.read.timeline import TOLERANCE, Timed, Timeline

# How far (seconds) to go on behind the end for sound that is stored later than the pictures it belongs to.
_LINGER = 2


class VideoReader:
    """An opened video; a context manager. `info` is complete before any frame is read.

    `events()` may be called once. `notes` is `info.notes` plus what was noticed while reading.
    `estimated_frames` is for progress bars: how many frames `events()` will give, None where unknown.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: Fraction | None,
        duration: Fraction | None,
        max_frames: int | None,
        scale: tuple[int, int] | None,
        copy_streams: bool,
    ) -> None:
        self._source = source
        self._max_frames = max_frames
        self._notes = Notes()
        self._used = False
        self._line = Timeline(source, start=start, duration=duration, copy_streams=copy_streams)
        self.info = self._describe(self._line.first, scale)
        self.estimated_frames = self._estimate(start or Fraction(0), duration)

    def _describe(self, frame: Any, scale: tuple[int, int] | None) -> VideoInfo:
        source = self._source
        self._conversion = inspect(frame, is_image=source.is_image)
        self._orientation, note = orientation_of(frame, source.exif)
        size = (int(frame.width), int(frame.height))
        sar = source.sar
        if self._orientation.swaps_sides:
            size, sar = size[::-1], 1 / sar
        final = scale or size
        if scale is not None:
            sar = square_after_scaling(sar, size, final)
        self._raw_size = final[::-1] if self._orientation.swaps_sides else final
        self._coded_size = (int(frame.width), int(frame.height))
        count = source.frame_count if self._line.start is None and self._line.end is None else None
        if count is not None and self._max_frames is not None:
            count = min(count, self._max_frames)
        notes = [*source.notes, *self._conversion.notes, *([note] if note else [])]
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
        )

    def _estimate(self, start: Fraction, duration: Fraction | None) -> int | None:
        source, rate = self._source, self._source.frame_rate
        bounds = [] if self._max_frames is None else [Fraction(self._max_frames)]
        total = None if source.frame_count is None else Fraction(source.frame_count)
        if rate is not None:
            if total is None and source.duration is not None:
                total = source.duration * rate
            if total is not None:
                total = max(Fraction(1), total - start * rate)
            if duration is not None:
                bounds.append(max(Fraction(1), duration * rate))
        if total is not None:
            bounds.append(total)
        return round(min(bounds)) if bounds else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that could not be kept or was damaged, as far as it is known by now."""
        return tuple(dict.fromkeys([*self.info.notes, *self._source.notes, *self._line.notes, *self._notes]))

    def _convert(self, frame: Any, time: Fraction, last: int) -> Frame:
        if (frame.width, frame.height) != self._coded_size:
            self._notes.add("the picture size changes within the video; all were scaled to the first one's")
        rgb, transparent = to_rgb(frame, self._conversion, *self._raw_size)
        if transparent:
            self._notes.add("transparent parts were laid over black")
        pts = round((time - self._line.zero) / self.info.time_base)
        return Frame(pts=max(pts, last + 1), rgb=self._orientation.apply(rgb))

    def _packet(self, timed: Timed) -> StreamPacket | None:
        index, packet, _ = timed
        return streams.to_packet(index, packet, self._line.zero, self._line.streams[index].time_base)

    def _release(self, held: list[Timed], limit: Fraction | None) -> Iterator[StreamPacket]:
        """Take the packets from before `limit` (all for None) out of `held`, in their order."""
        ready = [timed for timed in held if limit is None or timed[2] < limit]
        held[:] = [timed for timed in held if limit is not None and timed[2] >= limit]
        for timed in ready:
            if (packet := self._packet(timed)) is not None:
                yield packet

    def events(self) -> Iterator[Frame | StreamPacket]:
        """Frames and copied packets in the order in which the input stores them.

        Frames have strictly increasing pts from 0. Memory does not grow with the length of the input.
        Damage in the middle is skipped and mentioned in `notes`.
        """
        if self._used:
            raise RuntimeError("events() may be called once")
        self._used = True
        end, count, last, over = self._line.end, 0, -1, False
        # With max_frames the end is known only when the frame behind it arrives: packets wait for frames.
        held: list[Timed] = []
        waiting = {index for index, info in enumerate(self._line.streams) if info.kind == "audio"}
        for timed in self._line.items:
            index, item, time = timed
            if index >= 0:
                if self._line.start is not None and self._line.finish(timed) <= self._line.zero:
                    continue
                if end is not None and time >= end:
                    waiting.discard(index)
                    if over and not waiting:
                        break
                elif self._max_frames is not None and not over:
                    held.append(timed)
                elif (packet := self._packet(timed)) is not None:
                    yield packet
                continue
            if over:
                if end is not None and time > end + _LINGER:
                    break
                continue
            if end is not None and time >= end - TOLERANCE:
                over = True
            elif self._max_frames is not None and count >= self._max_frames:
                over, end = True, time
            else:
                frame = self._convert(item, time, last)
                count, last = count + 1, frame.pts
                yield frame
            limit = end if over and end is not None else time
            yield from self._release(held, limit)
            if over:
                held.clear()
                if not waiting:
                    break
        yield from self._release(held, None)

    def close(self) -> None:
        """Let go of the input. Reading is over then."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _seconds(value: float | Fraction | None, name: str) -> Fraction | None:
    if value is None:
        return None
    # Through its decimal form: 0.28 is meant as 28/100, not as the binary number next to it.
    seconds = value if isinstance(value, Fraction) else Fraction(str(value))
    if seconds < 0 or (name == "duration" and seconds == 0):
        raise ValueError(f"{name} must be {'over' if name == 'duration' else 'at least'} 0 seconds")
    return seconds


def open_video(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    start: float | Fraction | None = None,
    duration: float | Fraction | None = None,
    max_frames: int | None = None,
    scale: tuple[int, int] | None = None,
    copy_streams: bool = True,
) -> VideoReader:
    """Open a video, a still image or a folder of pictures.

    `source` is a path, "-" for a stream on standard input (YUV4MPEG2, or any other format that can be read
    without seeking), or a binary file object, which is read forward and not closed. `start` and `duration`
    are seconds from the first frame and cut exactly: the frames with start <= time < start + duration (with
    1 ms of tolerance). `max_frames` stops earlier. `scale` is (width, height) of the frames handed out, after
    rotation. `copy_streams=False` leaves out audio and subtitles.

    Raises `InputVideoError`, with one line that names the input, where it is missing, unreadable, not a
    video, or without a frame that can be decoded; `ValueError` for arguments out of range.
    """
    begin, length = _seconds(start, "start"), _seconds(duration, "duration")
    if max_frames is not None and max_frames < 1:
        raise ValueError("max_frames must be at least 1")
    if scale is not None and (scale[0] < 1 or scale[1] < 1):
        raise ValueError("scale must be a width and a height of at least 1")
    opened = open_source(source)
    try:
        return VideoReader(
            opened,
            start=begin,
            duration=length,
            max_frames=max_frames,
            scale=scale,
            copy_streams=copy_streams,
        )
    except BaseException:
        opened.close()
        raise
