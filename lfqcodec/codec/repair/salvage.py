"""Reading a file past its damage: the good units, and in their places the gaps between them.

The container's reader finds the next good unit after damage (spec section 13). Here that becomes a statement
about the video: these frames are lost, they were shown from then to then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from lfqcodec.bitstream import (
    BitstreamReader,
    Chunk,
    ChunkHead,
    Fault,
    Index,
    IndexEntry,
    Packets,
    PassedOver,
)
from lfqcodec.codec.repair.damage import DATA, DETAIL, END, FRAMES, INDEX, Loss
from lfqcodec.codec.repair.gaps import Edge, Gap, Known, place
from lfqcodec.errors import BitstreamError
from lfqcodec.media import frame_ticks

T = TypeVar("T")
MOST_HELD = 1 << 16
"""Lost frames in a row that are concealed, 43 minutes at 25 a second; more are a pause.

So a few bytes that speak of billions of lost frames cannot ask for billions of pictures.
"""


@dataclass(frozen=True)
class Use(Generic[T]):
    """What a caller makes of a chunk: `made`, None where it is of no use; then `error` says why.

    Of a damaged chunk, `streams` says how many of its streams are right, of how many wanted.
    """

    made: T | None
    error: BitstreamError | None = None
    streams: tuple[int, int] | None = None


@dataclass(frozen=True)
class Used(Generic[T]):
    """A chunk that was used: its head, what was made of it, and what is lost of it."""

    head: ChunkHead
    made: T
    loss: Loss | None = None


class Salvage(Generic[T]):
    """The good units of a file, and in their places the gaps between them. It goes through the file once.

    `use` is called for each chunk, in order; with `rescue` also for one that is damaged, with its error.
    A chunk that it has no use for is lost, and so is the rest of its GOP. `index` helps to place lost frames;
    `begin` is its entry at which `reader` stands, where that is not the start of the file. With `strict` the
    first error is raised instead.
    """

    def __init__(
        self,
        reader: BitstreamReader,
        use: Callable[[Chunk, BitstreamError | None], Use[T]],
        *,
        index: Index | None = None,
        begin: IndexEntry | None = None,
        strict: bool = False,
        rescue: bool = False,
    ) -> None:
        self._reader, self._use, self._index = reader, use, index
        self._strict, self._rescue = strict, rescue
        self.first_fault: BitstreamError | None = None
        self._last_fault: BitstreamError | None = None
        self._known: list[Known] = []
        self._faults: list[BitstreamError] = []  # the first one since the last good chunk
        self._count = 0  # and how many there were
        self._origin = index.entries[0].first_pts if index else None
        self._edge = Edge(0, None, self._origin)
        if begin is not None:
            self._edge = Edge(begin.first_frame, None, begin.first_pts)
        rate = reader.header.frame_rate
        self._step = frame_ticks(rate, reader.header.time_base) if rate else 0

    @property
    def whole(self) -> bool:
        """True once the end was reached, with its index in order."""
        return self._reader.complete

    @property
    def frames(self) -> int:
        """Frames from the start of the file on that have been handed out or given up."""
        return self._edge.frame

    def items(
        self, want: Callable[[ChunkHead], bool] = lambda head: True
    ) -> Iterator[Used[T] | ChunkHead | Packets | Gap | Loss]:
        """Chunks and packets in file order, a `Gap` before the chunk behind it or at the end.

        Of chunks that `want` does not ask for come heads only, but the chunk behind a gap always comes whole.
        A `Loss` by itself is one of no frame, or of what is behind the last one that can be read.
        """

        def asked(head: ChunkHead) -> bool:
            return head.first_frame > self.frames or want(head)

        while (unit := self._reader.step(asked)) is not None:
            if isinstance(unit, Packets):
                yield unit
            elif isinstance(unit, Chunk):
                yield from self._chunk(unit, None)
            elif isinstance(unit, ChunkHead):
                yield from self._before(unit)
                self._pass(unit)
                yield unit
            elif isinstance(unit, Fault):
                yield from self._fault(unit)
            else:
                assert isinstance(unit, PassedOver)
                self._keep(unit.head)
        yield from self._end()

    def _fault(self, fault: Fault) -> Iterator[Used[T] | Gap | Loss]:
        if self._strict:
            raise fault.error
        if fault.broken is not None and self._rescue:
            yield from self._chunk(fault.broken, fault.error)
            return
        self._note(fault.error)
        if fault.broken is not None:
            self._keep(fault.broken.head)

    def _chunk(self, chunk: Chunk, error: BitstreamError | None) -> Iterator[Used[T] | Gap | Loss]:
        """The next chunk, or one with this error, and before it what is lost."""
        head = chunk.head
        yield from self._before(head)
        use = self._use(chunk, error)
        if use.made is None:
            assert use.error is not None
            if self._strict:
                raise use.error
            self._note(use.error)
            self._reader.skip_gop()
            self._keep(head)
            return
        loss = None
        if error is not None:
            self._reader.keep_gop()
            self._note(error)
            frames = 0 if use.streams is None else head.valid
            loss = self._lose(DETAIL, head.pts[0], head.end_pts, frames, use.streams)
        self._pass(head)
        yield Used(head, use.made, loss)

    def _before(self, head: ChunkHead) -> Iterator[Gap | Loss]:
        """What is lost between the last good chunk and this one, whose head is good."""
        if head.first_frame > self.frames:
            step = self._step or max(1, (head.end_pts - head.pts[0]) // head.valid)
            yield self._gap(head.first_frame, head.pts[0], step)
        elif self._faults:
            yield self._lose(DATA, self._edge.due, self._edge.due, 0)
        self._known.clear()
        if self._origin is None:
            self._origin = head.pts[0]

    def _pass(self, head: ChunkHead) -> None:
        self._edge = Edge(head.first_frame + head.valid, head.pts[-1], head.end_pts)

    def _note(self, error: BitstreamError) -> None:
        self.first_fault, self._last_fault = self.first_fault or error, error
        self._count += 1
        if not self._faults:
            self._faults.append(error)

    def _keep(self, head: ChunkHead) -> None:
        piece = Known.of(head)
        joined = self._known[-1].joined(piece) if self._known else None
        if joined is not None:
            self._known[-1] = joined
        else:
            self._known.append(piece)

    def _end(self) -> Iterator[Gap | Loss]:
        """What is to be said when nothing good follows."""
        reader = self._reader
        if reader.complete:
            totals = reader.index()
            if totals.frames > self.frames:
                yield self._gap(totals.frames, totals.end_pts, self._step or 1)
            elif self._faults:
                yield self._lose(DATA, self._edge.due, self._edge.due, 0)
            return
        if self._known and self._known[-1].behind > self.frames:
            # Their heads, at least, were whole. Behind the last one known nothing is made up.
            yield self._gap(self._known[-1].behind, self._known[-1].end, self._step or 1)
        if not self._faults and self._last_fault is not None:
            self._note(self._last_fault)
        announced, due = reader.header.frame_count, self._edge.due
        missing = 0 if announced is None else max(0, announced - self.frames)
        until = None if due is None else due + missing * (self._step or 1)
        yield self._lose(INDEX if announced == self.frames else END, due, until, missing)

    def _gap(self, behind: int, until: int, step: int) -> Gap:
        edge = self._edge
        parts: list[Sequence[int]] = []
        if behind - edge.frame <= MOST_HELD:
            parts = place(edge, self._anchored(behind), behind, until, step)
        begin = parts[0][0] if parts else until
        if self._origin is None:
            self._origin = begin
        loss = self._lose(FRAMES, begin, until, behind - edge.frame)
        last = parts[-1][-1] if parts else edge.last
        self._edge = Edge(behind, last, until)
        self._known.clear()
        return Gap(tuple(parts), until, loss)

    def _anchored(self, behind: int) -> list[Known]:
        """The pieces whose times are known, and from the index when the GOPs between them begin."""
        pieces = list(self._known)
        if self._index is not None:
            entries, key = self._index.entries, attrgetter("first_frame")
            low, high = bisect_right(entries, self.frames, key=key), bisect_left(entries, behind, key=key)
            pieces += [Known(entry.first_frame, (), entry.first_pts) for entry in entries[low:high]]
        return sorted(pieces, key=lambda piece: (piece.first_frame, len(piece.pts)))

    def _seconds(self, tick: int | None) -> float:
        origin = self._origin or 0
        return float(((origin if tick is None else tick) - origin) * self._reader.header.time_base)

    def _lose(
        self,
        kind: str,
        begin: int | None,
        end: int | None,
        frames: int,
        streams: tuple[int, int] | None = None,
    ) -> Loss:
        cause = self._faults[0] if self._faults else None
        text = "" if cause is None else str(cause)
        offset = None if cause is None else cause.offset
        start, stop = self._seconds(begin), self._seconds(end)
        loss = Loss(kind, start, stop, self._edge.frame, frames, text, self._count, offset, streams)
        self._faults.clear()
        self._count = 0
        return loss
