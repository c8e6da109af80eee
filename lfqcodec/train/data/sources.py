"""Where training data comes from: folders of videos and pictures, and archives that hold them in one file.

An archive (`.lfqpack`) is a zip file without compression. Its members' names say what they are called and
what they are, never where a file goes: nothing is extracted by a path that the archive gives.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lfqcodec.errors import InputVideoError

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m", ".m4v", ".ts", ".mpg", ".lfq"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
ARCHIVE_SUFFIX = ".lfqpack"
MAX_MEMBER = 1 << 30
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Item:
    """One clip or picture: a file, or a member of the archive at `path`."""

    name: str
    path: Path
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None

    @property
    def is_image(self) -> bool:
        """Whether it is a picture."""
        return Path(self.name).suffix.lower() in IMAGE_SUFFIXES

    @property
    def source(self) -> str:
        """Its name without suffix and without a trailing segment number."""
        return re.sub(r"[_-]\d+$", "", Path(self.name).stem)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The file; a member is copied to a temporary one, which is removed afterwards.

        Raises `InputVideoError` that names the member where the archive is damaged.
        """
        if self.archive is None or self.member is None:
            yield self.path
            return
        try:
            stored = self.member.compress_type == zipfile.ZIP_STORED
            if not stored or not self.member.compress_size == self.member.file_size <= MAX_MEMBER:
                raise ValueError("it is compressed, or too large")
            data = self.archive.read(self.member)
        except _ZIP_ERRORS as error:
            reason = " ".join(str(error).split())
            raise InputVideoError(f"{self.path}: {self.name}: is damaged ({reason})") from error
        with tempfile.TemporaryDirectory(prefix="lfqcodec-member-") as folder:
            copy = Path(folder) / f"member{Path(self.name).suffix}"
            copy.write_bytes(data)
            yield copy


def gather_media(videos: Iterable[Path], images: Iterable[Path]) -> list[Path]:
    """Media files below folders, sorted, and archives as they are.

    Folders in `videos` give their videos, those in `images` their pictures. An archive gives all that it
    holds, wherever and however often it is named. Raises `InputVideoError` for a folder without such files.
    """
    found: list[Path] = []
    archives: dict[Path, Path] = {}
    for folders, suffixes in ((videos, VIDEO_SUFFIXES), (images, IMAGE_SUFFIXES)):
        for path in folders:
            if path.suffix.lower() == ARCHIVE_SUFFIX and not path.is_dir():
                archives.setdefault(path.resolve(), path)
                continue
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
            if not inside:
                raise InputVideoError(f"{path}: no files ending in {', '.join(sorted(suffixes))}")
            found += inside
    return [*found, *archives.values()]


def open_items(media: Iterable[Path], stack: ExitStack) -> list[Item]:
    """One item for each file and each member of each archive, in order; `stack` closes the archives.

    Raises `InputVideoError` for an archive that cannot be used.
    """
    items: list[Item] = []
    for path in media:
        if path.suffix.lower() != ARCHIVE_SUFFIX:
            items.append(Item(path.name, path))
            continue
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except _ZIP_ERRORS as error:
            raise InputVideoError(f"{path}: not a training archive ({error})") from error
        for member in archive.infolist():
            # The number in front keeps names apart.
            item = Item(re.sub(r"^\d{6}-", "", PurePosixPath(member.filename).name), path, archive, member)
            if Path(item.name).suffix.lower() not in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
                raise InputVideoError(f"{path}: {member.filename!r} is neither a video nor a picture")
            items.append(item)
    return items
