"""Reading a .lfq file step by step, past all damage: a state machine (spec sections 9 and 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from lfqcodec.bitstream.limits import DEFAULT_LIMITS, Limits
from lfqcodec.bitstream.reading.framing import ByteSource, FrameReader
from lfqcodec.bitstream.reading.states import (
    Doubtful,
    Ended,
    Fault,
    InOrder,
    Lost,
    PassedOver,
    Sought,
    State,
    Undecodable,
)
from lfqcodec.bitstream.reading.tail import read_tail
from lfqcodec.bitstream.syntax.chunk import Chunk, ChunkHead, parse_body
from lfqcodec.bitstream.syntax.chunk_head import parse_chunk_head, peek_chunk
from lfqcodec.bitstream.syntax.fields import require, truncated
from lfqcodec.bitstream.syntax.header import PROLOGUE_BYTES, FileHeader, parse_header, parse_prologue
from lfqcodec.bitstream.syntax.index import Index, IndexEntry
from lfqcodec.bitstream.syntax.packets import Packets, PacketsHead, parse_packets, parse_packets_head
from lfqcodec.bitstream.syntax.units import INDEX_UNIT, PACKETS_UNIT, UnitFrame
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.errors import BitstreamError, InvalidField, Truncated


class StepReader:
    """Reads a .lfq file from `fileobj`, which may be a pipe. The constructor reads and checks the header.

    After a fault it goes on: behind the unit where that unit's head was intact, else at the next intact one.
    Chunks that cannot be decoded because an earlier one of their GOP was lost are passed over, and counted in
    `skipped_chunks`. Every step moves forward.
    """

    def __init__(self, fileobj: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> None:
        self._file = fileobj
        self._limits = limits
        self._source = ByteSource(fileobj)
        prologue = self._source.read(PROLOGUE_BYTES)
        length = parse_prologue(prologue, limits)
        rest = self._source.read(length - PROLOGUE_BYTES)
        if len(prologue) + len(rest) < length:
            raise truncated("the header", length, self._source.position, offset=self._source.position)
        self.header: FileHeader = parse_header(prologue + rest, limits)
        self.header_bytes: int = length
        self.skipped_chunks = 0
        self._frames = FrameReader(self._source, limits)
        self._timeline = Timeline()
        self._state: State = InOrder()
        self._whole = True  # read from the first byte on, without damage

    @property
    def complete(self) -> bool:
        """True once index and trailer have been read and match what came before."""
        return isinstance(self._state, Ended) and self._state.index is not None

    def step(
        self, want: Callable[[ChunkHead], bool] | None = None, *, bodies: bool = True
    ) -> Chunk | ChunkHead | Packets | PacketsHead | PassedOver | Fault | None:
        """What comes next, None behind the trailer.

        Of a chunk that `want` does not ask for it gives the head alone. The body of such a chunk is not read
        before the next step, which jumps over it, unchecked. Without `bodies` it gives heads alone.
        """
        try:
            return self._step(want, bodies=bodies)
        except BitstreamError as error:
            self._whole = False
            return Fault(error)

    def skip_gop(self) -> None:
        """Leave out the rest of the open GOP, because the caller could not decode a chunk of it.

        `next_unit` goes on with packets and with the next chunk that starts a GOP.
        """
        state = self._state
        if isinstance(state, InOrder):
            self._state = Undecodable()
        elif isinstance(state, Doubtful):
            self._state = Doubtful(Undecodable())
        self._whole = False

    def keep_gop(self) -> None:
        """Go on with the open GOP behind a broken chunk, because the caller can use what is good of it."""
        if isinstance(self._state, Undecodable):
            self._state = InOrder()

    # Units ------------------------------------------------------------------------------------------

    def _step(
        self, want: Callable[[ChunkHead], bool] | None, *, bodies: bool
    ) -> Chunk | ChunkHead | Packets | PacketsHead | PassedOver | Fault | None:
        while not isinstance(self._state, Ended):
            if not self._frames.recover():
                self._state = Ended(None)
                break
            frame = self._frame()
            if frame.kind == INDEX_UNIT:
                before, self._state = self._state, Ended(None)
                self._state = Ended(self._finish(frame, before))
            elif frame.kind == PACKETS_UNIT:
                return self._packets(frame, bodies=bodies)
            elif (unit := self._chunk(frame, want, bodies=bodies)) is not None:
                return unit
        return None

    def _frame(self) -> UnitFrame:
        try:
            return self._frames.read(self._timeline.number)
        except BitstreamError:
            if isinstance(self._state, InOrder | Undecodable):
                self._state = Doubtful(self._state)
            elif isinstance(self._state, Sought):
                self._state = Lost()
            raise

    def _packets(self, frame: UnitFrame, *, bodies: bool) -> Packets | PacketsHead:
        try:
            head = parse_packets_head(frame, self._limits)
        except BitstreamError:
            self._frames.skip(frame)
            raise
        if not bodies:
            self._frames.pass_over(frame)
            return head
        return parse_packets(head, frame, self._frames.body(frame), len(self.header.streams), self._limits)

    def _chunk(
        self, frame: UnitFrame, want: Callable[[ChunkHead], bool] | None, *, bodies: bool
    ) -> Chunk | ChunkHead | PassedOver | Fault | None:
        """The chunk in `frame`, None where nothing can be said of it, because its GOP is lost."""
        line = self._timeline
        gop_start, number = peek_chunk(frame, line.number)
        state = self._resolve(number)
        if isinstance(state, InOrder | Undecodable) and number > line.number:
            # Chunks are missing although nothing is damaged. Say so once, then go on from here.
            message = f"chunk number {number} where {line.number} is due"
            self._frames.put_back(frame)
            self._lose_gop(line.number)
            raise InvalidField(message, offset=frame.offset, chunk=number)
        if isinstance(state, Undecodable | Lost) and not gop_start:
            return self._leave_out(frame, number)
        try:
            head = self._head(frame)
            if isinstance(state, Sought):
                _check_target(head, state.entry)
        except BitstreamError:
            if number >= line.number:
                self._lose_gop(number + 1)
            self._frames.skip(frame)
            raise
        return self._body(head, frame, want, bodies=bodies)

    def _resolve(self, number: int) -> State:
        """The state now that chunk `number` is here: it says whether one was lost."""
        if isinstance(self._state, Doubtful):
            lost = number > self._timeline.number
            self._state = Lost() if lost else self._state.otherwise
            if lost:
                self._timeline.lose()
        return self._state

    def _body(
        self, head: ChunkHead, frame: UnitFrame, want: Callable[[ChunkHead], bool] | None, *, bodies: bool
    ) -> Chunk | ChunkHead | Fault:
        """The chunk with this head, which may follow here."""
        unit: Chunk | ChunkHead | Fault = head
        after: State = InOrder()
        try:
            if want is not None and not want(head):
                self._frames.leave(frame, head.number)
            elif bodies:
                unit = parse_body(head, self._frames.body(frame, head.number))
            else:
                self._frames.pass_over(frame, head.number)
        except Truncated:
            self._lose_gop(head.number + 1)
            raise
        except BitstreamError as error:
            # Its head is good: numbers and times go on behind it, decoding does not.
            self._whole = False
            unit, after = Fault(error, parse_body(head, self._frames.damaged_body())), Undecodable()
        self._state = after
        self._timeline.advance(head)
        return unit

    def _head(self, frame: UnitFrame) -> ChunkHead:
        """The head of a chunk that may follow here."""
        head = parse_chunk_head(frame, self.header, self._timeline)
        self._timeline.check(head, self.header, self._limits)
        return head

    def _leave_out(self, frame: UnitFrame, number: int) -> PassedOver | None:
        """Pass over a chunk that cannot be decoded, and take from its head what there is to know."""
        line = self._timeline
        passed: PassedOver | None = None
        self.skipped_chunks += 1
        if isinstance(self._state, Undecodable):
            try:
                passed = PassedOver(self._head(frame))
                line.advance(passed.head)
            except BitstreamError:
                self._lose_gop(line.number)
        line.number = max(line.number, number + 1)
        self._frames.skip(frame)
        return passed

    def _lose_gop(self, number: int) -> None:
        """Note that nothing can be decoded until a chunk of at least this `number` starts a GOP."""
        self._timeline.lose()
        self._timeline.number = number
        self._state = Lost()

    def _finish(self, frame: UnitFrame, before: State) -> Index:
        """The index in `frame`, the last unit, checked. `before` was the state in front of it."""
        index = read_tail(self._source, frame, self._frames.body(frame), self._limits)
        count, offset = self.header.frame_count, frame.offset
        came_true = count in (None, index.frames)
        require(came_true, f"{count} frames announced, {index.frames} indexed", offset=offset)
        line = self._timeline
        if self._whole:
            require(line.entries == list(index.entries), "the index does not match the GOPs", offset=offset)
        if self._whole or (line.entries and isinstance(before, InOrder | Undecodable)):
            there = line.number, line.frames, line.end_pts
            wanted = index.chunks, index.frames, index.end_pts
            require(there == wanted, "the totals of the index do not match the chunks", offset=offset)
        return index


def _check_target(head: ChunkHead, entry: IndexEntry) -> None:
    require(
        head.gop_start and (head.first_frame, head.pts[0]) == (entry.first_frame, entry.first_pts),
        "the index announces another GOP here",
        offset=head.offset,
        chunk=head.number,
    )
