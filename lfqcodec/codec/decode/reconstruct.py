"""From a chunk to its pictures: with all its stages, or with those that are good in a damaged GOP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, FileHeader, Profile
from lfqcodec.codec.gop import GopDecoder, TokenDecoder
from lfqcodec.entropy import UNKNOWN, guess_tokens
from lfqcodec.errors import BitstreamError, NumericsMismatch

SURE_BITS = 6.0
"""A lost token is guessed where the prior's entropy is not over this; measured in docs/damage.md."""


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
        self, header: FileHeader, tokens: TokenDecoder, decoder: GopDecoder, stages: int | None
    ) -> None:
        self._header, self._tokens, self._decoder, self._stages = header, tokens, decoder, stages
        self._trusted: int | None = None  # stages that are right in the whole of the open GOP, None for all

    def __call__(self, chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
        """The pictures of the next chunk; None where it is `damaged`, and no stage of it is good.

        Raises what `TokenDecoder.decode` does for a chunk that is not damaged.
        """
        head = chunk.head
        shape = head.shape(self._header)
        if head.gop_start:
            self._trusted = None
        if not damaged and self._trusted is None:
            tokens = self._tokens.decode(chunk, shape, self._stages)
            right = len(tokens)
        else:
            tokens, right = self._rescue(chunk, shape, damaged=damaged)
            if not right:
                return None
            if right < len(tokens):
                self._trusted = right if self._trusted is None else min(right, self._trusted)
        pictures = self._decoder.decode(tokens, head.valid, gop_start=head.gop_start)
        return Reconstruction(pictures, right, len(tokens), self._trusted is None)

    def _rescue(
        self, chunk: Chunk, shape: tuple[int, int, int], *, damaged: bool
    ) -> tuple[tuple[NDArray[np.int32], ...], int]:
        """Tokens of a chunk in a GOP in which a payload is damaged, and how many stages of them are right.

        A `damaged` chunk is right up to the first stage that does not decode to the checksum of its tokens.
        In profile exact no stage can be decoded that was not right in the chunks before. In place of stages
        that are lost come the tokens that the prior is sure of (`SURE_BITS`), `UNKNOWN` where it is not;
        nothing of it matters to the stages below. With no stage right, the tokens mean nothing, and the GOP
        cannot be gone on with.
        """
        rates, exact = self._tokens.rates, self._tokens.profile == Profile.EXACT
        wanted = chunk.head.stages if self._stages is None else min(self._stages, chunk.head.stages)
        most = wanted if self._trusted is None or not exact else min(self._trusted, wanted)
        rates.begin_chunk(shape[0], gop_start=chunk.head.gop_start)
        out: list[NDArray[np.int32]] = []
        while len(out) < most:
            before = rates.snapshot()
            try:
                out.append(self._tokens.decode_layer(chunk, shape, len(out)))
            except (BitstreamError, NumericsMismatch):
                if not damaged:
                    raise
                rates.restore(before)
                break
        right = len(out)
        for stage in range(right, wanted):
            if right and exact:
                out.append(guess_tokens(rates.rows(stage), shape, SURE_BITS))
            else:
                out.append(np.full(shape, UNKNOWN, np.int32))
        return tuple(out), right
