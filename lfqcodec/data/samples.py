"""The samples of a GOP: its tokens, or clips of its pictures."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, IndexEntry
from lfqcodec.codec.decode.ahead import DecodeGop
from lfqcodec.codec.decode.file import LfqFile, open_file
from lfqcodec.codec.decode.source import reading
from lfqcodec.errors import ArgumentValueError, InputVideoError, InvalidField

Kind = Literal["tokens", "pictures"]
Sample = dict[str, Any]
"""`path`, `gop`, `first_frame` (all counted from 0), and either

`tokens`: by layer int32 [planes, rows, columns] in [0, 2^18), a plane for each picture of the GOP that has
it;
`pictures`: uint8 RGB [frames, 3, H, W].
"""


@dataclass(frozen=True)
class Wanted:
    """What samples are to hold. A clip has `frames` pictures, those of the whole GOP for None.

    What is left at the end of a GOP is too short for a clip, and not used. `streams` 1 goes without the
    second stream.
    """

    kind: Kind = "tokens"
    frames: int | None = None
    streams: int | None = None
    model: str | os.PathLike[str] | None = None
    device: str = "cpu"

    def count(self, pictures: int) -> int:
        """How many samples a GOP of so many pictures has."""
        return 1 if self.kind == "tokens" or self.frames is None else pictures // self.frames

    def open(self, path: str) -> LfqFile:
        """The file, open."""
        return open_file(path, model=self.model, device=self.device)


def list_files(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths of a list, of a folder (all .lfq in and below it) or of a pattern. Raises `InputVideoError`."""
    if isinstance(files, (str, os.PathLike)):
        given = os.fspath(files)
        pattern = os.path.join(glob.escape(given), "**", "*.lfq") if os.path.isdir(given) else given
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise InputVideoError(f"{given}: there is no .lfq file")
        return found
    return [os.fspath(path) for path in files]


@dataclass(frozen=True)
class Gop:
    """A GOP of a file: its number, where it begins, and how many pictures it has."""

    path: str
    number: int
    entry: IndexEntry
    pictures: int


def gops_of(file: LfqFile, path: str) -> list[Gop]:
    """The GOPs of a file, from its index. Raises `BitstreamError`."""
    index = file.index()
    ends = [*(entry.first_frame for entry in index.entries[1:]), index.frames]
    pairs = enumerate(zip(index.entries, ends, strict=True))
    return [Gop(path, number, entry, end - entry.first_frame) for number, (entry, end) in pairs]


def samples_of(file: LfqFile, gop: Gop, wanted: Wanted) -> Iterator[Sample]:
    """The samples of a GOP. Raises `BitstreamError`, `WeightsError`."""
    chunks = _chunks(file, gop)
    first = gop.entry.first_frame
    place = {"path": gop.path, "gop": gop.number}
    if wanted.kind == "tokens":
        yield {**place, "first_frame": first, "tokens": _tokens(file, chunks, wanted.streams)}
        return
    pictures = _pictures(file, chunks, wanted)
    size = wanted.frames or len(pictures)
    for begin in range(0, len(pictures) - size + 1, size):
        clip = np.ascontiguousarray(pictures[begin : begin + size].transpose(0, 3, 1, 2))
        yield {**place, "first_frame": first + begin, "pictures": clip}


def _chunks(file: LfqFile, gop: Gop) -> list[Chunk]:
    """The chunks of a GOP; what is behind it is not looked at, and may be damaged."""
    reader = file.reader()
    chunks: list[Chunk] = []
    missing = gop.pictures
    with reading(file.name):
        reader.seek_gop(gop.entry)
        while missing > 0 and (unit := reader.next_unit()) is not None:
            if isinstance(unit, Chunk):
                chunks.append(unit)
                missing -= unit.head.valid
    if missing:
        raise InvalidField(f"{file.name}: GOP {gop.number} has other pictures than the index says")
    return chunks


def _tokens(file: LfqFile, chunks: list[Chunk], streams: int | None) -> dict[str, NDArray[np.int32]]:
    decoder = file.token_decoder()
    planes: dict[str, list[NDArray[np.int32]]] = {}
    with reading(file.name):
        for chunk in chunks:
            groups = decoder.decode(chunk, streams)
            for names, layers in zip(decoder.names(chunk.head), groups, strict=True):
                for name, layer in zip(names, layers, strict=False):
                    planes.setdefault(name, []).append(layer)
    return {name: np.concatenate(parts) for name, parts in planes.items()}


def _pictures(file: LfqFile, chunks: list[Chunk], wanted: Wanted) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3]."""
    job = DecodeGop(file.header, file.model(), file.prior(), wanted.streams, wanted.device)
    with reading(file.name):
        return np.concatenate(job.run(chunks))


def check_wanted(wanted: Wanted) -> None:
    """Raise `ArgumentValueError` for a kind or a length that does not exist."""
    if wanted.kind not in ("tokens", "pictures"):
        raise ArgumentValueError("kind", f"must be tokens or pictures, not {wanted.kind!r}")
    if wanted.frames is not None and (wanted.kind == "tokens" or wanted.frames < 1):
        raise ArgumentValueError("frames", "is for pictures, and at least 1")
