"""FLV files that were joined by copying one behind the other, as recorders and downloaders do.

FFmpeg stops at the second header. Read without it, the tags go on, and their clock starts again.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol

_SIGNATURE = b"FLV"
_TAG_HEAD, _TAIL = 11, 4
# Sound, video, and data of scripts.
_TAGS = frozenset({8, 9, 18})


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _header_bytes(head: bytes) -> int:
    """The length of a file header that begins so, with the empty size of the tag before it."""
    return int.from_bytes(head[5:9], "big") + _TAIL


def _tag_bytes(head: bytes) -> int:
    """The length of the tag that begins so, 0 where none does."""
    is_tag = len(head) == _TAG_HEAD and head[0] & 0x1F in _TAGS
    return _TAG_HEAD + int.from_bytes(head[1:4], "big") + _TAIL if is_tag else 0


def is_joined(file: BinaryIO) -> bool:
    """Whether the seekable `file` is an FLV file with another one behind its last tag; its place stays."""
    begin = file.tell()
    try:
        head = file.read(_TAG_HEAD)
        if not head.startswith(_SIGNATURE):
            return False
        at = begin + _header_bytes(head)
        while True:
            file.seek(at)
            head = file.read(_TAG_HEAD)
            if head.startswith(_SIGNATURE):
                return True
            if not (length := _tag_bytes(head)):
                return False
            at += length
    finally:
        file.seek(begin)


class OneFlv:
    """The reading side of a stream: FLV files that follow each other as one; anything else as it is."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._begun = False
        self._ready = b""  # the head of a tag or of the first file
        self._left: int | None = 0  # bytes behind it; None where the rest is passed on as it is

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        if not self._ready and self._left == 0:
            self._next_head()
        if self._ready:
            data, self._ready = self._ready[:size], self._ready[size:]
            return data
        if self._left is None:
            return self._stream.read(size)
        data = self._stream.read(min(size, self._left))
        self._left = self._left - len(data) if data else None
        return data

    def _next_head(self) -> None:
        """Read the head of the next tag, or of the first file; those of the files behind it are left out."""
        head = self._exactly(_TAG_HEAD)
        while self._begun and head.startswith(_SIGNATURE):
            self._exactly(_header_bytes(head) - len(head))
            head = self._exactly(_TAG_HEAD)
        if not self._begun and head.startswith(_SIGNATURE):
            self._begun, length = True, _header_bytes(head)
        else:
            length = _tag_bytes(head) if self._begun else 0
        self._ready = head
        self._left = length - len(head) if length else None

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count > 0 and (data := self._stream.read(count)):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)
