"""From the events of a reader to chunks: pictures, times, and the packets that go before them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction

from lfqcodec.bitstream import max_valid
from lfqcodec.codec.encode.resume import Trail
from lfqcodec.codec.encode.source.analysis import Analysed, analyse
from lfqcodec.codec.encode.source.chunk import SourceChunk
from lfqcodec.codec.encode.source.ledger import Ledger
from lfqcodec.codec.pipeline import ahead
from lfqcodec.errors import InputVideoError
from lfqcodec.media import StreamPacket, frame_ticks
from lfqcodec.video import VideoReader


class Lookahead:
    """Collects frames into chunks and chunks into GOPs. What is left at the end are `packets`.

    A GOP starts where a scene does (unless `scene_cuts` is False), and after `gop` pictures. A chunk is
    complete once the frame behind it tells how long its last frame is shown. `on_read` is called for every
    picture. A thread reads up to `waiting` pictures ahead of need.
    """

    def __init__(
        self,
        reader: VideoReader,
        gop: int,
        trail: Trail | None,
        *,
        scene_cuts: bool = True,
        on_read: Callable[[], None] = lambda: None,
        waiting: int = 0,
    ) -> None:
        self._reader, self._gop, self._trail, self._scene_cuts = reader, gop, trail, scene_cuts
        self._on_read, self._ahead = on_read, waiting
        self._waiting: list[StreamPacket] = []
        self.ledger = Ledger(reader.info.streams)
        self._gop_pictures = 0
        """In the chunks of the GOP that were handed out."""
        self._started = False

    def chunks(self) -> Generator[SourceChunk, None, None]:
        """All chunks in order. Raises `InputVideoError` where there is no frame. `close` ends the thread."""
        with closing(ahead(analyse(self._reader.events()), self._ahead)) as events:
            yield from self._chunks(events)

    def _chunks(self, events: Iterator[Analysed | StreamPacket]) -> Iterator[SourceChunk]:
        info = self._reader.info
        window: list[Analysed] = []
        last_duration = frame_ticks(info.frame_rate or Fraction(25), info.time_base)
        for event in events:
            if isinstance(event, StreamPacket):
                self._waiting.append(event)
                continue
            self._on_read()
            if window:
                gop_end = (event.cut and self._scene_cuts) or self._gop_pictures + len(window) == self._gop
                if gop_end or len(window) == max_valid(not self._gop_pictures):
                    last_duration = event.frame.pts - window[-1].frame.pts
                    yield self._chunk(window, last_duration, gop_end=gop_end)
                    window.clear()
            window.append(event)
        if not window:
            raise InputVideoError("the input has no frames")
        if len(window) > 1:
            last_duration = window[-1].frame.pts - window[-2].frame.pts
        yield self._chunk(window, last_duration, gop_end=True)
        if self._trail is not None:
            self._trail.finish()

    def _chunk(self, window: list[Analysed], last_duration: int, *, gop_end: bool) -> SourceChunk:
        written = self._trail is not None and self._trail.passing
        frames = [each.frame for each in window]
        if self._trail is not None:
            self._trail.chunk(frames, last_duration)
        # Packets heard during a GOP lie behind its first chunk and before the next GOP.
        gop_start = not self._gop_pictures
        packets = self.packets(frames[0].pts) if gop_start and self._started else []
        self._started = True
        self._gop_pictures = 0 if gop_end else self._gop_pictures + len(window)
        return SourceChunk(
            pictures=[frame.rgb for frame in frames],
            pts=[frame.pts for frame in frames],
            last_duration=last_duration,
            gop_start=gop_start,
            gop_end=gop_end,
            packets=packets,
            digest=self._trail.digest if self._trail is not None else "",
            written=written,
            change=sum(each.change for each in window[gop_start:]),
            detail=sum(each.detail for each in window),
        )

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
        self.ledger.add(ready)
        if self._trail is not None:
            self._trail.packets(ready)
        return ready
