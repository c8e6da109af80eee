"""From a chunk to its pictures: with all its stages, or with those that are good in a damaged GOP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, FileHeader
from lfqcodec.codec.payload import TokenCoder

if TYPE_CHECKING:
    from lfqcodec.codec.chunks import ChunkDecoder


@dataclass(frozen=True)
class Reconstruction:
    """The new frames of a chunk, uint8 [valid, H, W, 3], from `right` of `wanted` stages.

    Where the GOP was damaged, here or before, `exact` is False: the pictures are not those that were coded.
    """

    pictures: NDArray[np.uint8]
    right: int
    wanted: int
    exact: bool


class Reconstructor:
    """Decodes the chunks of a file in order, at most `stages` stages of each."""

    def __init__(
        self, header: FileHeader, coder: TokenCoder, decoder: ChunkDecoder, stages: int | None
    ) -> None:
        self._header, self._coder, self._decoder, self._stages = header, coder, decoder, stages
        self._trusted: int | None = None  # stages that are right in the whole of the open GOP, None for all

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk; None where it is `damaged`, and no stage of it is good.

        Raises what `TokenCoder.decode` does for a chunk that is not damaged.
        """
        head = chunk.head
        shape = head.shape(self._header)
        if head.gop_start:
            self._trusted = None
        if not damaged and self._trusted is None:
            tokens = self._coder.decode(chunk, shape, self._stages)
            right = len(tokens)
        else:
            tokens, right = self._coder.rescue(
                chunk, shape, self._stages, trusted=self._trusted, damaged=damaged
            )
            if not right:
                return None
            if right < len(tokens):
                self._trusted = right if self._trusted is None else min(right, self._trusted)
        pictures = self._decoder.decode(tokens, head.valid, gop_start=head.gop_start)
        return Reconstruction(pictures, right, len(tokens), self._trusted is None)
