"""What an input can be: a file, a pipe, a still image, or a folder of images."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import av

from lfqcodec.arguments import refuse_url
from lfqcodec.errors import InputVideoError
from lfqcodec.video.failures import display_name, reading
from lfqcodec.video.read.arrays import ArraySource, Pictures
from lfqcodec.video.read.describe.boxes import holds_another, why_unreadable
from lfqcodec.video.read.describe.orientation import exif_orientation
from lfqcodec.video.read.describe.tiff import tiff_pages
from lfqcodec.video.read.flv import OneFlv, is_joined
from lfqcodec.video.read.source import Item, MediaSource, Source
from lfqcodec.video.read.webp import ENOUGH, WebpSource, is_animated_webp

_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|webp|bmp|tiff?|p[pgn]m|avif|jxl|qoi)", re.IGNORECASE)


class FolderSource(Source):
    """A folder of numbered pictures as a video of 25 frames per second."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        super().__init__(display_name(folder))
        self.notes.add("a folder of pictures has no frame rate: 25 frames per second")
        self.time_base = Fraction(1, 25)
        self.frame_rate = Fraction(25)
        self.frame_count = len(files)
        self.duration = Fraction(len(files), 25)
        self._files = files

    def items(self, copied: list[Any]) -> Iterator[Item]:
        for file in self._files:
            with contextlib.closing(open_source(file)) as picture:
                frame = next((item for index, item in picture.items([]) if index < 0), None)
            if frame is None:
                raise InputVideoError(f"{file}: the picture cannot be decoded")
            frame.pts = None
            yield -1, frame


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key by which frame 2 comes before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _folder(folder: Path) -> FolderSource:
    with reading(display_name(folder)):
        files = sorted((p for p in folder.iterdir() if _IMAGE_SUFFIX.fullmatch(p.suffix)), key=_natural)
    if not files:
        raise InputVideoError(f"{folder}: is a folder without pictures")
    return FolderSource(folder, files)


class _Watched:
    """The reading side of a stream, counting the bytes that went through.

    PyAV drops exceptions that pass through its callbacks, Ctrl-C too, and takes what it has for the whole
    input. So an exception ends the stream and is kept in `error`, to be raised outside of PyAV.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.count = 0
        self.error: BaseException | None = None
        self._pending = b""

    def peek(self, size: int) -> bytes:
        """What the next `read` will give first: `size` bytes, fewer only at the end."""
        found = b""
        while len(found) < size and (data := self.read(size - len(found))):
            found += data
        self._pending = found
        return found

    def read(self, size: int) -> bytes:
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        if self.error is not None:
            return b""
        try:
            data = self.stream.read(size)
        except BaseException as error:
            self.error = error
            return b""
        self.count += len(data)
        return data


class _WatchedFile(_Watched):
    """The same for a stream that can seek, as some formats need it."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _stream(stream: BinaryIO, name: str, *, owned: bool = False) -> Source:
    """A source that reads `stream`; of one that is `owned` it is closed with the source."""
    used = False
    try:
        begin = stream.tell() if stream.seekable() else None
    except (OSError, AttributeError):
        begin = None
    seeks = begin is not None and not is_joined(stream)
    watched = _WatchedFile(stream) if seeks else _Watched(stream)
    if is_animated_webp(watched.peek(ENOUGH)):
        with reading(name):
            return WebpSource(name, b"".join(iter(partial(watched.read, 1 << 20), b"")))
    if begin is not None:
        stream.seek(begin)
        watched = _WatchedFile(stream) if seeks else _Watched(stream)

    def opener() -> Any:
        nonlocal used
        if used:
            if begin is None:
                raise io.UnsupportedOperation("cannot rewind")
            stream.seek(begin)
        used = True
        file = watched if seeks else OneFlv(watched)
        return av.open(file, "r", buffer_size=1 << 18, metadata_errors="replace")

    def length() -> int:
        return watched.count if begin is None else stream.seek(0, os.SEEK_END)

    try:
        source = MediaSource(name, opener, length, lambda: watched.error, seekable=False)
    except BaseException:
        if owned:
            stream.close()
        raise
    if owned:
        source.file = stream
    return source


def open_source(source: str | os.PathLike[str] | BinaryIO | Pictures) -> Source:
    """Open a path, "-" (standard input), a binary file object or pictures. Raises `InputVideoError`."""
    if isinstance(source, Pictures):
        return ArraySource(source)
    if not isinstance(source, (str, os.PathLike)):
        return _stream(source, display_name(source))
    if os.fspath(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputVideoError("standard input: is a terminal, not a video stream")
        return _stream(sys.stdin.buffer, "standard input")
    path = Path(source)
    name = display_name(source)
    refuse_url(source)
    with reading(name):
        if path.is_dir():
            return _folder(path)
        # Opened and closed for the message of the system: no such file, permission denied, ...
        with path.open("rb") as handle:
            begin = handle.read(ENOUGH) if path.is_file() else b"a device or a pipe"
    if not begin:
        raise InputVideoError(f"{name}: is empty")
    if is_animated_webp(begin):
        with reading(name):
            return WebpSource(name, path.read_bytes())
    if _IMAGE_SUFFIX.fullmatch(path.suffix):
        # Without a name FFmpeg cannot take "%d" in it for a pattern of many files.
        with reading(name):
            data = path.read_bytes()
        opener = partial(av.open, metadata_errors="replace")
        picture = MediaSource(name, lambda: opener(io.BytesIO(data)), is_image=True)
        picture.exif = exif_orientation(data)
        if (pages := tiff_pages(data)) > 1:
            picture.notes.add(f"only the first of {pages} pages is read")
        return picture
    if path.is_file():
        with reading(name), path.open("rb") as handle:
            joined = is_joined(handle)
        if joined:
            # As a stream, since its time stamps tell nothing of where to seek.
            return _stream(path.open("rb"), name, owned=True)
    # An absolute path cannot be taken for a URL, whatever colons it holds.
    absolute = os.path.abspath(path)
    seekable = path.is_file()
    try:
        media = MediaSource(
            name,
            lambda: av.open(absolute, metadata_errors="replace"),
            (lambda: os.path.getsize(absolute)) if seekable else None,
            seekable=seekable,
        )
    except InputVideoError as error:
        if seekable and (why := why_unreadable(path)):
            raise InputVideoError(f"{name}: {why}") from error
        raise
    if seekable and holds_another(path):
        media.notes.add("another file is joined behind the first one, and is not read: split them")
    return media
