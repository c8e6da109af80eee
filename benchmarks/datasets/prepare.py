"""Lossless copies of the sources: FFV1, 8-bit 4:2:0, even sides, first frames only, scaled if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.video.reformatter import Interpolation

from benchmarks.codecs.anchors import add_video
from benchmarks.datasets.find import Expected, Origin
from benchmarks.metrics import file_sha256
from benchmarks.results import Sequence
from lfqcodec.errors import InputVideoError
from lfqcodec.output import replacing

SOURCES = "sources"
_FORMAT = "yuv420p"


@dataclass(frozen=True)
class Preparation:
    """What is done to every source: scale to (width, height), and how many of the first frames are taken."""

    size: tuple[int, int] | None = None
    frames: int | None = None


def prepare(origin: Origin, how: Preparation, folder: Path) -> Sequence:
    """Make the copy `folder`/sources/NAME.mkv, or find that it is there already.

    A note beside it says what it was made from. Raises `InputVideoError` for a video that is missing, cannot
    be read, or is not what the manifest says.
    """
    if origin.path is None:
        raise InputVideoError(f"{origin.name}: not found")
    copy = folder / SOURCES / f"{origin.name}.mkv"
    note = copy.with_suffix(".json")
    try:
        state = origin.path.stat()
    except OSError as error:
        raise InputVideoError(f"{origin.path}: {error.strerror}") from error
    wanted = {"how": [how.size, how.frames], "bytes": state.st_size, "modified": state.st_mtime_ns}
    wanted = json.loads(json.dumps(wanted))
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(note.read_text(encoding="utf-8"))
        sequence = Sequence(**found["sequence"])
        if found["from"] == wanted and file_sha256(copy) == sequence.sha256:
            return sequence
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(copy, overwrite=True) as temporary:
            width, height, frames, rate = _copy(origin, how, temporary)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputVideoError(f"{origin.path}: {error}") from error
    sequence = Sequence(
        name=origin.name,
        width=width,
        height=height,
        frames=frames,
        frame_rate=str(rate),
        file=copy.relative_to(folder).as_posix(),
        sha256=file_sha256(copy),
        origin=origin.path.name,
        origin_sha256=file_sha256(origin.path),
    )
    with replacing(note, overwrite=True) as temporary:
        temporary.write_text(json.dumps({"from": wanted, "sequence": asdict(sequence)}, indent=1) + "\n")
    return sequence


def _open(path: Path, expected: Expected | None) -> Any:
    if path.suffix.lower() != ".yuv":
        return av.open(str(path))
    assert expected is not None
    options = {
        "video_size": f"{expected.width}x{expected.height}",
        "pixel_format": _FORMAT,
        "framerate": str(expected.frame_rate),
    }
    return av.open(str(path), format="rawvideo", options=options)


def _frames(path: Path, media: Any, expected: Expected | None) -> Iterator[Any]:
    """All pictures, checked against the manifest: their size, and their number once all have come."""
    count = 0
    for frame in media.decode(media.streams.video[0]):
        if expected is not None and (frame.width, frame.height) != (expected.width, expected.height):
            size = f"{expected.width}x{expected.height}"
            raise InputVideoError(f"{path}: has pictures of {frame.width}x{frame.height}, not {size}")
        count += 1
        yield frame
    if expected is not None and count != expected.frames:
        raise InputVideoError(f"{path}: has {count} frames, not {expected.frames}")


def _copy(origin: Origin, how: Preparation, dest: Path) -> tuple[int, int, int, Fraction]:
    assert origin.path is not None
    # Without this, Matroska files have random identifiers: the same source would have another hash each time.
    exact = {"fflags": "+bitexact"}
    with (
        _open(origin.path, origin.expected) as media,
        av.open(str(dest), "w", format="matroska", options=exact) as output,
    ):
        if not media.streams.video:
            raise InputVideoError(f"{origin.path}: is not a video")
        media.streams.video[0].thread_type = "AUTO"
        rate = Fraction(media.streams.video[0].average_rate or 25).limit_denominator(1001)
        stream, written = None, 0
        for frame in _frames(origin.path, media, origin.expected):
            if written == how.frames:
                # With a manifest the rest is read too, to count it.
                if origin.expected is None:
                    break
                continue
            picture = _even(frame, how.size)
            if stream is None:
                stream = add_video(output, "ffv1", picture, rate, {"level": "3", "slices": "4"})
            picture.pts, picture.time_base, picture.pict_type = written, 1 / rate, 0
            output.mux(stream.encode(picture))
            written += 1
        if stream is None:
            raise InputVideoError(f"{origin.path}: has no pictures")
        output.mux(stream.encode(None))
        return stream.width, stream.height, written, rate


def _even(frame: Any, size: tuple[int, int] | None) -> Any:
    """A picture as 8-bit 4:2:0 of the wanted size; an odd side, which x265 cannot code, loses a line."""
    width, height = size or (frame.width, frame.height)
    if size is None and frame.format.name == _FORMAT and width % 2 == height % 2 == 0:
        return frame
    if width % 2 or height % 2:
        whole = frame.reformat(width, height, "yuv444p", interpolation=Interpolation.BICUBIC)
        pixels = whole.to_ndarray()[:, : height - height % 2, : width - width % 2]
        cut = av.VideoFrame.from_ndarray(pixels.copy(), "yuv444p")
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(cut, name, getattr(frame, name))
        frame, width, height = cut, cut.width, cut.height
    return frame.reformat(width, height, _FORMAT, interpolation=Interpolation.BICUBIC)
