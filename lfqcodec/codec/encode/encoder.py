"""Encoding: video in, .lfq out, one chunk in memory at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from lfqcodec import arguments
from lfqcodec.bitstream import BitstreamWriter
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.encode.parallel import ChunkJob, CodedGop, EncodeGop
from lfqcodec.codec.encode.plan import (
    gop_encoder,
    make_header,
    make_plan,
    missed_bitrate,
    rate_control,
)
from lfqcodec.codec.encode.rate.stats import save_stats
from lfqcodec.codec.encode.resume import Partial, Trail, recipe, resumable, unused_part
from lfqcodec.codec.encode.session import Coder, ParallelCoder, SerialCoder, run
from lfqcodec.codec.encode.sink import ChunkSink
from lfqcodec.codec.encode.source.lookahead import Lookahead
from lfqcodec.codec.models import device_name
from lfqcodec.codec.pipeline import room
from lfqcodec.codec.progress import ProgressCallback, ProgressMeter, ignore
from lfqcodec.codec.workers import Team, Workers
from lfqcodec.errors import ArgumentValueError, BitstreamError, InputVideoError
from lfqcodec.machine import fitting_workers
from lfqcodec.output import open_output, refuse_other_format, refuse_same_file, same_file
from lfqcodec.scaling import parse_scale
from lfqcodec.video import Pictures, VideoReader, open_video
from lfqcodec.weights.store import resolve_model

Source = str | os.PathLike[str] | BinaryIO | Iterable[Any]
Gather = Callable[[EncodeGop, Callable[[int], None]], Team[list[ChunkJob], CodedGop]]
"""Gives whoever codes the GOPs; its second argument hears of pictures that were coded."""


@dataclass(frozen=True)
class EncodeReport:
    """What came of it. `bpp` is bits of the whole file per source pixel, `bitrate` in bits per second.

    `payload_bytes` are the entropy-coded tokens, `copied_bytes` the units of sound and subtitles; the rest
    of `file_bytes` is container. `seconds` is the length of the video, `elapsed` that of the work. `crf` is
    the average over all pictures.
    """

    frames: int
    width: int
    height: int
    seconds: float
    chunks: int
    gops: int
    model: str
    profile: str
    crf: float
    file_bytes: int
    payload_bytes: int
    copied_bytes: int
    bpp: float
    video_bpp: float
    bitrate: float
    elapsed: float
    psnr: float | None
    ms_ssim: float | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def encode(
    source: Source,
    dest: str | os.PathLike[str] | BinaryIO,
    options: EncodeOptions | None = None,
    *,
    progress: ProgressCallback = ignore,
    gather: Gather | None = None,
) -> EncodeReport:
    """Encode a video or still image into a .lfq file.

    `source`: path, "-" (a stream on standard input), binary file object, or pictures in memory: an array
    uint8 [T, H, W, 3], a tensor uint8 [T, 3, H, W], or anything that gives arrays [H, W, 3] or tensors
    [3, H, W] one after the other; RGB, `frame_rate` of them a second. `dest`: path, "-" (standard output) or
    binary file object; a path is written under a temporary name and renamed when complete.
    With `resume` that name is `dest` with ".part" behind it, and what a run that ended early has left there
    is kept: the next one, with the same input and options, goes on from its last complete GOP, and makes the
    same file. `gather` brings workers of the caller's own for a video at one crf that has several GOPs by its
    length; they make the same bytes.
    Raises `ArgumentError`, `InputVideoError`, `OutputError`, `WeightsError` or `LfqError`.
    """
    options = options or EncodeOptions()
    given = _readable(source, options)
    arguments.dest("dest", dest)
    began = time.perf_counter()
    model = resolve_model(options.model)
    plan = make_plan(model, options)
    device = device_name(options.device)
    refuse_same_file(source, dest)
    refuse_other_format(dest)
    if same_file(options.stats, source) or same_file(options.stats, dest):
        raise ArgumentValueError("stats", "must be a file of its own, not the input or the output")
    part: Partial | None = None
    with ExitStack() as stack:
        if options.resume:
            wanted = recipe(model, options, plan, device)
            part = stack.enter_context(resumable(_path(dest), wanted, overwrite=options.overwrite))
        else:
            file = stack.enter_context(open_output(dest, overwrite=options.overwrite))
        stack.enter_context(_storing())
        reader = stack.enter_context(
            open_video(
                given,
                start=options.start,
                duration=options.duration,
                max_frames=options.frames,
                scale=None if options.scale is None else parse_scale(options.scale),
                copy_streams=options.audio,
            )
        )
        header = make_header(reader.info, model, options, plan)
        writer = BitstreamWriter(file, header) if part is None else part.begin(header)
        kept = writer.frames
        trail = None if part is None else Trail(part)
        info = reader.info
        meter = ProgressMeter(progress, reader.estimated_frames, done=kept)
        sink = ChunkSink(writer, reader, trail, meter)
        coder: Coder
        workers = options.workers or _fitting_workers(options, reader, given, device)
        if workers > 1:
            gather = partial(_workers, workers)
        elif (reader.estimated_frames or 0) <= options.gop:
            gather = None
        if gather is not None and plan.crf is not None:
            setup = EncodeGop(model, plan, device, options.precision)
            coder = ParallelCoder(stack.enter_context(closing(gather(setup, meter.coded))), plan.crf, sink)
        else:
            encoder = gop_encoder(model, plan, device, options.precision)
            # Only here: who gives the work to others does without torch.
            from lfqcodec.codec.device import one_thread

            stack.enter_context(one_thread())
            spent = 8 * writer.bytes_written
            control = rate_control(options, plan, info, reader.estimated_frames, spent)
            coder = SerialCoder(encoder, plan, control, sink, meter.coded)
        ahead = Lookahead(
            reader,
            options.gop,
            trail,
            scene_cuts=options.scene_cuts,
            on_read=meter.read,
            waiting=room(given, info.width, info.height),
        )
        run(ahead, coder, sink, trail)
        writer.close()
    if options.passes == 1 and options.stats is not None:
        save_stats(options.stats, sink.stats)
    totals = sink.totals
    pixels = writer.frames * info.width * info.height
    seconds = float(totals.end * info.time_base)
    bits = 8 * writer.bytes_written
    video_bits = bits - 8 * totals.copied_bytes
    went_on = (f"went on from frame {kept}: the frames before it were there already",) if kept else ()
    left = unused_part(_path(dest)) if part is None and _has_name(dest) else ()
    lost = () if reader.tally is None else ahead.ledger.differences(reader.tally, writer.frames)
    notes = (*went_on, *left, *reader.notes, *lost, *missed_bitrate(options.bitrate, video_bits / seconds))
    return EncodeReport(
        frames=writer.frames,
        width=info.width,
        height=info.height,
        seconds=seconds,
        chunks=writer.chunks,
        gops=totals.gops,
        model=model.name,
        profile="static" if plan.prior is None else "exact",
        crf=totals.crf / writer.frames,
        file_bytes=writer.bytes_written,
        payload_bytes=totals.payload_bytes,
        copied_bytes=totals.copied_bytes,
        bpp=bits / pixels,
        video_bpp=video_bits / pixels,
        bitrate=bits / seconds,
        elapsed=time.perf_counter() - began,
        psnr=sink.quality.psnr,
        ms_ssim=sink.quality.ms_ssim,
        notes=notes,
    )


def _fitting_workers(options: EncodeOptions, reader: VideoReader, given: object, device: str) -> int:
    """How many workers an encoder takes that was not told."""
    info, pictures = reader.info, reader.estimated_frames
    steered = options.bitrate is not None
    if steered or device != "cpu" or not pictures or not room(given, info.width, info.height):
        return 1
    return fitting_workers(info.width * info.height, pictures, options.gop, -(-pictures // options.gop))


def _workers(
    count: int, setup: EncodeGop, on_coded: Callable[[int], None]
) -> Workers[list[ChunkJob], CodedGop]:
    return Workers(setup, count, on_coded)


def _readable(source: Source, options: EncodeOptions) -> str | os.PathLike[str] | BinaryIO | Pictures:
    """What `open_video` takes: pictures in memory get their rate."""
    if hasattr(source, "__iter__") and not isinstance(source, str) and not hasattr(source, "read"):
        rate = Fraction(options.frame_rate or 25).limit_denominator(100_000)
        return Pictures(source, rate)  # type: ignore[arg-type]
    arguments.source("source", source, more=", frames")
    if options.frame_rate is not None:
        raise ArgumentValueError("frame_rate", "is for arrays and tensors; a file has its own")
    return source  # type: ignore[return-value]


def _has_name(dest: str | os.PathLike[str] | BinaryIO) -> bool:
    return isinstance(dest, (str, os.PathLike)) and os.fspath(dest) != "-"


def _path(dest: str | os.PathLike[str] | BinaryIO) -> Path:
    if not isinstance(dest, (str, os.PathLike)) or os.fspath(dest) == "-":
        raise ArgumentValueError("resume", "needs an output file with a name")
    return Path(dest)


@contextmanager
def _storing() -> Iterator[None]:
    """What the container cannot hold (a picture too large, say) is the input's fault, not that of a file."""
    try:
        yield
    except BitstreamError as error:
        raise InputVideoError(f"the input cannot be stored as .lfq: {error.message}") from error
