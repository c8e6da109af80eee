"""Decoding GOPs ahead of need, in processes of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import BitstreamReader, Chunk, ChunkHead, FileHeader
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.playback import Decoder
from lfqcodec.codec.decode.reconstruct import Reconstruction, Reconstructor
from lfqcodec.codec.gop import GopDecoder
from lfqcodec.codec.models import load_group_tokenizer, rate_model
from lfqcodec.codec.tokens import TokenDecoder
from lfqcodec.codec.workers import Workers
from lfqcodec.errors import BitstreamError, NumericsMismatch
from lfqcodec.machine import usual_threads
from lfqcodec.weights.store import Model, Prior

MOST_BYTES = 1 << 30
"""Of the pictures of a GOP, which a worker has in memory all at once."""


def whole_gops(reader: BitstreamReader, first: int, cut: Cut) -> Iterator[list[Chunk]]:
    """The GOPs from frame `first` to the end of `cut` in which nothing is wrong, as lists of their chunks.

    Those with more than `MOST_BYTES` of pictures are left out.
    """
    most = MOST_BYTES // (3 * reader.header.width * reader.header.height)

    def wanted(head: ChunkHead) -> bool:
        return head.first_frame >= first and not cut.is_over(head.pts[0])

    gop: list[Chunk] = []
    while True:
        try:
            unit = reader.next_wanted(wanted)
        except BitstreamError:
            gop = []
            continue
        if unit is None:
            break
        if isinstance(unit, Chunk):
            if unit.head.gop_start:
                if gop:
                    yield gop
                gop = [unit]
            elif gop:
                gop.append(unit)
            if gop and unit.head.first_frame + unit.head.valid - gop[0].head.first_frame > most:
                gop = []
        elif isinstance(unit, ChunkHead) and unit.first_frame >= first:
            break
    if gop:
        yield gop


@dataclass(frozen=True)
class DecodeGop:
    """What a worker does: decodes the chunks of a GOP, at most `streams` streams of each.

    `prior` is None in profile static. `threads` are a worker's share of those of this process. Samples may
    differ by some steps with their number.
    """

    header: FileHeader
    model: Model
    prior: Prior | None
    streams: int | None
    device: str
    precision: str = "auto"
    threads: int = 1
    who: str = "decoder"

    def shared_by(self, workers: int) -> DecodeGop:
        """The same for one of so many workers."""
        return replace(self, threads=max(1, usual_threads() // workers))

    def run(self, job: list[Chunk]) -> list[NDArray[np.uint8]]:
        """The pictures of each chunk. Raises what `TokenDecoder.decode` does."""
        header = self.header
        tokenizer = load_group_tokenizer(self.model, self.device, self.precision)
        size = header.height, header.width
        tokens = TokenDecoder(tokenizer.layout, rate_model(self.prior), header.profile, size)
        with closing(GopDecoder(tokenizer, size)) as decoder:
            decode = Reconstructor(tokens, decoder, self.streams)
            made = [decode(chunk, damaged=False) for chunk in job]
            return [each.pictures.result() for each in made if each is not None]


class Ahead:
    """Takes the place of a `Reconstructor` (`lfqcodec.codec.decode.playback.Decoder`), with the same results.

    `workers` decode `gops` while their results are waited for. What is not among them, because it is damaged
    or behind damage, `here` decodes.
    """

    def __init__(
        self,
        here: Decoder,
        gops: Iterator[list[Chunk]],
        workers: Workers[list[Chunk], list[NDArray[np.uint8]]],
    ) -> None:
        self._here, self._gops, self._workers = here, gops, workers
        self._given: deque[list[ChunkHead]] = deque()
        self._ready: deque[tuple[ChunkHead, NDArray[np.uint8]]] = deque()
        self._open: list[Chunk] = []
        """The chunks of the open GOP that `here` has not seen."""

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk, as `Reconstructor` gives them."""
        if chunk.head.gop_start:
            self._begin(chunk.head)
        if not damaged and self._ready and self._ready[0][0] == chunk.head:
            self._open.append(chunk)
            ready: Future[NDArray[np.uint8]] = Future()
            ready.set_result(self._ready.popleft()[1])
            return Reconstruction(ready)
        for earlier in self._open:
            self._here(earlier, damaged=False)
        self._open = []
        self._ready.clear()
        return self._here(chunk, damaged=damaged)

    def _begin(self, head: ChunkHead) -> None:
        """Get the results of the GOP that starts with `head`, if it is one of those that were given."""
        self._open = []
        self._ready.clear()
        self._give()
        while self._given and self._given[0][0].number <= head.number:
            heads = self._given.popleft()
            try:
                made = self._workers.take()
            except (BitstreamError, NumericsMismatch):
                # It is raised where it happens in this process, too.
                made = None
            self._give()
            if made is not None and heads[0] == head:
                self._ready.extend(zip(heads, made, strict=True))

    def _give(self) -> None:
        while not self._workers.full and (gop := next(self._gops, None)) is not None:
            self._workers.give(gop)
            self._given.append([chunk.head for chunk in gop])
