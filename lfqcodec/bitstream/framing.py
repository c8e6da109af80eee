"""Reading whole units from a byte source, and finding the next one after damage (spec section 13)."""

from __future__ import annotations

from lfqcodec.bitstream.fields import truncated
from lfqcodec.bitstream.limits import MAX_UNIT_HEAD, Limits
from lfqcodec.bitstream.source import ByteSource
from lfqcodec.bitstream.units import (
    CRC_BYTES,
    PREFIX_BYTES,
    SYNC,
    UnitFrame,
    check_body,
    parse_frame,
    parse_prefix,
)
from lfqcodec.errors import BitstreamError, Truncated

SCAN_BLOCK = 1 << 16


class FrameReader:
    """Reads unit frames and bodies from `source`, and remembers where to look on after an error."""

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._misframed = False
        self._damaged_body: bytes | None = None
        self._raw = b""

    def forget(self) -> None:
        """Drop what is remembered of damage: the source was moved."""
        self._misframed = False
        self._damaged_body = None

    def read(self, chunk: int | None) -> UnitFrame:
        """The frame of the unit that starts here; the source then stands at its body.

        On an error the source stands one byte behind the start, and `recover` looks on from there.
        """
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
            frame = parse_frame(data, offset, self._limits, chunk)
        except BitstreamError:
            self._source.push_back(data[1:])
            self._misframed = True
            raise
        self._raw = data
        return frame

    def put_back(self, frame: UnitFrame) -> None:
        """Undo the `read` that gave `frame`, so that the next one gives it again."""
        assert self._source.position == frame.body_offset
        self._source.push_back(self._raw)

    def body(self, frame: UnitFrame, chunk: int | None = None) -> bytes:
        """The body of `frame`, its checksum checked. Raises `Truncated` or `ChecksumMismatch`."""
        wanted = frame.body_length + CRC_BYTES
        data = self._source.read(wanted)
        try:
            if len(data) < wanted:
                raise truncated("a unit body", wanted, len(data), offset=self._source.position, chunk=chunk)
            body = data[:-CRC_BYTES]
            check_body(frame, body, int.from_bytes(data[-CRC_BYTES:], "little"), chunk)
        except BitstreamError:
            self._damaged_body = data
            raise
        return body

    def damaged_body(self) -> bytes:
        """The body that failed its checksum just now."""
        assert self._damaged_body is not None
        return self._damaged_body[:-CRC_BYTES]

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
        """After an error, go to the next intact unit. False where there is none."""
        if self._damaged_body is not None:
            body, self._damaged_body = self._damaged_body, None
            if not self._at_unit():
                # Not only flipped bits: bytes were lost or added, and the next unit may start inside.
                self._source.push_back(body)
                return self.resync() is not None
        if self._misframed:
            return self.resync() is not None
        return True

    def _at_unit(self) -> bool:
        probe = self._source.read(PREFIX_BYTES + MAX_UNIT_HEAD + CRC_BYTES)
        self._source.push_back(probe)
        return self._unit_at(probe, 0) is True

    def resync(self) -> int | None:
        """Go to the next intact unit head, here or later, and give its offset; None where there is none."""
        self.forget()
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
                    return self._source.position
                if found is None and not ended:
                    break
                at = window.find(SYNC, at + 1)
            window = window[at if at >= 0 else -len(SYNC) + 1 :]
        return None

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
