"""From units to frames and sound: decodes what a cut needs, and conceals what a damaged file lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, ChunkHead, FileHeader, Packets
from lfqcodec.codec.decode.conceal import Picture, fill
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.reconstruct import Reconstruction
from lfqcodec.codec.pipeline import delayed
from lfqcodec.codec.repair.damage import Loss, note
from lfqcodec.codec.repair.gaps import Gap
from lfqcodec.codec.repair.salvage import Salvage, Use, Used
from lfqcodec.errors import BitstreamError
from lfqcodec.media import Frame, StreamPacket


class Decoder(Protocol):
    """What turns chunks into pictures: `lfqcodec.codec.decode.reconstruct.Reconstructor`."""

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk, None where no stream of a damaged one is good."""


Pictures = Future[NDArray[np.uint8]]
"""Those of a chunk, uint8 [n, H, W, 3], which may still be on their way."""


def use_of(decode: Decoder) -> Callable[[Chunk, BitstreamError | None], Use[Pictures]]:
    """What a `Salvage` is to do with chunks: the pictures that `decode` makes of them."""

    def use(chunk: Chunk, error: BitstreamError | None) -> Use[Pictures]:
        try:
            made = decode(chunk, damaged=error is not None)
        except BitstreamError as failure:
            return Use(None, failure)
        if made is None:
            return Use(None, error)
        return Use(made.pictures, error, made.streams)

    return use


class Playback:
    """Frames and packets of a cut, out of what `salvage` finds.

    Chunks before frame `first` are not decoded. What is lost of the cut is noted in `damage`. With `ahead`
    a chunk is begun before the pictures of the one before are handed out: no good for a pipe, where it may
    not have come yet.
    """

    def __init__(
        self,
        header: FileHeader,
        cut: Cut,
        salvage: Salvage[Pictures],
        damage: list[Loss],
        *,
        first: int = 0,
        ahead: bool = False,
    ) -> None:
        self._header, self._cut, self._salvage, self._damage = header, cut, salvage, damage
        self._first, self._ahead = first, ahead
        self._gaps: list[Gap] = []
        self._last: Picture | None = None

    def events(self) -> Iterator[Frame | StreamPacket]:
        """Frames and packets, their times counted from the first frame on."""
        cut = self._cut
        # Packets can be moved in time only when the first frame is known.
        waiting: list[StreamPacket] = []
        items = self._salvage.items(self._wanted)
        if self._ahead:
            # Tokens of a chunk are decoded while the pictures of the one before are on their way.
            items = delayed(items, self._ends_cut)
        for item in items:
            if isinstance(item, Packets):
                waiting += filter(cut.may_take, item.packets)
            elif isinstance(item, Gap):
                self._gap(item)
            elif isinstance(item, Loss):
                note(self._damage, item)
            else:
                if isinstance(item, Used):
                    yield from self._frames(item)
                if self._is_last(item.head if isinstance(item, Used) else item):
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

    def _ends_cut(self, item: object) -> bool:
        """True for a chunk with the last picture of the cut."""
        return isinstance(item, Used) and self._cut.is_over(item.head.end_pts)

    def _is_last(self, head: ChunkHead) -> bool:
        """True where nothing behind this head can matter. Sound of a cut may lie up to the end of its GOP."""
        return self._cut.is_over(head.pts[0]) and (head.gop_start or not self._header.streams)

    def _gap(self, gap: Gap) -> None:
        cut = self._cut
        cut.begin(gap.begin)
        self._gaps.append(gap)
        # Outside of the cut nothing is missing. In it there may be no room for pictures.
        held = any(cut.holds(pts) for pts, _ in gap.shown())
        if held or (not gap.parts and cut.touches(gap.begin, gap.end)):
            note(self._damage, gap.loss)

    def _frames(self, used: Used[Pictures]) -> Iterator[Frame]:
        head, pictures = used.head, used.made.result()
        if self._gaps:
            yield from self._conceal(pictures[0])
        self._last = pictures[-1]
        times = zip(pairwise((*head.pts, head.end_pts)), pictures, strict=True)
        shown = list(self._shown((pts, until, picture) for (pts, until), picture in times))
        if used.loss is not None and shown:
            note(self._damage, used.loss)
        yield from shown

    def _conceal(self, following: Picture | None) -> Iterator[Frame]:
        yield from self._shown(fill(self._gaps, self._last, following, self._header.time_base))
        self._gaps.clear()

    def _shown(self, pictures: Iterable[tuple[int, int, Picture]]) -> Iterator[Frame]:
        """Those that the cut holds, out of pictures and from when to when they are shown."""
        for pts, until, picture in pictures:
            moved = self._cut.frame(pts, until - pts)
            if moved is not None:
                yield Frame(moved, picture)
