"""Packs: training data decoded once into one memory-mapped file.

A pack is a folder with `pack.json` (one entry per clip or image) and `pack.u8` (their frames, uint8 RGB,
[T, H, W, 3], one after the other).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lfqcodec.errors import InputVideoError, LfqError, OutputError
from lfqcodec.output import replacing
from lfqcodec.train.data.decode import bounded, decode_frames
from lfqcodec.train.data.labels import labels_of
from lfqcodec.train.data.sources import Item, gather_media, open_items

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One clip or image of a pack. Entries of one `source` are never split between training and held-out.

    `label` is the name of its class, where it has one. Its frames are uint8 [frames, height, width, 3], from
    byte `offset` of `pack.u8` on.
    """

    name: str
    source: str
    frames: int
    height: int
    width: int
    offset: int
    label: str | None = None


def build_pack(
    media: Iterable[Path],
    out: Path,
    *,
    longest: int = 640,
    max_frames: int = 600,
    labels: Mapping[Path, str] | None = None,
) -> None:
    """Decode `media` (files, and archives, which are taken whole) into a pack folder.

    With `labels`, by file, those without one are left out.

    Frames are shrunk to at most `longest` pixels a side, and at most `max_frames` of each clip are kept.
    Unreadable files are reported and left out. Raises `InputVideoError` where none could be read or an
    archive is damaged, `OutputError` where the pack cannot be written, and `LfqError` where neither PyAV nor
    OpenCV is installed; no part of a pack is left then.
    """
    with ExitStack() as stack:
        items = open_items(media, stack)
        if labels is not None:
            items = [item for item in items if item.path in labels]
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}") from error
        entries: list[Entry] = []
        offset = 0
        with replacing(out / "pack.u8", overwrite=True) as partial:
            with partial.open("wb") as file:
                for item in tqdm(items, desc="decoding", unit="file"):
                    with item.file() as path:
                        shape = _append(path, item.name, file, longest, max_frames)
                    if shape is not None:
                        label = None if labels is None else labels[item.path]
                        entries.append(Entry(item.name, _source(item, label), *shape, offset, label))
                        offset += shape[0] * shape[1] * shape[2] * 3
            if not entries:
                raise InputVideoError("none of the training files could be read")
            # An old list must not stay beside new frames.
            (out / "pack.json").unlink(missing_ok=True)
    with replacing(out / "pack.json", overwrite=True) as partial:
        partial.write_text(json.dumps([asdict(e) for e in entries]))


def _source(item: Item, label: str | None) -> str:
    """What an item belongs to: of a labelled one a part of its class, and of a picture it alone.

    Pictures of a class are often numbered, and nothing follows from that.
    """
    if label is None:
        return item.source
    return f"{label}/{Path(item.name).stem if item.is_image else item.source}"


def _append(
    path: Path, name: str, file: BinaryIO, longest: int, max_frames: int
) -> tuple[int, int, int] | None:
    """Write frames of one clip up to a change of size; (frames, height, width), None if there was none."""
    count = 0
    shape: tuple[int, int] | None = None
    with closing(decode_frames(path)) as frames:
        try:
            for frame in frames:
                frame = bounded(frame, longest)
                if shape is None:
                    shape = (frame.shape[0], frame.shape[1])
                if frame.shape[:2] != shape:
                    break
                file.write(np.ascontiguousarray(frame).data)
                count += 1
                if count == max_frames:
                    break
        except InputVideoError as error:
            log.warning("left out: %s", str(error).replace(str(path), name))
    return None if shape is None else (count, *shape)


def ensure_pack(
    out: Path,
    videos: Sequence[Path],
    images: Sequence[Path],
    *,
    max_frames: int,
    longest: int = 640,
    labels: str | None = None,
    skip_unlabelled: bool = False,
) -> None:
    """Build the pack `out` from folders of videos and pictures, or archives, unless it is there.

    An archive (`.lfqpack`) may be named among the videos or the images and is taken whole. `labels` is
    "folder", or a table (`lfqcodec.train.data.labels`).
    Raises `LfqError` where there is nothing to read, and what `build_pack` raises.
    """
    if (out / "pack.json").exists():
        if videos or images:
            log.info("%s: was made before; remove it after a change of the files", out)
        return
    media = gather_media(videos, images)
    if not media:
        raise LfqError("nothing to train on: give --videos and --images, or a pack")
    known = None
    if labels is not None:
        known = labels_of(labels, [*videos, *images], media, skip_unlisted=skip_unlabelled)
    build_pack(media, out, longest=longest, max_frames=max_frames, labels=known)


class Pack:
    """Random access to the frames of a pack and to its held-out part.

    About `holdout` of the sources are held out, chosen by their names. Raises `InputVideoError` where the
    folder holds no pack or its frames are cut short.
    """

    def __init__(self, folder: Path, *, holdout: float = 0.04) -> None:
        try:
            rows = json.loads((folder / "pack.json").read_text())
            self.entries = [Entry(**row) for row in rows]
            self.data = np.memmap(folder / "pack.u8", dtype=np.uint8, mode="r")
            need = max((e.offset + e.frames * e.height * e.width * 3 for e in self.entries), default=0)
            if need > len(self.data):
                raise ValueError(f"pack.u8 has {len(self.data)} bytes of {need}")
        except (OSError, ValueError, TypeError) as error:
            raise InputVideoError(f"{folder}: not a pack of training data ({error})") from error
        self.split(holdout)

    def split(self, holdout: float) -> None:
        """Hold out about this share of the sources."""
        self.held_out = [e for e in self.entries if _share(e.source) < holdout]
        self.training = [e for e in self.entries if _share(e.source) >= holdout] or self.entries

    def frames(self, entry: Entry, first: int, count: int, step: int = 1) -> NDArray[np.uint8]:
        """View of frames as uint8 [count, H, W, 3]."""
        size = entry.height * entry.width * 3
        begin = entry.offset + first * size
        block = self.data[begin : begin + ((count - 1) * step + 1) * size]
        return block.reshape(-1, entry.height, entry.width, 3)[::step]


def _share(source: str) -> float:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little") / 2**32
