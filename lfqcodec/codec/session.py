"""One run of the encoder: frames are collected into chunks, coded, and written in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream import BitstreamWriter, max_valid
from lfqcodec.codec.chunks import ChunkEncoder
from lfqcodec.codec.coding import Measure, fixed_lambdas, token_coder, token_source
from lfqcodec.codec.payload import Payload
from lfqcodec.codec.plan import EncodeOptions, Plan
from lfqcodec.codec.progress import Progress, ProgressCallback
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.codec.rate_control import LOOKAHEAD, BitrateControl
from lfqcodec.codec.resume import Checkpoint, Trail
from lfqcodec.errors import InputVideoError
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.video import VideoReader

# What the container takes, about: for a chunk, besides that for a stage and for the start of a GOP (with its
# entry in the index), and for index and trailer.
_CHUNK_BYTES, _STAGE_BYTES, _GOP_BYTES, _END_BYTES = 26, 6, 21, 62


@dataclass(frozen=True)
class Waiting:
    """A chunk that is not yet coded. `pictures` are kept only where they are measured.

    `latents` is None where the file has the chunk already.
    """

    latents: Tensor | None
    pts: list[int]
    last_duration: int
    gop_start: bool
    pictures: list[NDArray[np.uint8]]


class Session:
    """Collects frames into chunks and writes them.

    With a `trail` the file may have the first chunks already: these are gone through, but not coded.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        reader: VideoReader,
        writer: BitstreamWriter,
        options: EncodeOptions,
        plan: Plan,
        device: torch.device,
        progress: ProgressCallback,
        trail: Trail | None = None,
    ) -> None:
        info = reader.info
        self.tokenizer, self.plan, self.device = tokenizer, plan, device
        self.reader, self.writer, self.options, self.progress = reader, writer, options, progress
        self.encoder = ChunkEncoder(tokenizer, plan.stages, device)
        self.coder = token_coder(plan, device)
        self.quality = QualityMeter()
        self.measure: Measure | None = None
        if options.measure:
            self.measure = Measure(tokenizer, plan, (info.width, info.height), device)
            self.quality = self.measure.quality
        self.time_base = info.time_base
        self.window: list[Frame] = []
        self.waiting: list[Waiting] = []
        self.packets: list[StreamPacket] = []
        self.payload_bytes = self.copied_bytes = self.gops = self.chunk_in_gop = 0
        self.last_duration = max(1, round(1 / ((info.frame_rate or 25) * info.time_base)))
        self.begin = self.end = self.saved = 0
        self.trail = trail

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
        if self.trail is not None:
            self.trail.finish()
        self._flush_packets(None)

    def _end_chunk(self, last_duration: int) -> None:
        pictures = [frame.rgb for frame in self.window]
        pts = [frame.pts for frame in self.window]
        gop_start = self.chunk_in_gop == 0
        self.last_duration = last_duration
        latents = None
        if self.trail is None or not self.trail.passing:
            latents = self.encoder.latents(pictures, gop_start=gop_start)
        if self.trail is not None:
            self.trail.chunk(self.window, last_duration)
        kept = [] if self.measure is None else pictures
        self.waiting.append(Waiting(latents, pts, last_duration, gop_start, kept))
        self.window.clear()
        self.chunk_in_gop = (self.chunk_in_gop + 1) % self.options.gop
        if len(self.waiting) == (1 if self.plan.control is None else LOOKAHEAD):
            self._code_waiting()

    def _code_waiting(self) -> None:
        """Code and write the chunks that wait."""
        if not self.waiting:
            return
        if self.waiting[0].latents is None:
            self._pass_waiting()
        else:
            self._write_waiting()
        self.waiting.clear()
        if self.trail is not None and self.chunk_in_gop == 0:
            self._checkpoint(self.trail)

    def _pass_waiting(self) -> None:
        """Go past chunks that the file has already."""
        for chunk in self.waiting:
            if chunk.gop_start:
                self._flush_packets(chunk.pts[0], write=False)
                self.gops += 1

    def _write_waiting(self) -> None:
        if self.plan.control is None:
            payloads = self._code([fixed_lambdas(self.plan)] * len(self.waiting))
        else:
            payloads = self._steer(self.plan.control)
        for chunk, payload in zip(self.waiting, payloads, strict=True):
            self._write(chunk, payload)

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
            assert chunk.latents is not None
            source = token_source(self.tokenizer, self.plan, chunk.latents, own)
            payloads.append(self.coder.encode(source, gop_start=chunk.gop_start))
        return payloads

    def _write(self, chunk: Waiting, payload: Payload) -> None:
        if chunk.gop_start:
            self._flush_packets(chunk.pts[0])
            self.gops += 1
        self._write_chunk(chunk, payload)
        if self.measure is not None:
            self.measure.add(payload, chunk.pictures, gop_start=chunk.gop_start)

    def _write_chunk(self, chunk: Waiting, payload: Payload) -> None:
        head = self.writer.write_chunk(
            gop_start=chunk.gop_start,
            pts=chunk.pts,
            last_duration=chunk.last_duration,
            streams=payload.streams,
            token_crcs=payload.token_crcs,
        )
        self.payload_bytes += payload.size
        self.end = head.end_pts
        self.progress(
            Progress(
                self.writer.frames,
                self.reader.estimated_frames,
                self.writer.bytes_written,
                float(self.end * self.time_base),
            )
        )

    def _flush_packets(self, before: int | None, *, write: bool = True) -> None:
        """Write the packets that are heard before the picture time `before`: they belong to the open GOP.

        Without `write` the file has them already.
        """
        if self.gops:
            packets = self._take_packets(before)
            if write:
                self._write_packets(packets)

    def _take_packets(self, before: int | None) -> list[StreamPacket]:
        """The waiting packets that are heard before `before`, all for None."""
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
        self.packets = later
        if self.trail is not None:
            self.trail.packets(ready)
        return ready

    def _write_packets(self, packets: list[StreamPacket]) -> None:
        written = self.writer.bytes_written
        self.writer.write_packets(packets)
        self.copied_bytes += self.writer.bytes_written - written

    def _checkpoint(self, trail: Trail) -> None:
        """Everything is written and the next chunk starts a GOP: go on from what is known, or note it."""
        known = trail.known()
        if known is None:
            if not trail.passing:
                trail.save(self._state(trail.digest))
            return
        self.quality.put_back(known.psnr, known.ms_ssim)
        self.saved += len(known.psnr)
        self.gops, self.begin, self.end = known.gops, known.begin, known.end
        self.payload_bytes, self.copied_bytes = known.payload_bytes, known.copied_bytes
        if self.plan.control is not None and known.crf is not None:
            self.plan.control.crf = known.crf

    def _state(self, digest: str) -> Checkpoint:
        psnr, ms_ssim = self.quality.values(self.saved)
        self.saved += len(psnr)
        return Checkpoint(
            chunks=self.writer.chunks,
            bytes=self.writer.bytes_written,
            gops=self.gops,
            payload_bytes=self.payload_bytes,
            copied_bytes=self.copied_bytes,
            begin=self.begin,
            end=self.end,
            crf=None if self.plan.control is None else self.plan.control.crf,
            digest=digest,
            psnr=psnr,
            ms_ssim=ms_ssim,
        )
