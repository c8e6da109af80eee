"""Reading of .lfq files: in order from a pipe or a file, by index from a file (spec sections 2, 9 and 13)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lfqcodec.bitstream.chunk import Chunk, ChunkHead, parse_body, parse_chunk_head, peek_chunk
from lfqcodec.bitstream.fields import require, truncated
from lfqcodec.bitstream.framing import ByteSource, FrameReader
from lfqcodec.bitstream.header import PROLOGUE_BYTES, FileHeader, parse_header, parse_prologue
from lfqcodec.bitstream.index import TRAILER_BYTES, Index, IndexEntry, make_index, parse_index, parse_trailer
from lfqcodec.bitstream.limits import DEFAULT_LIMITS, Limits
from lfqcodec.bitstream.packets import Packets, PacketsHead, parse_packets, parse_packets_head
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.bitstream.units import INDEX_UNIT, PACKETS_UNIT, UnitFrame
from lfqcodec.errors import BitstreamError, InvalidField, Truncated


class BitstreamReader:
    """Reads a .lfq file from `fileobj`, which may be a pipe. The constructor reads and checks the header.

    `next_unit` (or iteration) gives chunks and packets in file order. It raises a `BitstreamError` where
    the file is damaged; calling it again goes on: behind the unit where that unit's head was intact, else
    at the next intact one. Chunks that cannot be decoded because an earlier one of their GOP was lost are
    left out and counted in `skipped_chunks`. Every call moves forward, so a loop over errors ends.
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
        self.complete = False
        """True once index and trailer have been read and match what came before."""
        self.lost_heads: list[ChunkHead] = []
        """Heads of the chunks that the last call passed over: good heads, but nothing can be decoded."""
        self.broken: Chunk | None = None
        """The chunk whose damaged body the last call complained of; some of its streams may be good."""
        self._frames = FrameReader(self._source, limits)
        self._timeline = Timeline()
        self._index: Index | None = None
        self._whole = True  # read from the first byte on, without damage
        self._done = False
        self._uncertain = False  # a unit was lost, and nothing says yet whether it was a chunk
        self._useless = False  # a chunk of the open GOP cannot be decoded, though all heads are there
        self._unread: UnitFrame | None = None  # the source stands at the body of this one
        self._target: IndexEntry | None = None

    # In order ---------------------------------------------------------------------------------------

    def next_unit(self) -> Chunk | Packets | None:
        """The next chunk or batch of packets with its payload, None behind the trailer.

        Raises every `BitstreamError` of a broken unit; `Truncated` where the file ends before its trailer.
        """
        unit = self._next(bodies=True)
        assert not isinstance(unit, ChunkHead | PacketsHead)
        return unit

    def next_head(self) -> ChunkHead | PacketsHead | None:
        """As `next_unit`, without reading payloads: on a seekable file they are jumped over, unchecked."""
        unit = self._next(bodies=False)
        assert not isinstance(unit, Chunk | Packets)
        return unit

    def next_wanted(self, want: Callable[[ChunkHead], bool]) -> Chunk | ChunkHead | Packets | None:
        """As `next_unit`, but of a chunk that `want` does not ask for the head alone.

        The body of such a chunk is not read before the next call, which jumps over it, unchecked.
        """
        unit = self._next(bodies=True, want=want)
        assert not isinstance(unit, PacketsHead)
        return unit

    def __iter__(self) -> Iterator[Chunk | Packets]:
        return iter(self.next_unit, None)

    def heads(self) -> Iterator[ChunkHead | PacketsHead]:
        """All heads from here on."""
        return iter(self.next_head, None)

    def skip_gop(self) -> None:
        """Leave out the rest of the open GOP, because the caller could not decode a chunk of it.

        `next_unit` goes on with packets and with the next chunk that starts a GOP.
        """
        self._useless = True
        self._whole = False

    def keep_gop(self) -> None:
        """Go on with the open GOP behind `broken`, because the caller can use what is good of it."""
        self._useless = False

    # By index ---------------------------------------------------------------------------------------

    @property
    def seekable(self) -> bool:
        return self._source.seekable

    @property
    def position(self) -> int:
        """Bytes from the start of the file to where reading is."""
        return self._source.position

    def index(self) -> Index:
        """The index of a seekable file, or that of a pipe once it is read to its end; the position stays.

        Raises `Truncated`, `InvalidField` or `ChecksumMismatch` where it is missing or damaged:
        `scan_index` then makes one. `io.UnsupportedOperation` on a pipe that is not at its end.
        """
        if self._index is None:
            self._need_seeking()
            back = self._source.position
            try:
                self._index = self._read_index_at_end()
            finally:
                self._source.seek(back)
        return self._index

    def scan_index(self) -> Index:
        """Make the index of a seekable file from its unit heads, passing over damage; the position stays.

        Raises `InvalidField` where not one GOP is found.
        """
        self._need_seeking()
        back = self._source.position
        self._source.seek(0)
        try:
            scan = BitstreamReader(self._file, self._limits)
            while True:
                try:
                    if scan.next_head() is None:
                        break
                except BitstreamError:
                    continue
            line = scan._timeline
            return make_index(line.entries, line.number, line.frames, line.last_end)
        finally:
            self._source.seek(back)

    def seek_gop(self, entry: IndexEntry) -> None:
        """Go on reading at a GOP of `index()`; `InvalidField` follows where another one is found there."""
        self._need_seeking()
        self._source.seek(entry.offset)
        self._frames.forget()
        self._timeline = Timeline()
        self._timeline.lose()
        self._timeline.frames = entry.first_frame
        self._whole = self._done = self._uncertain = self._useless = False
        self._unread = None
        self._target = entry

    def _need_seeking(self) -> None:
        if not self._source.seekable:
            raise io.UnsupportedOperation("random access needs a seekable file")

    def _read_index_at_end(self) -> Index:
        start = self._source.size() - TRAILER_BYTES
        if start <= self.header_bytes:
            raise Truncated("file ends without an index", offset=self._source.size())
        self._source.seek(start)
        self._source.seek(parse_trailer(self._source.read(TRAILER_BYTES), start))
        # Not `self._frames`: what it remembers of damage belongs to where reading goes on.
        frames = FrameReader(self._source, self._limits)
        frame = frames.read(None)
        require(frame.kind == INDEX_UNIT, "the trailer does not lead to an index", offset=frame.offset)
        end = frame.offset + frame.size
        require(end == start, "the index does not end at the trailer", offset=frame.offset)
        return parse_index(frame, frames.body(frame), self._limits)

    # Units ------------------------------------------------------------------------------------------

    def _next(
        self, *, bodies: bool, want: Callable[[ChunkHead], bool] | None = None
    ) -> Chunk | Packets | ChunkHead | PacketsHead | None:
        self.lost_heads.clear()
        self.broken = None
        unread, self._unread = self._unread, None
        try:
            if unread is not None:
                self._frames.pass_over(unread, self._timeline.number - 1)
            while not self._done:
                if not self._frames.recover():
                    self._done = True
                    break
                frame = self._frame()
                if frame.kind == INDEX_UNIT:
                    self._done = True
                    self._finish(frame)
                elif frame.kind == PACKETS_UNIT:
                    return self._packets(frame, bodies=bodies)
                elif (unit := self._chunk(frame, bodies=bodies, want=want)) is not None:
                    return unit
        except BitstreamError:
            self._whole = False
            raise
        return None

    def _frame(self) -> UnitFrame:
        try:
            return self._frames.read(self._timeline.number)
        except BitstreamError:
            self._uncertain = True
            self._target = None
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
        self, frame: UnitFrame, *, bodies: bool, want: Callable[[ChunkHead], bool] | None
    ) -> Chunk | ChunkHead | None:
        """The chunk in `frame`, None where it has to be left out because its GOP is lost."""
        line = self._timeline
        gop_start, number = peek_chunk(frame, line.number)
        if self._uncertain and number > line.number:
            line.lose()
        elif not line.lost and number > line.number:
            # Chunks are missing although nothing is damaged. Say so once, then go on from here.
            message = f"chunk number {number} where {line.number} is due"
            self._frames.put_back(frame)
            self._lose_gop(line.number)
            raise InvalidField(message, offset=frame.offset, chunk=number)
        self._uncertain = False
        if (line.lost or self._useless) and not gop_start and self._target is None:
            self._leave_out(frame, number)
            return None
        try:
            head = self._head(frame)
            self._check_target(head)
        except BitstreamError:
            if number >= line.number:
                self._lose_gop(number + 1)
            self._frames.skip(frame)
            raise
        unit: Chunk | ChunkHead = head
        try:
            if want is not None and not want(head):
                self._unread = frame
            elif bodies:
                unit = parse_body(head, self._frames.body(frame, number))
            else:
                self._frames.pass_over(frame, number)
        except Truncated:
            self._lose_gop(number + 1)
            raise
        except BitstreamError:
            # Its head is good: numbers and times go on behind it, decoding does not.
            line.advance(head)
            self._useless = True
            self.lost_heads.append(head)
            self.broken = parse_body(head, self._frames.damaged_body())
            raise
        self._useless = False
        line.advance(head)
        return unit

    def _head(self, frame: UnitFrame) -> ChunkHead:
        """The head of a chunk that may follow here."""
        head = parse_chunk_head(frame, self.header, self._timeline)
        self._timeline.check(head, self.header, self._limits)
        return head

    def _leave_out(self, frame: UnitFrame, number: int) -> None:
        """Pass over a chunk that cannot be decoded, and take from its head what there is to know."""
        line = self._timeline
        self.skipped_chunks += 1
        if not line.lost:
            try:
                head = self._head(frame)
                line.advance(head)
                self.lost_heads.append(head)
            except BitstreamError:
                line.lose()
        line.number = max(line.number, number + 1)
        self._frames.skip(frame)

    def _lose_gop(self, number: int) -> None:
        """Note that nothing can be decoded until a chunk of at least this `number` starts a GOP."""
        self._timeline.lose()
        self._timeline.number = number
        self._whole = False
        self._useless = False

    def _check_target(self, head: ChunkHead) -> None:
        entry, self._target = self._target, None
        if entry is not None:
            require(
                head.gop_start and (head.first_frame, head.pts[0]) == (entry.first_frame, entry.first_pts),
                "the index announces another GOP here",
                offset=head.offset,
                chunk=head.number,
            )

    def _finish(self, frame: UnitFrame) -> None:
        index = parse_index(frame, self._frames.body(frame), self._limits)
        start = self._source.position
        data = self._source.read(TRAILER_BYTES)
        if len(data) < TRAILER_BYTES:
            raise truncated("the trailer", TRAILER_BYTES, len(data), offset=self._source.position)
        at = parse_trailer(data, start)
        require(at == frame.offset, f"the trailer says that the index is at byte {at}", offset=start)
        end = self._source.position
        require(not self._source.read(1), "there are bytes behind the trailer", offset=end)
        self._check_index(index, frame.offset)
        self._index = index
        self.complete = True

    def _check_index(self, index: Index, offset: int) -> None:
        count = self.header.frame_count
        came_true = count in (None, index.frames)
        require(came_true, f"{count} frames announced, {index.frames} indexed", offset=offset)
        line = self._timeline
        if self._whole:
            require(line.entries == list(index.entries), "the index does not match the GOPs", offset=offset)
        if self._whole or (line.entries and not line.lost and not self._uncertain):
            there = line.number, line.frames, line.end_pts
            wanted = index.chunks, index.frames, index.end_pts
            require(there == wanted, "the totals of the index do not match the chunks", offset=offset)
