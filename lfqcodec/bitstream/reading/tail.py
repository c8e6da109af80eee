"""The end of a file, index and trailer: reached by reading, or read at once where a file is seekable."""

from __future__ import annotations

from lfqcodec.bitstream.limits import Limits
from lfqcodec.bitstream.reading.framing import ByteSource, FrameReader
from lfqcodec.bitstream.syntax.fields import require, truncated
from lfqcodec.bitstream.syntax.index import TRAILER_BYTES, Index, parse_index, parse_trailer
from lfqcodec.bitstream.syntax.units import INDEX_UNIT, UnitFrame
from lfqcodec.errors import Truncated


def index_at_end(source: ByteSource, header_bytes: int, limits: Limits) -> Index:
    """The index of a seekable file; moves `source`.

    Raises `Truncated`, `InvalidField` or `ChecksumMismatch` where it is missing or damaged.
    """
    start = source.size() - TRAILER_BYTES
    if start <= header_bytes:
        raise Truncated("file ends without an index", offset=source.size())
    source.seek(start)
    source.seek(parse_trailer(source.read(TRAILER_BYTES), start))
    frames = FrameReader(source, limits)
    frame = frames.read(None)
    require(frame.kind == INDEX_UNIT, "the trailer does not lead to an index", offset=frame.offset)
    end = frame.offset + frame.size
    require(end == start, "the index does not end at the trailer", offset=frame.offset)
    return parse_index(frame, frames.body(frame), limits)


def read_tail(source: ByteSource, frame: UnitFrame, body: bytes, limits: Limits) -> Index:
    """The index in `frame`, with the trailer that must follow, and nothing behind it."""
    index = parse_index(frame, body, limits)
    start = source.position
    data = source.read(TRAILER_BYTES)
    if len(data) < TRAILER_BYTES:
        raise truncated("the trailer", TRAILER_BYTES, len(data), offset=source.position)
    at = parse_trailer(data, start)
    require(at == frame.offset, f"the trailer says that the index is at byte {at}", offset=start)
    end = source.position
    require(not source.read(1), "there are bytes behind the trailer", offset=end)
    return index
