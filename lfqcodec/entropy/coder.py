"""Coding of the tokens of one stage of one chunk: one model, driven the same way in both directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKENS
from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.entropy.rans import RansDecoder, RansEncoder, Words
from lfqcodec.entropy.subtokens import SYMBOLS, Subtokens, subtokens_to_tokens, tokens_to_subtokens
from lfqcodec.errors import CorruptPayload

Chooser = Callable[[Batch], NDArray[Any]]
"""Chooses the symbols of a batch, integers [n] in 0..511, once its frequency rows are known."""


def drive(source: RowSource, count: int, step: Callable[[Batch], NDArray[np.int32]]) -> Subtokens:
    """Run a model to its end; `step` gives the symbols [n] of each batch. Both sides go through here.

    Gives all subtokens in flat order, int32 [count]. `ValueError` where the model breaks its contract.
    """
    subtokens = np.full(count, -1, np.int32)
    try:
        batch = next(source)
        while True:
            batch.check()
            positions = batch.positions
            if len(positions) and not (positions.min() >= 0 and positions.max() < count):
                raise ValueError("the model codes a subtoken that is not there")
            if (subtokens[positions] >= 0).any():
                raise ValueError("the model codes a subtoken twice")
            symbols = step(batch)
            subtokens[positions] = symbols
            batch = source.send(symbols)
    except StopIteration:
        pass
    finally:
        source.close()
    if (subtokens < 0).any():
        raise ValueError("the model leaves subtokens out")
    return subtokens


def choose_tokens(
    source: RowSource, shape: tuple[int, int, int], choose: Chooser
) -> tuple[Words, NDArray[np.int32]]:
    """Code a stage of `shape` (T, h, w) whose subtokens `choose` picks batch by batch.

    Gives the words, uint32 [m], and the tokens chosen, int32 [T, h, w]. `ValueError` where a model breaks
    its contract or a choice is not in 0..511.
    """
    encoder = RansEncoder()

    def step(batch: Batch) -> NDArray[np.int32]:
        chosen = np.asarray(choose(batch))
        if chosen.shape != (len(batch.positions),) or chosen.dtype.kind not in "iu":
            raise ValueError("a choice must be one integer per position")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < SYMBOLS):
            raise ValueError(f"a subtoken must be in 0..{SYMBOLS - 1}")
        symbols = chosen.astype(np.int32)
        encoder.put(batch, symbols)
        return symbols

    subtokens = drive(source, SUBTOKENS * math.prod(shape), step)
    return encoder.words(), subtokens_to_tokens(subtokens, shape)


def encode_tokens(source: RowSource, tokens: NDArray[Any]) -> Words:
    """Code the tokens of a stage, integers [T, h, w] in 0..2^18-1, as they are. Gives words, uint32 [m]."""
    subtokens = tokens_to_subtokens(tokens)
    words, _ = choose_tokens(source, tokens.shape, lambda batch: subtokens[batch.positions])
    return words


def decode_tokens(
    source: RowSource,
    words: NDArray[Any],
    shape: tuple[int, int, int],
    *,
    offset: int | None = None,
    chunk: int | None = None,
) -> NDArray[np.int32]:
    """Decode the tokens of a stage, int32 of `shape` (T, h, w), from uint32 words.

    Raises `CorruptPayload`, placed at `offset` and `chunk`. A payload that passes may still hold other
    tokens than were coded: `lfqcodec.bitstream.check_tokens` finds out.
    """
    try:
        decoder = RansDecoder(words)
        subtokens = drive(source, SUBTOKENS * math.prod(shape), decoder.get)
        decoder.finish()
    except CorruptPayload as error:
        raise CorruptPayload(error.message, offset=offset, chunk=chunk) from error
    return subtokens_to_tokens(subtokens, shape)
