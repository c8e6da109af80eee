"""From a chunk to its pictures: with all its streams, or with those that are good in a damaged GOP."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk
from lfqcodec.codec.gop import GopDecoder
from lfqcodec.codec.tokens import GroupTokens, TokenDecoder
from lfqcodec.errors import BitstreamError, NumericsMismatch


@dataclass(frozen=True)
class Reconstruction:
    """The new frames of a chunk, uint8 [valid, H, W, 3], which may still be on their way.

    `streams` says how many streams they are made of, and of how many, where the others are damaged: then the
    pictures are not those that were coded.
    """

    pictures: Future[NDArray[np.uint8]]
    streams: tuple[int, int] | None = None


class Reconstructor:
    """Decodes the chunks of a file in order, at most `streams` streams of each.

    What is lost of later streams matters in no other chunk: all that chunks depend on is in stream 0.
    """

    def __init__(self, tokens: TokenDecoder, decoder: GopDecoder, streams: int | None) -> None:
        self._tokens, self._decoder, self._streams = tokens, decoder, streams

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk; None where it is `damaged`, and no stream of it is good.

        Raises what `TokenDecoder.decode` does for a chunk that is not damaged.
        """
        most = chunk.head.stream_count
        wanted = most if self._streams is None else min(self._streams, most)
        if not damaged:
            return Reconstruction(self._pictures(chunk, wanted))
        groups, right = self._decode(chunk, wanted)
        if groups is None:
            return None
        pictures = self._decoder.decode(groups, chunk.head)
        return Reconstruction(pictures, None if right == wanted else (right, wanted))

    def _pictures(self, chunk: Chunk, streams: int) -> Future[NDArray[np.uint8]]:
        """Those of an intact chunk: decoding begins with the tokens of its first group."""
        groups = self._tokens.groups(chunk, streams)
        try:
            return self._decoder.decode(groups, chunk.head)
        except BitstreamError:
            # Tokens may mean nothing because they are wrong: then that is the error.
            for _ in groups:
                pass
            raise

    def _decode(self, chunk: Chunk, most: int) -> tuple[list[GroupTokens] | None, int]:
        """The tokens of a damaged chunk, of as many streams as are right, and their number."""
        rates = self._tokens.rates
        for streams in range(most, 0, -1):
            before = rates.snapshot()
            try:
                return self._tokens.decode(chunk, streams), streams
            except (BitstreamError, NumericsMismatch):
                rates.restore(before)
        return None, 0
