"""Encoding: video in, .lfq out, one chunk in memory at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream import BitstreamWriter, Chunk, max_valid
from lfqcodec.codec.choice import WorthyTokens
from lfqcodec.codec.chunks import ChunkDecoder, ChunkEncoder, pick_device
from lfqcodec.codec.payload import GivenTokens, Payload, TokenCoder, TokenSource
from lfqcodec.codec.plan import EncodeOptions, Plan, make_header, make_plan, missed_bitrate
from lfqcodec.codec.progress import Progress, ProgressCallback, ignore
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.codec.rate_control import LOOKAHEAD, BitrateControl
from lfqcodec.errors import BitstreamError, InputVideoError
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.output import open_output, refuse_same_file
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.video import VideoReader, open_video
from lfqcodec.weights.loading import load_network, load_tokenizer
from lfqcodec.weights.store import resolve_model

# What the container takes, about: for a chunk, besides that for a stage and for the start of a GOP (with its
# entry in the index), and for index and trailer.
_CHUNK_BYTES, _STAGE_BYTES, _GOP_BYTES, _END_BYTES = 26, 6, 21, 62


@dataclass(frozen=True)
class EncodeReport:
    """What came of it. `bpp` is bits of the whole file per source pixel, `bitrate` in bits per second.

    `payload_bytes` are the entropy-coded tokens, `copied_bytes` the units of sound and subtitles; the rest
    of `file_bytes` is container. `seconds` is the length of the video, `elapsed` that of the work. `crf` is
    None where tokens were coded as they are, and with a bitrate.
    """

    frames: int
    width: int
    height: int
    seconds: float
    chunks: int
    gops: int
    stages: int
    model: str
    profile: str
    crf: float | None
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


@dataclass(frozen=True)
class _Waiting:
    """A chunk that is not yet coded. `pictures` are kept only where they are measured."""

    latents: Tensor
    pts: list[int]
    last_duration: int
    gop_start: bool
    pictures: list[NDArray[np.uint8]]


class _Session:
    """One run of the encoder: collects frames into chunks and writes them."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        reader: VideoReader,
        writer: BitstreamWriter,
        options: EncodeOptions,
        plan: Plan,
        device: torch.device,
        progress: ProgressCallback,
    ) -> None:
        info = reader.info
        self.tokenizer, self.plan, self.device = tokenizer, plan, device
        self.reader, self.writer, self.options, self.progress = reader, writer, options, progress
        self.encoder = ChunkEncoder(tokenizer, plan.stages, device)
        self.coder = self._token_coder()
        self.check = self._token_coder() if options.measure else None
        self.decoder = ChunkDecoder(tokenizer, info.height, info.width, device) if options.measure else None
        self.quality = QualityMeter()
        self.time_base = info.time_base
        self.window: list[Frame] = []
        self.waiting: list[_Waiting] = []
        self.packets: list[StreamPacket] = []
        self.payload_bytes = self.copied_bytes = self.gops = self.chunk_in_gop = 0
        self.last_duration = max(1, round(1 / ((info.frame_rate or 25) * info.time_base)))
        self.begin = self.end = 0

    def _token_coder(self) -> TokenCoder:
        prior = self.plan.prior
        network = None if prior is None else partial(load_network, prior, self.device)
        return TokenCoder(network, self.plan.stages)

    def run(self) -> None:
        for event in self.reader.events():
            if isinstance(event, StreamPacket):
                self.packets.append(event)
                continue
            # A chunk is written once the frame behind it tells how long its last frame is shown.
            if len(self.window) == max_valid(self.chunk_in_gop == 0):
                self._end_chunk(event.pts - self.window[-1].pts)
            self.window.append(event)
        if not self.window:
            raise InputVideoError("the input has no frames")
        if len(self.window) > 1:
            self.last_duration = self.window[-1].pts - self.window[-2].pts
        self._end_chunk(self.last_duration)
        self._code_waiting()
        self._flush_packets(None)

    def _end_chunk(self, last_duration: int) -> None:
        pictures = [frame.rgb for frame in self.window]
        pts = [frame.pts for frame in self.window]
        gop_start = self.chunk_in_gop == 0
        latents = self.encoder.latents(pictures, gop_start=gop_start)
        kept = [] if self.decoder is None else pictures
        self.waiting.append(_Waiting(latents, pts, last_duration, gop_start, kept))
        self.window.clear()
        self.chunk_in_gop = (self.chunk_in_gop + 1) % self.options.gop
        if len(self.waiting) == (1 if self.plan.control is None else LOOKAHEAD):
            self._code_waiting()

    def _code_waiting(self) -> None:
        """Code and write the chunks that wait."""
        if not self.waiting:
            return
        if self.plan.control is None:
            lambdas = (0.0,) * self.plan.stages
            if self.plan.table is not None and self.plan.crf is not None:
                lambdas = self.plan.table.lambdas(self.plan.crf, self.plan.stages)
            payloads = self._code([lambdas] * len(self.waiting))
        else:
            payloads = self._steer(self.plan.control)
        for chunk, payload in zip(self.waiting, payloads, strict=True):
            self._write(chunk, payload)
        self.waiting.clear()

    def _allowed_bits(self, bitrate: float) -> float:
        """What the waiting chunks may come to, so that the file keeps to `bitrate`."""
        begin, end = self.waiting[0].pts[0], self.waiting[-1].pts[-1] + self.waiting[-1].last_duration
        self.begin = self.begin if self.gops else begin
        written = 8 * (self.writer.bytes_written - self.copied_bytes)
        own = float(bitrate * (end - begin) * self.time_base)
        whole = float(bitrate * (end - self.begin) * self.time_base)
        # Whatever was overspent before, a segment gets a part of its share.
        return max(whole - written - 8 * _END_BYTES, 0.25 * own)

    def _steer(self, control: BitrateControl) -> list[Payload]:
        """Code the waiting chunks with the crf at which they fit."""
        before = self.coder.snapshot()

        def attempt(lambdas: list[tuple[float, ...]]) -> tuple[float, tuple[list[Payload], Any]]:
            self.coder.restore(before)
            payloads = self._code(lambdas)
            size = sum(payload.size + _STAGE_BYTES * len(payload.streams) for payload in payloads)
            size += sum(_CHUNK_BYTES + _GOP_BYTES * chunk.gop_start for chunk in self.waiting)
            return 8.0 * size, (payloads, self.coder.snapshot())

        allowed = self._allowed_bits(control.bitrate)
        payloads, after = control.code(allowed, len(self.waiting), attempt)
        self.coder.restore(after)
        return payloads

    def _code(self, lambdas: list[tuple[float, ...]]) -> list[Payload]:
        """Code the waiting chunks, each with its lambdas, one for each stage."""
        payloads = []
        for chunk, own in zip(self.waiting, lambdas, strict=True):
            source: TokenSource
            if self.plan.table is None:
                tokens = self.tokenizer.quantize(chunk.latents[None], len(own))[0]
                source = GivenTokens(tokens.to(torch.int32).cpu().numpy())
            else:
                costs = self.plan.table.flip_costs
                source = WorthyTokens(self.tokenizer.quantizer, costs, chunk.latents, own)
            payloads.append(self.coder.encode(source, gop_start=chunk.gop_start))
        return payloads

    def _write(self, chunk: _Waiting, payload: Payload) -> None:
        if chunk.gop_start:
            self._flush_packets(chunk.pts[0])
            self.gops += 1
        head = self.writer.write_chunk(
            gop_start=chunk.gop_start,
            pts=chunk.pts,
            last_duration=chunk.last_duration,
            streams=payload.streams,
            token_crcs=payload.token_crcs,
        )
        self.payload_bytes += payload.size
        self.last_duration, self.end = chunk.last_duration, head.end_pts
        if self.decoder is not None:
            self._measure(Chunk(head, tuple(payload.streams)), chunk.pictures)
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
        assert self.check is not None
        tokens = self.check.decode(chunk, chunk.head.shape(self.writer.header))
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
    plan = make_plan(model, options)
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
        writer = BitstreamWriter(file, make_header(reader.info, model, options, plan))
        session = _Session(tokenizer, reader, writer, options, plan, device, progress)
        session.run()
        writer.close()
        info = reader.info
    pixels = writer.frames * info.width * info.height
    seconds = float(session.end * info.time_base)
    bits = 8 * writer.bytes_written
    video_bits = bits - 8 * session.copied_bytes
    notes = (*reader.notes, *plan.notes, *missed_bitrate(options.bitrate, video_bits / seconds))
    return EncodeReport(
        frames=writer.frames,
        width=info.width,
        height=info.height,
        seconds=seconds,
        chunks=writer.chunks,
        gops=session.gops,
        stages=plan.stages,
        model=model.name,
        profile="static" if plan.prior is None else "exact",
        crf=plan.crf,
        file_bytes=writer.bytes_written,
        payload_bytes=session.payload_bytes,
        copied_bytes=session.copied_bytes,
        bpp=bits / pixels,
        video_bpp=video_bits / pixels,
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
