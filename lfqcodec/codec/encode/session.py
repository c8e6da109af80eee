"""One run of the encoder: chunks are read, coded by one of three coders, and written in order."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from lfqcodec.codec.encode.lookahead import Lookahead, SourceChunk
from lfqcodec.codec.encode.parallel import CodedGop, Pictures
from lfqcodec.codec.encode.rate_control import LOOKAHEAD, BitrateControl
from lfqcodec.codec.encode.resume import Trail
from lfqcodec.codec.encode.sink import ChunkSink
from lfqcodec.codec.gop import CodedChunk, GopEncoder, OperatingPoint
from lfqcodec.codec.workers import Workers

# What the container takes, about: for a chunk, besides that for a layer and for the start of a GOP (with its
# entry in the index), and for index and trailer.
_CHUNK_BYTES, _LAYER_BYTES, _GOP_BYTES, _END_BYTES = 26, 6, 21, 62


class Coder(Protocol):
    """Codes chunks in order and hands them to a `ChunkSink`."""

    def put(self, chunk: SourceChunk) -> None:
        """Take the next chunk; it may be coded later."""

    def flush(self) -> None:
        """Code and write everything that waits."""

    def go_on_from(self, crf: float | None) -> None:
        """Take over the crf that an earlier run had reached."""


def run(lookahead: Lookahead, coder: Coder, sink: ChunkSink, trail: Trail | None) -> None:
    """Code everything that `lookahead` gives. With a `trail` the file may have the first chunks already."""
    for chunk in lookahead.chunks():
        if not chunk.written:
            coder.put(chunk)
        elif trail is not None and (known := trail.known()) is not None:
            sink.go_on_from(known)
            coder.go_on_from(known.crf)
    coder.flush()
    sink.write_packets(lookahead.packets(None))


class SerialCoder:
    """Codes every chunk at once, at one operating point."""

    def __init__(self, encoder: GopEncoder, point: OperatingPoint, sink: ChunkSink) -> None:
        self._encoder, self._point, self._sink = encoder, point, sink

    def put(self, chunk: SourceChunk) -> None:
        """Code and write the chunk."""
        coded = self._encoder.encode(chunk.pictures, self._point, gop_start=chunk.gop_start)
        self._sink.write(chunk, coded)
        if chunk.gop_end:
            self._sink.checkpoint(chunk.digest)

    def flush(self) -> None:
        """Nothing waits."""

    def go_on_from(self, crf: float | None) -> None:
        """The operating point is fixed."""


class SteeredCoder:
    """Codes segments of `LOOKAHEAD` chunks, each with the crf at which the file keeps to a bitrate."""

    def __init__(
        self, encoder: GopEncoder, control: BitrateControl, sink: ChunkSink, time_base: Fraction
    ) -> None:
        self._encoder, self._control, self._sink, self._tick = encoder, control, sink, time_base
        self._waiting: list[SourceChunk] = []

    def put(self, chunk: SourceChunk) -> None:
        """Let the chunk wait until its segment is complete."""
        self._waiting.append(chunk)
        if len(self._waiting) == LOOKAHEAD:
            self.flush()

    def flush(self) -> None:
        """Code the segment with the crf at which it fits."""
        if not self._waiting:
            return
        before = self._encoder.snapshot()

        def attempt(points: list[OperatingPoint]) -> tuple[float, tuple[list[CodedChunk], object]]:
            self._encoder.restore(before)
            coded = [
                self._encoder.encode(chunk.pictures, point, gop_start=chunk.gop_start)
                for chunk, point in zip(self._waiting, points, strict=True)
            ]
            size = sum(each.size + _LAYER_BYTES * len(each.streams) for each in coded)
            size += sum(_CHUNK_BYTES + _GOP_BYTES * chunk.gop_start for chunk in self._waiting)
            return 8.0 * size, (coded, self._encoder.snapshot())

        made, after = self._control.code(self._allowed_bits(), len(self._waiting), attempt)
        self._encoder.restore(after)
        for chunk, coded in zip(self._waiting, made, strict=True):
            self._sink.write(chunk, coded)
        last = self._waiting[-1]
        if last.gop_end:
            self._sink.checkpoint(last.digest, self._control.crf)
        self._waiting.clear()

    def go_on_from(self, crf: float | None) -> None:
        """Steer on from there."""
        if crf is not None:
            self._control.crf = crf

    def _allowed_bits(self) -> float:
        """What the waiting chunks may come to, so that the file keeps to the bitrate."""
        totals, bitrate = self._sink.totals, self._control.bitrate
        begin, end = self._waiting[0].pts[0], self._waiting[-1].pts[-1] + self._waiting[-1].last_duration
        first = totals.begin if totals.gops else begin
        written = 8 * (self._sink.writer.bytes_written - totals.copied_bytes)
        own = float(bitrate * (end - begin) * self._tick)
        whole = float(bitrate * (end - first) * self._tick)
        # Whatever was overspent before, a segment gets a part of its share.
        return max(whole - written - 8 * _END_BYTES, 0.25 * own)


class ParallelCoder:
    """Lets several processes code, each a GOP; the bytes are those of `SerialCoder`.

    In memory are a GOP for each worker and the one that is being read.
    """

    def __init__(self, workers: Workers[list[Pictures], CodedGop], sink: ChunkSink) -> None:
        self._workers, self._sink = workers, sink
        self._open: list[SourceChunk] = []
        self._given: deque[list[SourceChunk]] = deque()

    def put(self, chunk: SourceChunk) -> None:
        """Give the GOP away once it is complete."""
        self._open.append(chunk)
        if chunk.gop_end:
            self._give()

    def flush(self) -> None:
        """Write everything that is on its way."""
        if self._open:
            self._give()
        while self._given:
            self._take()

    def go_on_from(self, crf: float | None) -> None:
        """The operating point is fixed."""

    def _give(self) -> None:
        if self._workers.full:
            self._take()
        self._workers.give([chunk.pictures for chunk in self._open])
        self._given.append([replace(chunk, pictures=[]) for chunk in self._open])
        self._open = []

    def _take(self) -> None:
        made, chunks = self._workers.take(), self._given.popleft()
        assert made is not None
        for chunk, coded in zip(chunks, made.chunks, strict=True):
            self._sink.write(chunk, coded)
        self._sink.quality.put_back(made.psnr, made.ms_ssim)
        if chunks[-1].gop_end:
            self._sink.checkpoint(chunks[-1].digest)
