"""Decoding: .lfq in, video or pictures out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, BinaryIO

from lfqcodec import arguments
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.file import LfqFile, open_file
from lfqcodec.codec.decode.options import DecodeOptions
from lfqcodec.codec.models import device_name
from lfqcodec.codec.pipeline import behind, room
from lfqcodec.codec.progress import Progress, ProgressCallback, ignore
from lfqcodec.codec.repair.damage import DETAIL, END, FRAMES, Loss
from lfqcodec.errors import BitstreamError, DamageConcealed
from lfqcodec.machine import fitting_workers
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.output import refuse_busy, refuse_same_file
from lfqcodec.video import VideoWriter, open_writer


@dataclass(frozen=True)
class DecodeReport:
    """What came of it. `seconds` is the length of what was decoded, `elapsed` that of the work.

    `damage` lists the parts of the file that could not be read: `lost_frames` were concealed by others,
    `degraded_frames` are shown with fewer streams than were coded, `missing_frames` are those that a file
    which was cut off should have had behind its end.
    """

    frames: int
    width: int
    height: int
    seconds: float
    elapsed: float
    notes: tuple[str, ...]
    lost_frames: int = 0
    degraded_frames: int = 0
    missing_frames: int = 0
    damage: tuple[Loss, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def _writing(writer: VideoWriter) -> Callable[[Frame | StreamPacket], None]:
    return lambda event: writer.write(event) if isinstance(event, Frame) else writer.write_packet(event)


def _fitting_workers(file: LfqFile, options: DecodeOptions) -> int:
    """How many workers a decoder of a whole file takes that was not told."""
    if not file.seekable or options.start is not None or options.duration is not None:
        return 1
    if device_name(options.device) != "cpu":
        return 1
    with suppress(BitstreamError):
        entries, header = file.index().entries, file.header
        # How long the last GOP is, the index does not say.
        begins = [entry.first_frame for entry in entries]
        longest = max((b - a for a, b in pairwise(begins)), default=0)
        if longest:
            pixels, pictures = header.width * header.height, begins[-1] + longest
            return fitting_workers(pixels, pictures, longest, len(entries))
    return 1


def decode(
    source: str | os.PathLike[str] | BinaryIO,
    dest: str | os.PathLike[str] | BinaryIO,
    options: DecodeOptions | None = None,
    *,
    progress: ProgressCallback = ignore,
) -> DecodeReport:
    """Decode a .lfq file to a video, a folder of pictures or a pipe (formats: `lfqcodec.video.open_writer`).

    `source`: path, "-" (standard input) or binary file object. Raises `InputVideoError` (no file, or no frame
    in the time asked for), `BitstreamError`, `WeightsError`, `NumericsMismatch`, `OutputError`, or
    `ArgumentError`; then no output is left behind.

    A damaged file is decoded past its damage: every frame that can be decoded is right, lost ones are held
    and faded, times and sound stay in place (docs/damage.md). The output is then complete, and the report
    comes as a `DamageConcealed` error, with `best_effort` as usual.
    """
    options = options or DecodeOptions()
    arguments.source("source", source)
    arguments.dest("dest", dest)
    began = time.perf_counter()
    refuse_same_file(source, dest)
    refuse_busy(dest, overwrite=options.overwrite)
    with open_file(
        source,
        model=options.model,
        device=options.device,
        precision=options.precision,
        limits=options.limits,
    ) as file:
        info = file.info
        # Missing weights are found out before anything is written.
        file.model()
        file.prior()
        cut = Cut(file.header, options.start, options.duration)
        if options.start is not None or options.duration is not None:
            start = cut.span.start or Fraction(0)
            chapters = cut.span.chapters(info.metadata.chapters, start)
            info = replace(info, frame_count=None, metadata=replace(info.metadata, chapters=chapters))
        damage: list[Loss] = []
        with open_writer(dest, info, overwrite=options.overwrite, audio_codec=options.audio_codec) as writer:
            done, waiting = 0, room(dest, info.width, info.height)
            workers = options.workers or (_fitting_workers(file, options) if waiting else 1)
            events = file.events(cut, streams=options.streams, damage=damage, workers=workers)
            with closing(events), behind(_writing(writer), waiting) as write:
                for event in events:
                    write(event)
                    if isinstance(event, Frame):
                        done += 1
                        seconds = float(cut.seconds)
                        progress(Progress(done, info.frame_count, 0, seconds, read=done, coded=done))
        name = file.name
    lost, poor, missing = (
        sum(loss.frames for loss in damage if loss.kind == kind) for kind in (FRAMES, DETAIL, END)
    )
    report = DecodeReport(
        frames=writer.frames,
        width=info.width,
        height=info.height,
        seconds=float(cut.seconds),
        elapsed=time.perf_counter() - began,
        notes=tuple(writer.notes),
        lost_frames=lost,
        degraded_frames=poor,
        missing_frames=missing,
        damage=tuple(damage),
    )
    if damage and not options.best_effort:
        what = f"{lost} frame{'s' if lost != 1 else ''} lost and concealed" if lost else "no frame lost"
        if missing:
            what = f"{what}, " if lost else ""
            what += f"{missing} frame{'s' if missing != 1 else ''} missing at the end"
        if poor:
            what += f", {poor} with less detail"
        raise DamageConcealed(f"{name}: is damaged, {what}; with --best-effort that is no error", report)
    return report
