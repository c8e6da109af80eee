"""Reading of .lfq files: in order from a pipe or a file, by index from a file (spec sections 2, 9 and 13)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from lfqcodec.bitstream.reading.states import Ended, Fault, PassedOver, Sought
from lfqcodec.bitstream.reading.steps import StepReader
from lfqcodec.bitstream.reading.tail import index_at_end
from lfqcodec.bitstream.syntax.chunk import Chunk, ChunkHead
from lfqcodec.bitstream.syntax.index import Index, IndexEntry, make_index
from lfqcodec.bitstream.syntax.packets import Packets, PacketsHead
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.errors import BitstreamError


class BitstreamReader(StepReader):
    """Reads a .lfq file from `fileobj`, which may be a pipe. The constructor reads and checks the header.

    `next_unit` (or iteration) gives chunks and packets in file order. It raises a `BitstreamError` where
    the file is damaged; calling it again goes on, as `step` does. So a loop over errors ends.
    """

    # In order ---------------------------------------------------------------------------------------

    def next_unit(self) -> Chunk | Packets | None:
        """The next chunk or batch of packets with its payload, None behind the trailer.

        Raises every `BitstreamError` of a broken unit; `Truncated` where the file ends before its trailer.
        """
        unit = self._next(None, bodies=True)
        assert not isinstance(unit, ChunkHead | PacketsHead)
        return unit

    def next_head(self) -> ChunkHead | PacketsHead | None:
        """As `next_unit`, without reading payloads: on a seekable file they are jumped over, unchecked."""
        unit = self._next(None, bodies=False)
        assert not isinstance(unit, Chunk | Packets)
        return unit

    def next_wanted(self, want: Callable[[ChunkHead], bool]) -> Chunk | ChunkHead | Packets | None:
        """As `next_unit`, but of a chunk that `want` does not ask for the head alone, as `step` gives it."""
        unit = self._next(want, bodies=True)
        assert not isinstance(unit, PacketsHead)
        return unit

    def _next(
        self, want: Callable[[ChunkHead], bool] | None, *, bodies: bool
    ) -> Chunk | ChunkHead | Packets | PacketsHead | None:
        while isinstance(unit := self.step(want, bodies=bodies), PassedOver):
            pass
        if isinstance(unit, Fault):
            raise unit.error
        return unit

    def __iter__(self) -> Iterator[Chunk | Packets]:
        return iter(self.next_unit, None)

    def heads(self) -> Iterator[ChunkHead | PacketsHead]:
        """All heads from here on."""
        return iter(self.next_head, None)

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
        if isinstance(self._state, Ended) and self._state.index is not None:
            return self._state.index
        self._need_seeking()
        back = self._source.position
        try:
            return index_at_end(self._source, self.header_bytes, self._limits)
        finally:
            self._source.seek(back)

    def scan_index(self) -> Index:
        """Make the index of a seekable file from its unit heads, passing over damage; the position stays.

        Raises `InvalidField` where not one GOP is found.
        """
        self._need_seeking()
        back = self._source.position
        self._source.seek(0)
        try:
            scan = BitstreamReader(self._file, self._limits)
            while scan.step(bodies=False) is not None:
                pass
            line = scan._timeline
            return make_index(line.entries, line.number, line.frames, line.last_end)
        finally:
            self._source.seek(back)

    def any_index(self) -> Index:
        """`index`, or where that is missing or damaged `scan_index`. Raises as the latter does."""
        try:
            return self.index()
        except BitstreamError:
            return self.scan_index()

    def seek_gop(self, entry: IndexEntry) -> None:
        """Go on reading at a GOP of `index()`; `InvalidField` follows where another one is found there."""
        self._need_seeking()
        self._source.seek(entry.offset)
        self._frames.forget()
        self._timeline = Timeline()
        self._timeline.lose()
        self._timeline.frames = entry.first_frame
        self._whole = False
        self._state = Sought(entry)

    def _need_seeking(self) -> None:
        if not self._source.seekable:
            raise io.UnsupportedOperation("random access needs a seekable file")
