"""Reading whole units from files and pipes, and finding the next one after damage (spec section 13)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from lfqcodec.bitstream.limits import MAX_UNIT_HEAD, Limits
from lfqcodec.bitstream.syntax.fields import crc32, truncated
from lfqcodec.bitstream.syntax.units import (
    CRC_BYTES,
    PREFIX_BYTES,
    SYNC,
    UnitFrame,
    parse_frame,
    parse_prefix,
)
from lfqcodec.errors import BitstreamError, ChecksumMismatch, Truncated

READ_BLOCK = 1 << 20
SCAN_BLOCK = 1 << 16


class ByteSource:
    """Reads `fileobj` from where it stands; that place is position 0.

    Memory grows with what the file really holds, never with what is asked for: large reads go block by
    block, so a length field of a short file cannot claim more than the file's own size.
    """

    def __init__(self, fileobj: BinaryIO) -> None:
        self._file = fileobj
        self._pending = b""
        self.position = 0
        self.seekable = fileobj.seekable()
        self._base = fileobj.tell() if self.seekable else 0

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer only at the end of the file."""
        parts = []
        wanted = count
        if self._pending:
            parts.append(self._pending[:wanted])
            self._pending = self._pending[wanted:]
            wanted -= len(parts[0])
        while wanted > 0:
            block = self._file.read(min(wanted, READ_BLOCK))
            if not block:
                break
            parts.append(block)
            wanted -= len(block)
        self.position += count - wanted
        return b"".join(parts)

    def push_back(self, data: bytes) -> None:
        """Make `data`, the bytes read last, the next to be read."""
        self._pending = data + self._pending
        self.position -= len(data)

    def skip(self, count: int) -> int:
        """Go `count` bytes on without keeping them; give how many there were."""
        if self.seekable and count > len(self._pending):
            target = min(self.position + count, max(self.position, self.size()))
            skipped = target - self.position
            self.seek(target)
            return skipped
        skipped = 0
        while skipped < count:
            block = self.read(min(count - skipped, READ_BLOCK))
            if not block:
                break
            skipped += len(block)
        return skipped

    def seek(self, position: int) -> None:
        """Go to `position`. Only where `seekable`."""
        self._pending = b""
        self._file.seek(self._base + position)
        self.position = position

    def size(self) -> int:
        """Bytes from position 0 to the end. Only where `seekable`; bytes taken back do not survive it."""
        end = self._file.seek(0, io.SEEK_END) - self._base
        self.seek(self.position)
        return end


@dataclass(frozen=True)
class AtUnit:
    """The source stands where a unit should start."""


@dataclass(frozen=True)
class AtHead:
    """The source stands at the body of `frame`, which `read` will give again."""

    frame: UnitFrame


@dataclass(frozen=True)
class AtBody:
    """The source stands at the body of `frame`, of chunk `chunk`, which nobody wants."""

    frame: UnitFrame
    chunk: int


@dataclass(frozen=True)
class Astray:
    """No unit started where one should: the source stands one byte behind that place."""


@dataclass(frozen=True)
class BehindBody:
    """The source stands behind `data`, a body with its checksum that is wrong or ends early."""

    data: bytes


Place = AtUnit | AtHead | AtBody | Astray | BehindBody


class FrameReader:
    """Reads unit frames and bodies from `source`. Where that stands, as a `Place`, is all it remembers."""

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._place: Place = AtUnit()

    def forget(self) -> None:
        """Go on as at the start of a unit: the source was moved there."""
        self._place = AtUnit()

    def read(self, chunk: int | None) -> UnitFrame:
        """The frame of the unit that starts here; the source then stands at its body.

        On an error `recover` looks on from one byte behind the start.
        """
        if isinstance(self._place, AtHead):
            frame, self._place = self._place.frame, AtUnit()
            return frame
        offset = self._source.position
        data = self._source.read(PREFIX_BYTES)
        try:
            if not data:
                raise Truncated("file ends without an index", offset=offset, chunk=chunk)
            if len(data) < PREFIX_BYTES:
                raise truncated("a unit", PREFIX_BYTES, len(data), offset=self._source.position, chunk=chunk)
            wanted = parse_prefix(data, offset, chunk) + CRC_BYTES
            rest = self._source.read(wanted)
            data += rest
            if len(rest) < wanted:
                raise truncated("a unit head", wanted, len(rest), offset=self._source.position, chunk=chunk)
            return parse_frame(data, offset, self._limits, chunk)
        except BitstreamError:
            self._source.push_back(data[1:])
            self._place = Astray()
            raise

    def put_back(self, frame: UnitFrame) -> None:
        """Make `frame`, which was read last, the one that is read next."""
        self._place = AtHead(frame)

    def leave(self, frame: UnitFrame, chunk: int) -> None:
        """Leave the body of `frame`, of a chunk, where it is; `recover` passes over it."""
        self._place = AtBody(frame, chunk)

    def body(self, frame: UnitFrame, chunk: int | None = None) -> bytes:
        """The body of `frame`, its checksum checked. Raises `Truncated` or `ChecksumMismatch`."""
        wanted = frame.body_length + CRC_BYTES
        data = self._source.read(wanted)
        try:
            if len(data) < wanted:
                raise truncated("a unit body", wanted, len(data), offset=self._source.position, chunk=chunk)
            body = data[:-CRC_BYTES]
            if crc32(body) != int.from_bytes(data[-CRC_BYTES:], "little"):
                raise ChecksumMismatch("unit body is damaged", offset=frame.body_offset, chunk=chunk)
        except BitstreamError:
            self._place = BehindBody(data)
            raise
        return body

    def damaged_body(self) -> bytes:
        """The body that failed its checksum just now."""
        assert isinstance(self._place, BehindBody)
        return self._place.data[:-CRC_BYTES]

    def pass_over(self, frame: UnitFrame, chunk: int | None = None) -> None:
        """Go behind the body of `frame`, unchecked. Raises `Truncated`."""
        wanted = frame.body_length + CRC_BYTES
        skipped = self._source.skip(wanted)
        if skipped < wanted:
            raise truncated("a unit body", wanted, skipped, offset=self._source.position, chunk=chunk)

    def skip(self, frame: UnitFrame) -> None:
        """Go behind the body of `frame`, whether it is all there or not."""
        self._source.skip(frame.body_length + CRC_BYTES)

    def recover(self) -> bool:
        """Go to the next unit; after an error, to the next intact one. False where there is none.

        Raises `Truncated` where the body that was left is not all there.
        """
        place = self._place
        if isinstance(place, AtUnit | AtHead):
            return True
        self._place = AtUnit()
        if isinstance(place, AtBody):
            self.pass_over(place.frame, place.chunk)
            return True
        if isinstance(place, BehindBody):
            if self._at_unit():
                return True
            # Not only flipped bits: bytes were lost or added, and the next unit may start inside.
            self._source.push_back(place.data)
        return self._resync()

    def _at_unit(self) -> bool:
        probe = self._source.read(PREFIX_BYTES + MAX_UNIT_HEAD + CRC_BYTES)
        self._source.push_back(probe)
        return self._unit_at(probe, 0) is True

    def _resync(self) -> bool:
        """Go to the next intact unit head, here or later. False where there is none."""
        window = b""
        ended = False
        while not ended:
            block = self._source.read(SCAN_BLOCK)
            ended = len(block) < SCAN_BLOCK
            window += block
            at = window.find(SYNC)
            while at >= 0:
                found = self._unit_at(window, at)
                if found:
                    self._source.push_back(window[at:])
                    return True
                if found is None and not ended:
                    break
                at = window.find(SYNC, at + 1)
            window = window[at if at >= 0 else -len(SYNC) + 1 :]
        return False

    def _unit_at(self, data: bytes, at: int) -> bool | None:
        """True where an intact unit head stands at `at`, None where `data` ends before that can be said."""
        prefix = data[at : at + PREFIX_BYTES]
        if len(prefix) < PREFIX_BYTES:
            return None
        offset = self._source.position
        try:
            end = at + PREFIX_BYTES + parse_prefix(prefix, offset, None) + CRC_BYTES
            if len(data) < end:
                return None
            parse_frame(data[at:end], offset, self._limits)
        except BitstreamError:
            return False
        return True
