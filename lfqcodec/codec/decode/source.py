"""Where the bytes of a .lfq file come from: a path, standard input, or a file object."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

from lfqcodec import arguments
from lfqcodec.errors import BitstreamError, InputVideoError


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Put the name of the file into errors of its bytes, and make system errors `InputVideoError`."""
    try:
        yield
    except BitstreamError as error:
        error.args = (f"{name}: {error}",)
        raise
    except OSError as error:
        raise InputVideoError(f"{name}: {error.strerror or error}") from error


class View(io.RawIOBase):
    """A place of its own in a seekable file that others read too. Its byte 0 is byte `base` of the file."""

    def __init__(self, file: BinaryIO, base: int, lock: Lock) -> None:
        self._file, self._base, self._lock = file, base, lock
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        with self._lock:
            self._file.seek(self._base + self._at)
            data = self._file.read(-1 if size is None else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            with self._lock:
                offset += self._file.seek(0, os.SEEK_END) - self._base
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class Source:
    """The file behind `source`: a path, "-" for standard input, or a binary file object.

    Raises `InputVideoError` where it cannot be opened.
    """

    def __init__(self, source: str | os.PathLike[str] | BinaryIO) -> None:
        self._owned = False
        if not isinstance(source, (str, os.PathLike)):
            self.name, self._file = "<stream>", source
        elif os.fspath(source) == "-":
            self.name = "standard input"
            if sys.stdin is None or sys.stdin.isatty():
                raise InputVideoError("standard input: is a terminal, not a .lfq file")
            self._file = sys.stdin.buffer
        else:
            self.name = os.fspath(source)
            arguments.refuse_url(source)
            with reading(self.name):
                self._file = Path(source).open("rb")  # noqa: SIM115 (closed by close)
            self._owned = True
        self.seekable: bool = self._file.seekable()
        self._base = self._file.tell() if self.seekable else 0
        self._lock = Lock()

    def open(self) -> BinaryIO:
        """The file from its start, apart from all others that were opened; of a pipe, what is left of it."""
        return cast(BinaryIO, View(self._file, self._base, self._lock)) if self.seekable else self._file

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._file.close()
