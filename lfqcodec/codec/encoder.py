"""Encoding: video in, .lfq out, one chunk in memory at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.bitstream import BitstreamWriter, Chunk, FileHeader, Profile, max_valid
from lfqcodec.bitstream.limits import MAX_GOP_CHUNKS
from lfqcodec.codec.chunks import ChunkDecoder, ChunkEncoder, pick_device
from lfqcodec.codec.cut import check_range
from lfqcodec.codec.payload import decode_payload, encode_payload
from lfqcodec.codec.progress import Progress, ProgressCallback, ignore
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.errors import BitstreamError, InputVideoError, LfqError
from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.output import open_output, refuse_same_file
from lfqcodec.tokenizer.base import BaseTokenizer
from lfqcodec.video import VideoReader, open_video
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import Model, resolve_model

DEFAULT_GOP = 4


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. `start`, `duration` in seconds; `scale` is (width, height); `gop` counts chunks.

    `stages` None takes all that the model has. `audio` copies sound and subtitles. `measure` decodes what
    was written and reports its quality. Raises `LfqError` for a value out of range.
    """

    model: str | os.PathLike[str] | None = None
    stages: int | None = None
    gop: int = DEFAULT_GOP
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    frames: int | None = None
    scale: tuple[int, int] | None = None
    audio: bool = True
    device: str = "auto"
    overwrite: bool = False
    measure: bool = False

    def __post_init__(self) -> None:
        check_range(self.start, self.duration)
        if not 1 <= self.gop <= MAX_GOP_CHUNKS:
            raise LfqError(f"a GOP has 1 to {MAX_GOP_CHUNKS} chunks, not {self.gop}")
        if self.stages is not None and self.stages < 1:
            raise LfqError(f"stages must be at least 1, not {self.stages}")
        if self.frames is not None and self.frames < 1:
            raise LfqError(f"frames must be at least 1, not {self.frames}")
        if self.scale is not None and min(self.scale) < 1:
            raise LfqError("scale must be a width and a height of at least 1")


@dataclass(frozen=True)
class EncodeReport:
    """What came of it. `bpp` is bits of the whole file per source pixel, `bitrate` in bits per second.

    `payload_bytes` are the entropy-coded tokens, `copied_bytes` the units of sound and subtitles; the rest
    of `file_bytes` is container. `seconds` is the length of the video, `elapsed` that of the work.
    """

    frames: int
    width: int
    height: int
    seconds: float
    chunks: int
    gops: int
    stages: int
    model: str
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


class _Session:
    """One run of the encoder: collects frames into chunks and writes them."""

    def __init__(
        self,
        tokenizer: BaseTokenizer,
        reader: VideoReader,
        writer: BitstreamWriter,
        options: EncodeOptions,
        stages: int,
        device: torch.device,
        progress: ProgressCallback,
    ) -> None:
        info = reader.info
        self.reader, self.writer, self.options, self.progress = reader, writer, options, progress
        self.stages = stages
        self.encoder = ChunkEncoder(tokenizer, stages, device)
        self.decoder = ChunkDecoder(tokenizer, info.height, info.width, device) if options.measure else None
        self.quality = QualityMeter()
        self.time_base = info.time_base
        self.window: list[Frame] = []
        self.packets: list[StreamPacket] = []
        self.payload_bytes = self.copied_bytes = self.gops = self.chunk_in_gop = 0
        self.last_duration = max(1, round(1 / ((info.frame_rate or 25) * info.time_base)))
        self.end = 0

    def run(self) -> None:
        for event in self.reader.events():
            if isinstance(event, StreamPacket):
                self.packets.append(event)
                continue
            # A chunk is written once the frame behind it tells how long its last frame is shown.
            if len(self.window) == max_valid(self.chunk_in_gop == 0):
                self._flush_chunk(event.pts - self.window[-1].pts)
            self.window.append(event)
        if not self.window:
            raise InputVideoError("the input has no frames")
        if len(self.window) > 1:
            self.last_duration = self.window[-1].pts - self.window[-2].pts
        self._flush_chunk(self.last_duration)
        self._flush_packets(None)

    def _flush_chunk(self, last_duration: int) -> None:
        gop_start = self.chunk_in_gop == 0
        if gop_start:
            self._flush_packets(self.window[0].pts)
            self.gops += 1
        pictures = [frame.rgb for frame in self.window]
        tokens = self.encoder.encode(pictures, gop_start=gop_start)
        payload = encode_payload(tokens, self.writer.header.profile)
        head = self.writer.write_chunk(
            gop_start=gop_start,
            pts=[frame.pts for frame in self.window],
            last_duration=last_duration,
            streams=payload.streams,
            token_crcs=payload.token_crcs,
        )
        self.payload_bytes += sum(stream.nbytes for stream in payload.streams)
        self.last_duration, self.end = last_duration, head.end_pts
        if self.decoder is not None:
            self._measure(Chunk(head, tuple(payload.streams)), pictures)
        self.window.clear()
        self.chunk_in_gop = (self.chunk_in_gop + 1) % self.options.gop
        self.progress(
            Progress(
                self.writer.frames,
                self.reader.estimated_frames,
                self.writer.bytes_written,
                float(self.end * self.time_base),
            )
        )

    def _measure(self, chunk: Chunk, pictures: list[NDArray[np.uint8]]) -> None:
        assert self.decoder is not None
        tokens = decode_payload(chunk, self.writer.header)
        decoded = self.decoder.decode(tokens, len(pictures), gop_start=chunk.head.gop_start)
        for source, picture in zip(pictures, decoded, strict=True):
            self.quality.add(source, picture)

    def _flush_packets(self, before: int | None) -> None:
        """Write the packets that are heard before the picture time `before`: they belong to the open GOP."""
        if not self.gops:
            return
        streams = self.reader.info.streams
        limit = None if before is None else before * self.time_base
        ready: list[StreamPacket] = []
        later: list[StreamPacket] = []
        held: set[int] = set()
        for packet in self.packets:
            # A packet never overtakes one of its stream, whatever their times are.
            if packet.stream in held or (
                limit is not None and packet.pts * streams[packet.stream].time_base >= limit
            ):
                held.add(packet.stream)
                later.append(packet)
            else:
                ready.append(packet)
        written = self.writer.bytes_written
        self.writer.write_packets(ready)
        self.copied_bytes += self.writer.bytes_written - written
        self.packets = later


def make_header(info: VideoInfo, model: Model, options: EncodeOptions, stages: int) -> FileHeader:
    """The header of the file to be written. The frame count is left open: the input's own is a guess."""
    return FileHeader(
        width=info.width,
        height=info.height,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
        frame_count=1 if info.is_image else None,
        colour=info.colour,
        sar=info.sar,
        rotation=info.rotation,
        gop_chunks=options.gop,
        max_stages=stages,
        profile=Profile.STATIC,
        tokenizer_sha256=model.sha256,
        streams=info.streams,
        still_image=info.is_image,
    )


def encode(
    source: str | os.PathLike[str] | BinaryIO,
    dest: str | os.PathLike[str] | BinaryIO,
    options: EncodeOptions | None = None,
    *,
    progress: ProgressCallback = ignore,
) -> EncodeReport:
    """Encode a video or still image into a .lfq file.

    `source`: path, "-" (a stream on standard input) or binary file object. `dest`: path, "-" (standard
    output) or binary file object; a path is written under a temporary name and renamed when complete.
    Raises `InputVideoError`, `OutputError`, `WeightsError` or `LfqError`.
    """
    options = options or EncodeOptions()
    began = time.perf_counter()
    model = resolve_model(options.model)
    stages = model.config.stages if options.stages is None else options.stages
    if stages > model.config.stages:
        raise LfqError(f"stages must be 1 to {model.config.stages} with model {model.name}, not {stages}")
    device = pick_device(options.device)
    refuse_same_file(source, dest)
    with (
        open_output(dest, overwrite=options.overwrite) as file,
        _storing(),
        open_video(
            source,
            start=options.start,
            duration=options.duration,
            max_frames=options.frames,
            scale=options.scale,
            copy_streams=options.audio,
        ) as reader,
    ):
        tokenizer = load_tokenizer(model, device)
        writer = BitstreamWriter(file, make_header(reader.info, model, options, stages))
        session = _Session(tokenizer, reader, writer, options, stages, device, progress)
        session.run()
        writer.close()
        notes = reader.notes
        info = reader.info
    pixels = writer.frames * info.width * info.height
    seconds = float(session.end * info.time_base)
    bits = 8 * writer.bytes_written
    return EncodeReport(
        frames=writer.frames,
        width=info.width,
        height=info.height,
        seconds=seconds,
        chunks=writer.chunks,
        gops=session.gops,
        stages=stages,
        model=model.name,
        file_bytes=writer.bytes_written,
        payload_bytes=session.payload_bytes,
        copied_bytes=session.copied_bytes,
        bpp=bits / pixels,
        video_bpp=(bits - 8 * session.copied_bytes) / pixels,
        bitrate=bits / seconds,
        elapsed=time.perf_counter() - began,
        psnr=session.quality.psnr,
        ms_ssim=session.quality.ms_ssim,
        notes=notes,
    )


@contextmanager
def _storing() -> Iterator[None]:
    """What the container cannot hold (a picture too large, say) is the input's fault, not that of a file."""
    try:
        yield
    except BitstreamError as error:
        raise InputVideoError(f"the input cannot be stored as .lfq: {error.message}") from error
