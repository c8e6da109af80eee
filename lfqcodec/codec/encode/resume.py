"""Encoding that can be interrupted: the part of a file that is there, and what it takes to go on with it.

OUT.part is the beginning of the file. OUT.part.jsonl says how it is made: in its first line the options and
the models, then a line for every `Checkpoint`, a place at which nothing is under way: the end of a GOP. Both
are kept until the file is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lfqcodec.bitstream import BitstreamReader, BitstreamWriter, Chunk, ChunkHead, FileHeader
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.encode.plan import Plan
from lfqcodec.configuration import from_values
from lfqcodec.errors import BitstreamError, LfqError, OutputError
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.output import check_target, fitting, followed, is_at, lock, put_in_place, replacing
from lfqcodec.scaling import parse_scale
from lfqcodec.timespan import exact_seconds
from lfqcodec.weights.store import Model

PART, JOURNAL = ".part", ".part.jsonl"
_FORMAT = 1
"""To be raised where the encoder changes so that it would go on in another way than it began."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of an encoder between two GOPs.

    `bytes` of the file are written, up to the last chunk; `digest` stands for all pictures and packets in
    them. `rate_control` is its state. `psnr` and `ms_ssim` are those measured since the checkpoint
    before. The others are as in the encoder.
    """

    chunks: int
    bytes: int
    gops: int
    payload_bytes: int
    copied_bytes: int
    begin: int
    end: int
    crf: float
    rate_control: dict[str, Any]
    digest: str
    psnr: list[float]
    ms_ssim: list[float]


def part_of(target: Path) -> Path:
    """Where the part of an unfinished file is kept."""
    return target.with_name(fitting(target.name, len(JOURNAL)) + PART)


def _journal_of(target: Path) -> Path:
    return target.with_name(fitting(target.name, len(JOURNAL)) + JOURNAL)


def recipe(model: Model, options: EncodeOptions, plan: Plan, device: str) -> dict[str, Any]:
    """All that has to be the same for a run to go on with the part that another one left."""
    stats = None if plan.stats is None else [asdict(each) for each in plan.stats]
    values = {
        "format": _FORMAT,
        "model": model.sha256.hex(),
        "prior": None if plan.prior is None else plan.prior.sha256.hex(),
        "device": device,
        "precision": options.precision,
        "crf": plan.crf,
        "bitrate": options.bitrate,
        "stats": stats,
        "gop": options.gop,
        "scene cuts": options.scene_cuts,
        "start": str(exact_seconds(options.start, "start")),
        "duration": str(exact_seconds(options.duration, "duration")),
        "frames": options.frames,
        "effort": options.effort,
        "scale": None if options.scale is None else str(parse_scale(options.scale)),
        "audio": options.audio,
        "psnr": options.measure,
    }
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


class Partial:
    """The part that is there, open and locked, and its journal."""

    def __init__(self, target: Path, file: BinaryIO, wanted: dict[str, Any]) -> None:
        self.path, self.file = part_of(target), file
        self._journal, self._recipe = _journal_of(target), wanted
        before, self.checkpoints = self._read()
        if not os.fstat(file.fileno()).st_size:
            # The journal of a file that was finished: it was about to be removed.
            self.checkpoints = []
        if self.checkpoints:
            self._compare(before)

    def _read(self) -> tuple[dict[str, Any], list[Checkpoint]]:
        """What the journal says, up to a line that was not written to its end."""
        lines: list[Any] = []
        with suppress(OSError, ValueError):
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                lines.append(json.loads(line))
        checkpoints = []
        with suppress(ValueError):
            for values in lines[1:]:
                checkpoints.append(from_values(Checkpoint, values))
        return (lines[0] if lines and isinstance(lines[0], dict) else {}), checkpoints

    def _compare(self, before: dict[str, Any]) -> None:
        for name, value in self._recipe.items():
            if before.get(name) == value:
                continue
            what = f"{name} {before.get(name)}, now it is {value}"
            if name in ("format", "model", "prior", "stats"):
                what = "another version of lfqcodec" if name == "format" else f"another {name}"
            raise LfqError(
                f"{self.path}: was begun with {what}; use what it was begun with, or remove it to start over"
            )

    def begin(self, header: FileHeader) -> BitstreamWriter:
        """A writer that stands behind the last checkpoint, at the start where there is none.

        `checkpoints` are then those that the bytes of the part agree with.
        """
        self.checkpoints = self._checked(header) if self.checkpoints else []
        self.file.seek(0)
        if self.checkpoints:
            written = self.checkpoints[-1].bytes
            writer = BitstreamWriter(self.file, header, after=self._heads(written), written=written)
        else:
            self.file.truncate()
            writer = BitstreamWriter(self.file, header)
        with replacing(self._journal, overwrite=True) as path:
            lines = [self._recipe, *map(asdict, self.checkpoints)]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return writer

    def _checked(self, header: FileHeader) -> list[Checkpoint]:
        """The checkpoints up to the first byte that is missing or wrong."""
        good: list[Checkpoint] = []
        self.file.seek(0)
        try:
            reader = BitstreamReader(self.file)
            if replace(reader.header, frame_count=header.frame_count) != header:
                raise self.other_input()
            waiting = iter(self.checkpoints)
            due = next(waiting, None)
            chunks = 0
            while due is not None:
                unit = reader.next_unit()
                if unit is None:
                    break
                chunks += isinstance(unit, Chunk)
                if unit.head.offset + unit.head.size == due.bytes and chunks == due.chunks:
                    good.append(due)
                    due = next(waiting, None)
        except BitstreamError:
            pass
        return good

    def _heads(self, written: int) -> Iterator[ChunkHead]:
        self.file.seek(0)
        for head in BitstreamReader(self.file).heads():
            if head.offset >= written:
                return
            if isinstance(head, ChunkHead):
                yield head
            if head.offset + head.size == written:
                return

    def other_input(self) -> LfqError:
        """The error for an input that is not the one the part was made from."""
        return LfqError(
            f"{self.path}: was made from another input than this; use the same, or remove it to start over"
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Note a place from which a later run can go on."""
        self.file.flush()
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(asdict(checkpoint)) + "\n")
        self.checkpoints.append(checkpoint)

    def remove(self) -> None:
        """Remove both files."""
        for path in (self._journal, self.path):
            with suppress(OSError):
                path.unlink()

    def finish(self, target: Path, *, overwrite: bool) -> None:
        """Give the complete file its name. Raises `OutputError`; the part then stays."""
        self.file.flush()
        put_in_place(self.path, target, overwrite=overwrite)
        with suppress(OSError):
            self._journal.unlink()


class Trail:
    """Follows an encoder through its input: past what the part holds, and from checkpoint to checkpoint.

    On the way through what is there already, frames are read and packets wait and go as they did before, and
    the digest of it all must come out the same at every checkpoint.
    """

    def __init__(self, part: Partial) -> None:
        self._part, self._digest = part, hashlib.sha256()
        self._known = {each.chunks: each for each in part.checkpoints}
        self._last = max(self._known, default=0)
        self.chunks = 0
        """Chunks whose frames were read."""

    @property
    def passing(self) -> bool:
        """True while the file has the next chunk already."""
        return self.chunks < self._last

    def chunk(self, frames: Sequence[Frame], last_duration: int) -> None:
        """The frames of the next chunk were read."""
        for frame in frames:
            self._digest.update(frame.pts.to_bytes(8, "little", signed=True))
            self._digest.update(np.ascontiguousarray(frame.rgb).data)
        self._digest.update(last_duration.to_bytes(8, "little", signed=True))
        self.chunks += 1

    def packets(self, packets: Sequence[StreamPacket]) -> None:
        """These packets were written, or were there already."""
        for each in packets:
            facts = (each.stream, each.pts, each.dts, each.duration, each.keyframe, len(each.data))
            self._digest.update(repr(facts).encode())
            self._digest.update(each.data)

    def known(self) -> Checkpoint | None:
        """The checkpoint of the part at which its encoder stood here. Raises `LfqError` for another input."""
        found = self._known.get(self.chunks)
        if found is not None and found.digest != self.digest:
            raise self._part.other_input()
        return found

    @property
    def digest(self) -> str:
        """Of all that was read so far."""
        return self._digest.hexdigest()

    def save(self, checkpoint: Checkpoint) -> None:
        """Note that a later run can go on from there."""
        self._part.save(checkpoint)

    def finish(self) -> None:
        """The input has ended. Raises `LfqError` where the part holds more than that."""
        if self.passing:
            raise self._part.other_input()


@contextmanager
def resumable(target: Path, wanted: dict[str, Any], *, overwrite: bool) -> Iterator[Partial]:
    """Open what an interrupted run left of `target`, or begin; at the end it gets its name.

    On any error it is kept, if there is a checkpoint in it. Raises `LfqError` where it was begun with other
    options or models than `wanted`, `OutputError` where another run is at work on it.
    """
    target = followed(target)
    check_target(target, overwrite=overwrite)
    path = part_of(target)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(handle, "r+b") as file:
            if lock(handle) is False or not is_at(handle, path):
                raise OutputError(f"{path}: another run is at work on it")
            partial = Partial(target, file, wanted)
            try:
                yield partial
                partial.finish(target, overwrite=overwrite)
            except BaseException:
                if not partial.checkpoints:
                    partial.remove()
                raise
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}") from error


def unused_part(target: Path) -> tuple[str, ...]:
    """A note where a run that was resumable has left a part of `target`, which this run did not use."""
    path = part_of(followed(target))
    if not path.exists():
        return ()
    return (f"{path} is of another run, with --resume: go on from it with that, or remove it",)
