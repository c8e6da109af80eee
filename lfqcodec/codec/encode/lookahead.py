"""From the events of a reader to chunks: pictures, times, and the packets that go before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import max_valid
from lfqcodec.codec.encode.resume import Trail
from lfqcodec.errors import InputVideoError
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.video import VideoReader


@dataclass(frozen=True)
class SourceChunk:
    """The new pictures of a chunk, uint8 [H, W, 3], and their times in ticks.

    `packets` are those that are heard before it and were not yet written. `gop_end` tells that the next
    chunk, if there is one, starts a GOP; `digest` is then that of all the input up to here (see `Trail`).
    `written` chunks are in the file already.
    """

    pictures: list[NDArray[np.uint8]]
    pts: list[int]
    last_duration: int
    gop_start: bool
    gop_end: bool
    packets: list[StreamPacket]
    digest: str
    written: bool


class Lookahead:
    """Collects frames into chunks, `gop` of them to a GOP. What is left at the end are `packets`.

    A chunk is complete once the frame behind it tells how long its last frame is shown.
    """

    def __init__(self, reader: VideoReader, gop: int, trail: Trail | None) -> None:
        self._reader, self._gop, self._trail = reader, gop, trail
        self._waiting: list[StreamPacket] = []
        self._count = 0

    def chunks(self) -> Iterator[SourceChunk]:
        """All chunks in order. Raises `InputVideoError` where there is no frame."""
        info = self._reader.info
        window: list[Frame] = []
        last_duration = max(1, round(1 / ((info.frame_rate or 25) * info.time_base)))
        for event in self._reader.events():
            if isinstance(event, StreamPacket):
                self._waiting.append(event)
                continue
            if len(window) == max_valid(self._count % self._gop == 0):
                last_duration = event.pts - window[-1].pts
                yield self._chunk(window, last_duration)
                window.clear()
            window.append(event)
        if not window:
            raise InputVideoError("the input has no frames")
        if len(window) > 1:
            last_duration = window[-1].pts - window[-2].pts
        yield self._chunk(window, last_duration)
        if self._trail is not None:
            self._trail.finish()

    def _chunk(self, window: list[Frame], last_duration: int) -> SourceChunk:
        gop_start = self._count % self._gop == 0
        written = self._trail is not None and self._trail.passing
        if self._trail is not None:
            self._trail.chunk(window, last_duration)
        pts = [frame.pts for frame in window]
        # Packets heard during a GOP lie behind its first chunk and before the next GOP.
        packets = self.packets(pts[0]) if gop_start and self._count else []
        self._count += 1
        gop_end = self._count % self._gop == 0
        digest = self._trail.digest if self._trail is not None else ""
        pictures = [frame.rgb for frame in window]
        return SourceChunk(pictures, pts, last_duration, gop_start, gop_end, packets, digest, written)

    def packets(self, before: int | None) -> list[StreamPacket]:
        """Take the waiting packets that are heard before the picture time `before`, all for None."""
        info = self._reader.info
        limit = None if before is None else before * info.time_base
        ready: list[StreamPacket] = []
        later: list[StreamPacket] = []
        held: set[int] = set()
        for packet in self._waiting:
            # A packet never overtakes one of its stream, whatever their times are.
            late = limit is not None and packet.pts * info.streams[packet.stream].time_base >= limit
            if packet.stream in held or late:
                held.add(packet.stream)
                later.append(packet)
            else:
                ready.append(packet)
        self._waiting = later
        if self._trail is not None:
            self._trail.packets(ready)
        return ready
