"""Writing of .lfq files, to pipes and to files (spec section 2)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.bitstream.limits import DEFAULT_LIMITS, Limits
from lfqcodec.bitstream.syntax.chunk import Chunk, ChunkHead, check_chunk, pack_body
from lfqcodec.bitstream.syntax.chunk_head import pack_chunk_head
from lfqcodec.bitstream.syntax.fields import require
from lfqcodec.bitstream.syntax.header import FileHeader, check_limits, pack_header
from lfqcodec.bitstream.syntax.index import Index, make_index, pack_index, pack_trailer
from lfqcodec.bitstream.syntax.packets import pack_packets
from lfqcodec.bitstream.syntax.units import CHUNK_UNIT, INDEX_UNIT, PACKETS_UNIT, pack_unit
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.media import StreamPacket

BATCH_BYTES = 1 << 24


class BitstreamWriter:
    """Writes a .lfq file to `fileobj`, front to back, holding nothing but the list of GOPs in memory.

    A header without `frame_count` is right everywhere. On a seekable output a count that was given may be
    a guess: `close` puts the true one in. On a pipe, and for a still image, it must come true. `close` does
    not close `fileobj`. As a context manager it closes only where no exception passes, so that a broken run
    leaves a file that no reader takes for complete. Everything a reader would refuse raises `InvalidField`
    or `LimitExceeded` here.

    `after` goes on with a file that was begun before: the heads of its chunks. `fileobj`, which must be
    seekable, then holds `written` good bytes from where it stands, header and all; what is behind them goes.
    """

    def __init__(
        self,
        fileobj: BinaryIO,
        header: FileHeader,
        limits: Limits = DEFAULT_LIMITS,
        *,
        after: Iterable[ChunkHead] | None = None,
        written: int = 0,
    ) -> None:
        check_limits(header, limits)
        self._file = fileobj
        self._header = header
        self._limits = limits
        self._timeline = Timeline()
        self._base = _position(fileobj)
        # What `close` can still mend need not hold on the way there.
        mendable = self._base is not None and not header.still_image
        self._rules = replace(header, frame_count=None) if mendable else header
        self._written = 0
        self._closed = False
        if after is not None:
            self._pass(after)
        self._put(pack_header(header))
        if after is not None and self._base is not None:
            self._file.seek(self._base + written)
            self._file.truncate()
            self._written = written

    def _pass(self, heads: Iterable[ChunkHead]) -> None:
        """Take the chunks of a file begun before as written; they may be read from that very file."""
        if self._base is None:
            raise io.UnsupportedOperation("only a seekable file can be gone on with")
        for head in heads:
            self._timeline.check(head, self._rules, self._limits)
            self._timeline.advance(head)
        self._file.seek(self._base)

    @property
    def header(self) -> FileHeader:
        return self._header

    @property
    def chunks(self) -> int:
        """Chunks written so far."""
        return self._timeline.number

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self._timeline.frames

    @property
    def bytes_written(self) -> int:
        return self._written

    def write_chunk(
        self,
        *,
        gop_start: bool,
        pts: Sequence[int],
        last_duration: int,
        streams: Sequence[NDArray[np.uint32]],
        token_crcs: Sequence[int],
        group_size: int = GROUP_SIZES[0],
    ) -> ChunkHead:
        """Write the next chunk and give its head.

        `pts` are the presentation times of the new frames (1..17 at the start of a GOP, else 1..16) and
        `last_duration` the duration of the last one, in ticks; `streams` the rANS words of each stream,
        uint32 [n]; `token_crcs` the `token_crc` of each stream; `group_size` one of `GROUP_SIZES`.
        """
        head = ChunkHead(
            number=self._timeline.number,
            gop_start=gop_start,
            first_frame=self._timeline.frames,
            pts=tuple(int(each) for each in pts),
            last_duration=int(last_duration),
            words=tuple(len(stream) for stream in streams),
            token_crcs=tuple(int(crc) for crc in token_crcs),
            group_size=group_size,
            offset=self._written,
        )
        require(not self._closed, "the file is closed")
        check_chunk(head, streams, self._header)
        self._timeline.check(head, self._rules, self._limits)
        unit = pack_unit(CHUNK_UNIT, pack_chunk_head(head, self._timeline), pack_body(streams), self._limits)
        self._put(unit)
        self._timeline.advance(head)
        return replace(head, size=len(unit))

    def copy_unit(self, unit: bytes, head: ChunkHead | None = None) -> None:
        """Write a unit of another file as it is, byte for byte: a chunk with this `head`, else packets.

        A chunk must have the number, the first frame and, where its times depend on the chunk before, the
        place that it has here; `copy_chunk` mends these.
        """
        require(not self._closed, "the file is closed")
        if head is not None:
            head = replace(head, offset=self._written)
            self._timeline.check(head, self._rules, self._limits)
            self._timeline.advance(head)
        self._put(unit)

    def copy_chunk(self, chunk: Chunk) -> ChunkHead:
        """Write a chunk as it was read, or as `drop_streams` left it, renumbered to follow here."""
        return self.write_chunk(
            gop_start=chunk.head.gop_start,
            pts=chunk.head.pts,
            last_duration=chunk.head.last_duration,
            streams=chunk.streams,
            token_crcs=chunk.head.token_crcs,
            group_size=chunk.head.group_size,
        )

    def write_packets(self, packets: Iterable[StreamPacket]) -> None:
        """Write copied packets as one unit, as several where they are many, as none where there are none.

        Packets belong behind the first chunk of the GOP during which they are heard, and before the next
        GOP. One call per GOP costs least.
        """
        require(not self._closed, "the file is closed")
        for batch in _batches(packets, self._limits.max_unit_packets):
            head, body = pack_packets(batch, self._header, self._limits)
            self._put(pack_unit(PACKETS_UNIT, head, body, self._limits))

    def close(self) -> Index:
        """Write index and trailer and, on a seekable output, the frame count. A second call does nothing.

        Raises `InvalidField` where no chunk was written, or where the frame count of the header did not come
        true and cannot be mended.
        """
        line = self._timeline
        index = make_index(line.entries, line.number, line.frames, line.end_pts)
        if self._closed:
            return index
        announced, base = self._header.frame_count, self._base
        came_true = announced in (None, index.frames)
        require(came_true or base is not None, f"{announced} frames announced, {index.frames} written")
        offset = self._written
        self._put(pack_unit(INDEX_UNIT, *pack_index(index), self._limits))
        self._put(pack_trailer(offset))
        if announced != index.frames and base is not None:
            self._header = replace(self._header, frame_count=index.frames)
            end = self._written
            self._file.seek(base)
            self._put(pack_header(self._header))
            self._file.seek(base + end)
            self._written = end
        self._file.flush()
        self._closed = True
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # A raw file may take less than it is given; None is a non-blocking one that takes nothing now.
            taken = self._file.write(view)
            view = view[taken or 0 :]
        self._written += len(data)


def _position(fileobj: BinaryIO) -> int | None:
    """Where a seekable output stands, None for a pipe."""
    with contextlib.suppress(OSError, ValueError):
        if fileobj.seekable():
            return fileobj.tell()
    return None


def _batches(packets: Iterable[StreamPacket], most: int) -> Iterator[list[StreamPacket]]:
    batch: list[StreamPacket] = []
    size = 0
    for packet in packets:
        if batch and (size + len(packet.data) > BATCH_BYTES or len(batch) >= most):
            yield batch
            batch, size = [], 0
        batch.append(packet)
        size += len(packet.data)
    if batch:
        yield batch
