"""Writing `.lfqpack` archives (see `archive`): clips as H.264, pictures as JPEG. Needs PyAV."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lfqcodec.errors import InputVideoError, LfqError, OutputError
from lfqcodec.media import Colour, Frame, VideoInfo
from lfqcodec.output import TEMPORARY_SUFFIX, check_target, replacing
from lfqcodec.train.archive import (
    ARCHIVE_SUFFIX,
    FORMAT,
    LOCAL_HEADER,
    MANIFEST,
    MAX_MEMBER,
    VERSION,
    Member,
)
from lfqcodec.train.decode import bounded, decode_frames
from lfqcodec.train.sources import Item, open_items
from lfqcodec.video import VideoWriter, open_video, open_writer
from lfqcodec.video.inputs import open_source
from lfqcodec.video.muxed import MuxedWriter
from lfqcodec.video.source import MediaSource

log = logging.getLogger(__name__)

# What OpenCV takes every video for.
_COLOUR = Colour(primaries=6, transfer=6, matrix=6, full_range=False)
_DIRECTORY_ENTRY, _DIRECTORY_END = 46, 22
_WIDEST = 10**15  # an offset of as many digits as any can have
_MAX_MEMBERS = 65_000  # so that the zip needs no extension of its format for their number
_MAX_BYTES = 4_000_000_000  # nor for its size


@dataclass(frozen=True)
class PackSettings:
    """How members are made: pixels of the longer side at most, frames of a clip at most, x264's crf.

    With `reencode` H.264 clips and JPEG pictures that need no change are encoded again all the same. The
    archive stays within `max_bytes`. Raises `LfqError` for a value out of range.
    """

    longest: int = 640
    max_frames: int = 600
    crf: float = 18.0
    max_bytes: int | None = None
    reencode: bool = False

    def __post_init__(self) -> None:
        if self.longest < 2 or self.max_frames < 1:
            raise LfqError("members need at least one frame of 2x2 pixels")
        if not 0 <= self.crf <= 51:
            raise LfqError(f"crf is {self.crf}; it must be between 0 and 51")


@dataclass(frozen=True)
class PackReport:
    """What was written. `left_out` names what did not fit, `unreadable` what could not be decoded."""

    path: Path
    size: int
    sha256: str
    members: tuple[Member, ...]
    left_out: tuple[str, ...]
    unreadable: tuple[str, ...]


def write_archive(
    media: Iterable[Path], out: Path, settings: PackSettings, *, overwrite: bool = False
) -> PackReport:
    """Write files, and members of other archives, into the archive `out`.

    Members are taken from all sources in turn, in an order that depends on names alone; the first that would
    take the file over `settings.max_bytes` ends the archive, and it and all after it are left out. Files that
    cannot be decoded are reported and left out.
    Raises `InputVideoError` where nothing can be read or an archive is damaged, `OutputError` where `out`
    cannot be written, `LfqError` where not even one member fits; nothing is left under `out` then.
    """
    if out.suffix != ARCHIVE_SUFFIX:
        raise LfqError(f"{out}: the name of an archive must end in {ARCHIVE_SUFFIX}")
    check_target(out, overwrite=overwrite)
    try:
        return _write_archive(media, out, settings, overwrite)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or error}") from error


def _write_archive(media: Iterable[Path], out: Path, settings: PackSettings, overwrite: bool) -> PackReport:
    head: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "longest": settings.longest,
        "max_frames": settings.max_frames,
        "crf": settings.crf,
    }
    limit = min(_MAX_BYTES, settings.max_bytes or _MAX_BYTES)
    members: list[Member] = []
    unreadable: list[str] = []
    left_out: list[str] = []
    size = _DIRECTORY_END + _overhead(MANIFEST) + len(_manifest(head, []))
    with ExitStack() as stack:
        items = list(in_turn(open_items(media, stack)))
        prefix = f".{out.stem[:40]}{TEMPORARY_SUFFIX}-"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=out.parent)))
        for number, item in enumerate(tqdm(items, desc="packing", unit="file")):
            stem = folder / f"{len(members):06d}"
            with item.file() as path:
                try:
                    made = _make(item, path, stem, settings)
                except InputVideoError as error:
                    log.warning("left out: %s", str(error).replace(str(path), item.name))
                    unreadable.append(item.name)
                    continue
            member = _describe(item, made)
            more = _overhead(member.file) + member.size + len(_row(member)) + len(",\n")
            if size + more > limit or len(members) == _MAX_MEMBERS:
                left_out = [other.name for other in items[number:]]
                break
            size += more
            members.append(member)
        if not members and left_out:
            raise LfqError(f"{out}: {limit} bytes are too few for {left_out[0]}, the first member")
        if not members:
            raise InputVideoError("none of the training files could be read")
        with replacing(out, overwrite=overwrite) as temporary:
            members = _write_zip(temporary, head, members, folder)
            written = temporary.stat().st_size
            with temporary.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    assert written <= size <= limit
    return PackReport(out, written, sha256, tuple(members), tuple(left_out), tuple(unreadable))


def in_turn(items: Iterable[Item]) -> Iterator[Item]:
    """One item of each source, then a second one of each, and so on; depends on names, not on the order."""
    sources: dict[tuple[bool, str], list[Item]] = {}
    for item in items:
        sources.setdefault((item.is_image, item.source), []).append(item)
    order = sorted(sources, key=lambda key: (hashlib.sha256(key[1].encode()).digest(), key))
    for key in order:
        sources[key].sort(key=lambda item: (item.name, str(item.path)))
    for turn in range(max(map(len, sources.values()), default=0)):
        yield from (sources[key][turn] for key in order if turn < len(sources[key]))


@dataclass(frozen=True)
class _Made:
    path: Path
    frames: int
    height: int
    width: int
    copied: bool


def _make(item: Item, path: Path, stem: Path, settings: PackSettings) -> _Made:
    """Make the file of a member. Raises `InputVideoError` where `path` cannot be decoded."""
    if path.stat().st_size <= MAX_MEMBER and not settings.reencode:
        copied = _copy(item, path, stem, settings)
        if copied is not None:
            return copied
    made = stem.with_suffix(".jpg" if item.is_image else ".mp4")
    count = 0
    with ExitStack() as stack:
        most = 1 if item.is_image else settings.max_frames
        reader = stack.enter_context(open_video(str(path), copy_streams=False, max_frames=most))
        writer: VideoWriter | None = None
        height = width = 0
        for event in reader.events():
            if not isinstance(event, Frame):
                continue
            rgb = _fitting(event.rgb, settings.longest, even=not item.is_image)
            if writer is None:
                height, width = rgb.shape[:2]
                if min(height, width) < 1:
                    raise InputVideoError(f"{item.name}: is too small")
                writer = _writer(made, replace(reader.info, width=width, height=height), settings.crf)
                stack.enter_context(writer)
            writer.write(Frame(event.pts, rgb))
            count += 1
        if writer is None:
            raise InputVideoError(f"{item.name}: has no frames")
    return _Made(made, count, height, width, False)


def _fitting(rgb: NDArray[np.uint8], longest: int, *, even: bool) -> NDArray[np.uint8]:
    rgb = bounded(rgb, longest)
    if even:  # as 4:2:0 in H.264 has it
        rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
    return np.ascontiguousarray(rgb)


def _copy(item: Item, path: Path, stem: Path, settings: PackSettings) -> _Made | None:
    """Take a file over as it is, if it is of the right kind and size and can be decoded to its end."""
    suffix = path.suffix.lower()
    if item.is_image:
        wanted = suffix in (".jpg", ".jpeg")
    else:
        wanted = _is_plain_h264(path)
    if not wanted:
        return None
    count, shape = 0, (0, 0, 3)
    with closing(decode_frames(path)) as frames:
        for frame in frames:
            if not count:
                shape = frame.shape
            count += 1
            if max(shape) > settings.longest or count > settings.max_frames:
                return None
    made = stem.with_suffix(suffix)
    made.write_bytes(path.read_bytes())
    return _Made(made, count, shape[0], shape[1], True)


def _is_plain_h264(path: Path) -> bool:
    """Whether a file holds one stream of H.264 in 8-bit 4:2:0, and nothing else."""
    source = open_source(path)
    try:
        if not isinstance(source, MediaSource) or source.streams:
            return False
        context = source.video.codec_context
        return (context.name, context.pix_fmt) == ("h264", "yuv420p")
    finally:
        source.close()


class _ClipWriter(MuxedWriter):
    """MP4 with H.264 of a chosen crf."""

    def __init__(self, path: Path, info: VideoInfo, crf: float) -> None:
        super().__init__(path, info, overwrite=True)
        self._crf = crf

    def _add_video(self) -> Any:
        stream = super()._add_video()
        context = stream.codec_context
        context.options = {**context.options, "crf": f"{self._crf:g}"}
        # One thread: what x264 makes with several depends on how many, and now and then on their timing. And
        # no AVX512: with it, the x264 of PyAV 18.1 makes other bytes of the same frames once in a while.
        context.thread_count = 1
        if torch.backends.cpu.get_cpu_capability() == "AVX512":
            context.options = {**context.options, "x264-params": "asm=AVX2"}
        return stream


def _writer(path: Path, info: VideoInfo, crf: float) -> VideoWriter:
    info = replace(info, colour=_COLOUR, sar=type(info.sar)(1), streams=(), frame_count=None)
    if path.suffix == ".mp4":
        return _ClipWriter(path, info, crf)
    return open_writer(path, info, overwrite=True)


def _describe(item: Item, made: _Made) -> Member:
    data = made.path.read_bytes()
    return Member(
        file=made.path.name,
        name=item.name,
        source=item.source,
        kind="image" if item.is_image else "video",
        frames=made.frames,
        height=made.height,
        width=made.width,
        size=len(data),
        offset=_WIDEST,
        sha256=hashlib.sha256(data).hexdigest(),
        copied=made.copied,
    )


def _overhead(file: str) -> int:
    """Bytes that a zip spends on a member besides its data."""
    return LOCAL_HEADER + _DIRECTORY_ENTRY + 2 * len(file)


def _row(member: Member) -> bytes:
    return json.dumps(member.to_json()).encode()


def _manifest(head: dict[str, Any], members: list[Member]) -> bytes:
    """The manifest as JSON, a member to a line."""
    opening = json.dumps(head).encode()[:-1] + b', "members": [\n'
    return opening + b",\n".join(_row(member) for member in members) + b"\n]}\n"


def _write_zip(path: Path, head: dict[str, Any], members: list[Member], folder: Path) -> list[Member]:
    """Write the archive; the members with their offsets."""
    # As long as it would be with the longest offsets, so that the offsets do not depend on themselves.
    length = len(_manifest(head, members))
    offset = LOCAL_HEADER + len(MANIFEST) + length
    placed = []
    for member in members:
        offset += LOCAL_HEADER + len(member.file)
        placed.append(replace(member, offset=offset))
        offset += member.size
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST), _manifest(head, placed).ljust(length))
        for member in placed:
            archive.writestr(zipfile.ZipInfo(member.file), (folder / member.file).read_bytes())
    return placed
