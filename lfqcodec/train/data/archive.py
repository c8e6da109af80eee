"""Writing `.lfqpack` archives (see `sources`): clips as H.264, pictures as JPEG. Needs PyAV."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lfqcodec.errors import InputVideoError, LfqError, OutputError
from lfqcodec.media import Colour, Frame, VideoInfo
from lfqcodec.output import check_target, replacing
from lfqcodec.train.data.decode import bounded, decode_frames
from lfqcodec.train.data.sources import ARCHIVE_SUFFIX, MAX_MEMBER, Item, open_items
from lfqcodec.video import VideoWriter, open_video, open_writer
from lfqcodec.video.read.inputs import open_source
from lfqcodec.video.read.source import MediaSource
from lfqcodec.video.write.muxed import MuxedWriter

log = logging.getLogger(__name__)

# What OpenCV takes every video for.
_COLOUR = Colour(primaries=6, transfer=6, matrix=6, full_range=False)
# So that the zip needs no extension of its format for its size or the number of its members.
_MAX_BYTES, _MAX_MEMBERS = 4_000_000_000, 65_000
# Bytes of a zip's end, and of an entry besides its data and twice its name.
_DIRECTORY_END, _ENTRY = 22, 76


@dataclass(frozen=True)
class PackSettings:
    """How members are made: pixels of the longer side at most, frames of a clip at most, x264's crf.

    The archive stays within `max_bytes`. Raises `LfqError` for a value out of range.
    """

    longest: int = 640
    max_frames: int = 600
    crf: float = 18.0
    max_bytes: int | None = None

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
    written: tuple[Item, ...]
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
    limit = min(_MAX_BYTES, settings.max_bytes or _MAX_BYTES)
    written: list[Item] = []
    unreadable: list[str] = []
    left_out: list[str] = []
    size = _DIRECTORY_END
    try:
        with ExitStack() as stack:
            items = list(in_turn(open_items(media, stack)))
            temporary = stack.enter_context(replacing(out, overwrite=overwrite))
            archive = stack.enter_context(zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED))
            for number, item in enumerate(tqdm(items, desc="packing", unit="file")):
                with item.file() as path:
                    try:
                        suffix, data = _make(item, path, settings)
                    except InputVideoError as error:
                        log.warning("left out: %s", str(error).replace(str(path), item.name))
                        unreadable.append(item.name)
                        continue
                name = f"{len(written):06d}-{Path(item.name).stem}{suffix}"
                size += _ENTRY + 2 * len(name.encode()) + len(data)
                if size > limit or len(written) == _MAX_MEMBERS:
                    left_out = [other.name for other in items[number:]]
                    break
                archive.writestr(zipfile.ZipInfo(name), data)
                written.append(item)
            if not written and left_out:
                raise LfqError(f"{out}: {limit} bytes are too few for {left_out[0]}, the first member")
            if not written:
                raise InputVideoError("none of the training files could be read")
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or error}") from error
    return PackReport(out, out.stat().st_size, tuple(written), tuple(left_out), tuple(unreadable))


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


def _make(item: Item, path: Path, settings: PackSettings) -> tuple[str, bytes]:
    """Suffix and bytes of the member that `path` becomes. Raises `InputVideoError` where it is damaged."""
    if _can_stay(item, path, settings):
        return path.suffix.lower(), path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="lfqcodec-member-") as folder:
        made = Path(folder) / f"made{'.jpg' if item.is_image else '.mp4'}"
        _encode(item, path, made, settings)
        return made.suffix, made.read_bytes()


def _can_stay(item: Item, path: Path, settings: PackSettings) -> bool:
    """Whether a file is of the right kind and size as it is, and can be decoded to its end."""
    plain = path.suffix.lower() in (".jpg", ".jpeg") if item.is_image else _is_plain_h264(path)
    if not plain or path.stat().st_size > MAX_MEMBER:
        return False
    with closing(decode_frames(path)) as frames:
        for number, frame in enumerate(frames):
            if max(frame.shape) > settings.longest or number == settings.max_frames:
                return False
    return True


def _is_plain_h264(path: Path) -> bool:
    """Whether a file holds one stream of H.264 in 8-bit 4:2:0, and nothing else."""
    with closing(open_source(path)) as source:
        if not isinstance(source, MediaSource) or source.streams:
            return False
        context = source.video.codec_context
        return (context.name, context.pix_fmt) == ("h264", "yuv420p")


def _encode(item: Item, path: Path, made: Path, settings: PackSettings) -> None:
    with ExitStack() as stack:
        most = 1 if item.is_image else settings.max_frames
        reader = stack.enter_context(open_video(str(path), copy_streams=False, max_frames=most))
        writer: VideoWriter | None = None
        for event in reader.events():
            if not isinstance(event, Frame):
                continue
            rgb = bounded(event.rgb, settings.longest)
            if not item.is_image:  # even, as 4:2:0 in H.264 has it
                rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2].copy()
            if writer is None:
                height, width = rgb.shape[:2]
                if min(height, width) < 1:
                    raise InputVideoError(f"{item.name}: is too small")
                info = replace(reader.info, width=width, height=height, colour=_COLOUR, sar=Fraction(1))
                info = replace(info, streams=(), frame_count=None)
                clip = not item.is_image
                writer = _ClipWriter(made, info, settings.crf) if clip else open_writer(made, info)
                stack.enter_context(writer)
            writer.write(Frame(event.pts, rgb))
        if writer is None:
            raise InputVideoError(f"{item.name}: has no frames")


class _ClipWriter(MuxedWriter):
    """MP4 with H.264 of a chosen crf, the same bytes on every machine."""

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
