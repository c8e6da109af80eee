"""Reading a file past its damage: the good units, and in their places the gaps between them.

The container's reader finds the next good unit after damage (spec section 13). Here that becomes a statement
about the video: these frames are lost, they were shown from then to then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from lfqcodec.bitstream import BitstreamReader, Chunk, ChunkHead, Index, IndexEntry, Packets
from lfqcodec.codec.repair.damage import DATA, DETAIL, END, FRAMES, INDEX, Loss
from lfqcodec.codec.repair.gaps import Edge, Gap, Known, place
from lfqcodec.errors import BitstreamError

MOST_HELD = 1 << 16
"""Lost frames in a row that are concealed, 43 minutes at 25 a second; more are a pause.

So a few bytes that speak of billions of lost frames cannot ask for billions of pictures.
"""


@dataclass(frozen=True)
class Damaged:
    """A chunk whose payload is damaged, but not perhaps in all of its streams; `error` says so."""

    chunk: Chunk
    error: BitstreamError


class Salvage:
    """The units of a file that can be used, through `items`, and in `losses` what cannot.

    `index` helps to place lost frames; `begin` is its entry at which `reader` stands, where that is not the
    start of the file. With `strict` the first error is raised instead. With `rescue` damaged chunks come too:
    the caller has to `reject` those that are of no use, and to `degrade` or `pardon` the others.
    """

    def __init__(
        self,
        reader: BitstreamReader,
        *,
        losses: list[Loss] | None = None,
        index: Index | None = None,
        begin: IndexEntry | None = None,
        strict: bool = False,
        rescue: bool = False,
    ) -> None:
        self.losses = [] if losses is None else losses
        self.first_fault: BitstreamError | None = None
        self._last_fault: BitstreamError | None = None
        self.whole = False
        """True once the end was reached, with its index in order."""
        self._reader, self._index, self._strict, self._rescue = reader, index, strict, rescue
        self._known: list[Known] = []
        self._faults: list[BitstreamError] = []  # the first one since the last good chunk
        self._count = 0  # and how many there were
        self._rejected = False
        self._origin = index.entries[0].first_pts if index else None
        self._edge = Edge(0, None, self._origin)
        if begin is not None:
            self._edge = Edge(begin.first_frame, None, begin.first_pts)
        rate = reader.header.frame_rate
        self._step = max(1, round(1 / (rate * reader.header.time_base))) if rate else 0

    @property
    def frames(self) -> int:
        """Frames from the start of the file on that have been handed out or given up."""
        return self._edge.frame

    def items(
        self, want: Callable[[ChunkHead], bool] = lambda head: True
    ) -> Iterator[Chunk | Damaged | ChunkHead | Packets | Gap]:
        """Chunks and packets in file order, a `Gap` before the chunk behind it or at the end.

        Of chunks that `want` does not ask for come heads only, but the chunk behind a gap always comes whole.
        """
        while True:
            unit: Chunk | Damaged | ChunkHead | Packets | None
            try:
                unit = self._reader.next_wanted(lambda head: head.first_frame > self.frames or want(head))
            except BitstreamError as error:
                if self._strict:
                    raise
                broken = self._reader.broken if self._rescue else None
                if broken is None:
                    self._note(error)
                    self._keep_lost()
                    continue
                unit = Damaged(broken, error)
                self._reader.lost_heads.remove(broken.head)
            self._keep_lost()
            if unit is None:
                break
            if isinstance(unit, Packets):
                yield unit
                continue
            head = head_of(unit)
            if head.first_frame > self.frames:
                step = self._step or max(1, (head.end_pts - head.pts[0]) // head.valid)
                yield self._gap(head.first_frame, head.pts[0], step)
            elif self._faults:
                self._lose(DATA, self._edge.due, self._edge.due, 0)
            self._known.clear()
            self._rejected = False
            if self._origin is None:
                self._origin = head.pts[0]
            yield unit
            if self._rejected:
                self._keep(head)
            else:
                if isinstance(unit, Damaged):
                    self._reader.keep_gop()
                self._edge = Edge(head.first_frame + head.valid, head.pts[-1], head.end_pts)
        yield from self._end()

    def reject(self, error: BitstreamError) -> None:
        """Say that the chunk handed out last cannot be decoded: it is lost, and so is the rest of its GOP."""
        self._note(error)
        self._rejected = True
        self._reader.skip_gop()

    def degrade(self, head: ChunkHead, right: int, wanted: int, error: BitstreamError) -> None:
        """Say that the chunk handed out last is shown, but with `right` of `wanted` streams, for `error`."""
        self._note(error)
        last = self.losses[-1] if self.losses else None
        if last is not None and last.kind == DETAIL and last.first_frame + last.frames == head.first_frame:
            end = self._seconds(head.end_pts)
            streams = last.streams if last.streams and last.streams[0] <= right else (right, wanted)
            frames, faults = last.frames + head.valid, last.faults + self._count
            self.losses[-1] = replace(last, end=end, frames=frames, streams=streams, faults=faults)
            self._faults.clear()
            self._count = 0
        else:
            self._lose(DETAIL, head.pts[0], head.end_pts, head.valid, (right, wanted))

    def pardon(self, head: ChunkHead, error: BitstreamError) -> None:
        """Say that the chunk handed out last is damaged, and its pictures are right all the same."""
        self._note(error)
        self._lose(DETAIL, head.pts[0], head.end_pts, 0)

    def _note(self, error: BitstreamError) -> None:
        self.first_fault, self._last_fault = self.first_fault or error, error
        self._count += 1
        if not self._faults:
            self._faults.append(error)

    def _keep_lost(self) -> None:
        for head in self._reader.lost_heads:
            self._keep(head)

    def _keep(self, head: ChunkHead) -> None:
        piece = Known.of(head)
        joined = self._known[-1].joined(piece) if self._known else None
        if joined is not None:
            self._known[-1] = joined
        else:
            self._known.append(piece)

    def _end(self) -> Iterator[Gap]:
        """What is to be said when nothing good follows."""
        reader = self._reader
        self.whole = reader.complete
        if reader.complete:
            totals = reader.index()
            if totals.frames > self.frames:
                yield self._gap(totals.frames, totals.end_pts, self._step or 1)
            elif self._faults:
                self._lose(DATA, self._edge.due, self._edge.due, 0)
            return
        if self._known and self._known[-1].behind > self.frames:
            # Their heads, at least, were whole. Behind the last one known nothing is made up.
            yield self._gap(self._known[-1].behind, self._known[-1].end, self._step or 1)
        if not self._faults and self._last_fault is not None:
            self._note(self._last_fault)
        announced, due = reader.header.frame_count, self._edge.due
        missing = 0 if announced is None else max(0, announced - self.frames)
        until = None if due is None else due + missing * self._usual_step()
        self._lose(INDEX if announced == self.frames else END, due, until, missing)

    def _usual_step(self) -> int:
        """How many ticks a frame is shown, about."""
        header = self._reader.header
        rate = header.frame_rate
        return self._step or (1 if rate is None else max(1, round(1 / (rate * header.time_base))))

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
        self.losses.append(loss)
        self._faults.clear()
        self._count = 0
        return loss


def head_of(unit: Chunk | Damaged | ChunkHead) -> ChunkHead:
    """The head of a chunk, in whatever form it comes."""
    if isinstance(unit, Damaged):
        unit = unit.chunk
    return unit.head if isinstance(unit, Chunk) else unit
