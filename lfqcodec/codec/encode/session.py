"""One run of the encoder: chunks are read, coded here or by several processes, and written in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol

from lfqcodec.codec.encode.parallel import ChunkJob, CodedGop
from lfqcodec.codec.encode.plan import Plan
from lfqcodec.codec.encode.rate.control import RateControl
from lfqcodec.codec.encode.resume import Trail
from lfqcodec.codec.encode.sink import ChunkSink
from lfqcodec.codec.encode.source.chunk import SourceChunk
from lfqcodec.codec.encode.source.lookahead import Lookahead
from lfqcodec.codec.encode.trial import code_chunk
from lfqcodec.codec.gop import GopEncoder
from lfqcodec.codec.workers import Team


class Coder(Protocol):
    """Codes chunks in order and hands them to a `ChunkSink`."""

    def put(self, chunk: SourceChunk) -> None:
        """Take the next chunk; it may be coded later."""

    def flush(self) -> None:
        """Code and write everything that waits."""

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take over the state of rate control that an earlier run had reached."""


def run(lookahead: Lookahead, coder: Coder, sink: ChunkSink, trail: Trail | None) -> None:
    """Code everything that `lookahead` gives. With a `trail` the file may have the first chunks already."""
    with closing(lookahead.chunks()) as chunks:
        for chunk in chunks:
            if not chunk.written:
                coder.put(chunk)
            elif trail is not None and (known := trail.known()) is not None:
                sink.go_on_from(known)
                coder.go_on_from(known.rate_control)
    coder.flush()
    sink.write_packets(lookahead.packets(None))


class SerialCoder:
    """Codes every chunk at once, by the plan, at the crf that `control` gives.

    `on_coded` is told how many pictures were coded, group by group.
    """

    def __init__(
        self,
        encoder: GopEncoder,
        plan: Plan,
        control: RateControl,
        sink: ChunkSink,
        on_coded: Callable[[int], None],
    ) -> None:
        self._encoder, self._plan, self._control, self._sink = encoder, plan, control, sink
        self._on_coded = on_coded

    def put(self, chunk: SourceChunk) -> None:
        """Code and write the chunk."""
        crf = self._control.crf(chunk)
        coded = code_chunk(
            self._encoder,
            self._plan,
            crf,
            chunk.pictures,
            chunk.group_size,
            gop_start=chunk.gop_start,
            on_coded=self._on_coded,
        )
        self._control.coded(self._sink.write(chunk, coded, crf))
        if chunk.gop_end:
            self._sink.checkpoint(chunk.digest, self._control.state())

    def flush(self) -> None:
        """Nothing waits."""

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._control.restore(state)


class ParallelCoder:
    """Lets several workers code, each a GOP, all at one crf; the bytes are those of `SerialCoder`.

    In memory are a GOP for each worker and the one that is being read.
    """

    def __init__(self, workers: Team[list[ChunkJob], CodedGop], crf: float, sink: ChunkSink) -> None:
        self._workers, self._crf, self._sink = workers, crf, sink
        self._open: list[SourceChunk] = []
        self._given: deque[list[SourceChunk]] = deque()

    def put(self, chunk: SourceChunk) -> None:
        """Give the GOP away once it is complete."""
        self._open.append(chunk)
        if chunk.gop_end:
            self._give()

    def flush(self) -> None:
        """Write everything that is on its way."""
        while self._given:
            self._take()

    def go_on_from(self, state: dict[str, Any]) -> None:
        """One crf has no state."""

    def _give(self) -> None:
        if self._workers.full:
            self._take()
        self._workers.give([(chunk.pictures, chunk.group_size) for chunk in self._open])
        self._given.append([replace(chunk, pictures=[]) for chunk in self._open])
        self._open = []

    def _take(self) -> None:
        made, chunks = self._workers.take(), self._given.popleft()
        assert made is not None
        for chunk, coded in zip(chunks, made.chunks, strict=True):
            self._sink.write(chunk, coded, self._crf)
        self._sink.quality.put_back(made.psnr, made.ms_ssim)
        self._sink.checkpoint(chunks[-1].digest, {})
