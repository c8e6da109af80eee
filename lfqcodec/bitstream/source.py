"""A byte source over files and pipes that counts positions, can take bytes back and skips cheaply."""

from __future__ import annotations

import io
from typing import BinaryIO

READ_BLOCK = 1 << 20


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
