"""From units to frames and sound: decodes what a cut needs, and conceals what a damaged file lacks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

from lfqcodec.bitstream import Chunk, ChunkHead, FileHeader, Packets
from lfqcodec.codec.decode.conceal import Picture, fill
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.reconstruct import Reconstruction
from lfqcodec.codec.repair.gaps import Gap
from lfqcodec.codec.repair.salvage import Damaged, Salvage, head_of
from lfqcodec.errors import BitstreamError
from lfqcodec.media import Frame, StreamPacket


class Decoder(Protocol):
    """What turns chunks into pictures: `lfqcodec.codec.decode.reconstruct.Reconstructor`."""

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk, None where no stream of a damaged one is good."""


class Playback:
    """Frames and packets of a cut, out of what `salvage` finds. `decode` gives the new frames of a chunk.

    Chunks before frame `first` are not decoded. With `strict` a chunk that cannot be decoded is an error,
    else it is concealed.
    """

    def __init__(
        self,
        header: FileHeader,
        cut: Cut,
        salvage: Salvage,
        decode: Decoder,
        *,
        first: int = 0,
        strict: bool = False,
    ) -> None:
        self._header, self._cut, self._salvage, self._decode = header, cut, salvage, decode
        self._first, self._strict = first, strict
        self._gaps: list[Gap] = []
        self._last: Picture | None = None

    def events(self) -> Iterator[Frame | StreamPacket]:
        """Frames and packets, their times counted from the first frame on."""
        cut = self._cut
        # Packets can be moved in time only when the first frame is known.
        waiting: list[StreamPacket] = []
        for item in self._salvage.items(self._wanted):
            if isinstance(item, Packets):
                waiting += filter(cut.may_take, item.packets)
            elif isinstance(item, Gap):
                cut.begin(item.begin)
                self._gaps.append(item)
            else:
                if not isinstance(item, ChunkHead):
                    yield from self._chunk(item)
                if self._is_last(head_of(item)):
                    break
            if cut.begun:
                yield from filter(None, map(cut.packet, waiting))
                waiting.clear()
        if self._gaps and self._last is not None:
            yield from self._conceal(None)
            yield from filter(None, map(cut.packet, waiting if cut.begun else ()))

    @property
    def decoded(self) -> bool:
        """True once a picture was decoded."""
        return self._last is not None

    def _wanted(self, head: ChunkHead) -> bool:
        self._cut.begin(head.pts[0])
        return head.first_frame >= self._first and not self._cut.is_over(head.pts[0])

    def _is_last(self, head: ChunkHead) -> bool:
        """True where nothing behind this head can matter. Sound of a cut may lie up to the end of its GOP."""
        return self._cut.is_over(head.pts[0]) and (head.gop_start or not self._header.streams)

    def _chunk(self, item: Chunk | Damaged) -> Iterator[Frame]:
        error = item.error if isinstance(item, Damaged) else None
        chunk = item.chunk if isinstance(item, Damaged) else item
        head = chunk.head
        try:
            made = self._decode(chunk, damaged=error is not None)
        except BitstreamError as failure:
            if self._strict:
                raise
            made, error = None, failure
        if made is None:
            assert error is not None
            self._salvage.reject(error)
            return
        if self._gaps:
            yield from self._conceal(made.pictures[0])
        self._last = made.pictures[-1]
        shown = []
        for (pts, until), picture in zip(pairwise((*head.pts, head.end_pts)), made.pictures, strict=True):
            moved = self._cut.frame(pts, until - pts)
            if moved is not None:
                shown.append(Frame(moved, picture))
        if error is not None and shown:
            if made.exact:
                self._salvage.pardon(head, error)
            else:
                self._salvage.degrade(head, made.right, made.wanted, error)
        yield from shown

    def _conceal(self, following: Picture | None) -> Iterator[Frame]:
        cut, shown = self._cut, False
        for pts, until, picture in fill(self._gaps, self._last, following, self._header.time_base):
            moved = cut.frame(pts, until - pts)
            if moved is not None:
                shown = True
                yield Frame(moved, picture)
        if not shown:
            # Outside of the cut nothing is missing. In it there may be no room for pictures.
            for gap in self._gaps:
                if gap.parts or not cut.touches(gap.begin, gap.end):
                    self._salvage.losses.remove(gap.loss)
        self._gaps.clear()
