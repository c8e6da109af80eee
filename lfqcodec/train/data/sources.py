"""Where training data comes from: folders of videos and pictures, and archives that hold them in one file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfqcodec.errors import InputVideoError
from lfqcodec.train.data.archive import ARCHIVE_SUFFIX, Archive, Member

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m", ".m4v", ".ts", ".mpg"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def source_of(name: str) -> str:
    """The source of a clip: its name without suffix and without a trailing segment number."""
    return re.sub(r"[_-]\d+$", "", Path(name).stem)


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


@dataclass(frozen=True)
class Item:
    """One clip or picture: a file, or a member of an archive."""

    name: str
    source: str
    is_image: bool
    path: Path
    archive: Archive | None = None
    member: Member | None = None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The file; a member is copied to a temporary one, which is removed afterwards.

        Raises `InputVideoError` that names the member where the archive is damaged.
        """
        if self.archive is None or self.member is None:
            yield self.path
            return
        data = self.archive.read(self.member)
        with tempfile.TemporaryDirectory(prefix="lfqcodec-member-") as folder:
            # The name on disk is ours: nothing of the archive says where a file goes.
            copy = Path(folder) / f"member{Path(self.member.file).suffix}"
            copy.write_bytes(data)
            yield copy


def open_items(media: Iterable[Path], stack: ExitStack) -> list[Item]:
    """One item for each file and each member of each archive, in order; `stack` closes the archives.

    Raises `InputVideoError` for an archive that cannot be used.
    """
    items: list[Item] = []
    for path in media:
        if path.suffix.lower() != ARCHIVE_SUFFIX:
            items.append(Item(path.name, source_of(path.name), path.suffix.lower() in IMAGE_SUFFIXES, path))
            continue
        archive = stack.enter_context(closing(Archive(path)))
        items += [Item(m.name, m.source, m.kind == "image", path, archive, m) for m in archive.members]
    return items
