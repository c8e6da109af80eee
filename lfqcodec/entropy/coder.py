"""Coding of the tokens of a layer: one model, driven the same way in both directions."""

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

Chooser = Callable[[Batch], NDArray[Any]]
"""Chooses the symbols of a batch, integers [n] in 0..511, once its frequency rows are known."""


_OUTSIDE = "the model codes a subtoken that is not there"


def drive(source: RowSource, count: int, step: Callable[[Batch], NDArray[np.int32]]) -> Subtokens:
    """Run a model to its end; `step` gives the symbols [n] of each batch. Both sides go through here.

    Gives all subtokens in flat order, int32 [count]. `ValueError` where the model breaks its contract.
    """
    subtokens = np.full(count, -1, np.int32)
    coded = 0
    try:
        batch = next(source)
        while True:
            batch.check()
            positions = batch.positions
            if len(positions) and positions.min() < 0:
                raise ValueError(_OUTSIDE)
            symbols = step(batch)
            try:
                subtokens[positions] = symbols
            except IndexError as error:
                raise ValueError(_OUTSIDE) from error
            coded += len(positions)
            batch = source.send(symbols)
    except StopIteration:
        pass
    finally:
        source.close()
    # Looked at once, at the end: most batches are small.
    if coded > count:
        raise ValueError("the model codes a subtoken twice")
    if (subtokens < 0).any():
        raise ValueError("the model leaves subtokens out")
    return subtokens


class StreamEncoder:
    """A rANS stream that takes one layer of tokens after another, and the tokens it took."""

    def __init__(self) -> None:
        self._encoder, self._tokens = RansEncoder(), [np.zeros(0, np.int32)]

    def put(self, source: RowSource, shape: tuple[int, int, int], choose: Chooser) -> NDArray[np.int32]:
        """Code a layer whose subtokens `choose` picks batch by batch; gives its tokens, int32 of `shape`.

        `ValueError` where a model breaks its contract or a choice is not in 0..511.
        """

        def step(batch: Batch) -> NDArray[np.int32]:
            chosen = np.asarray(choose(batch))
            if chosen.shape != (len(batch.positions),) or chosen.dtype.kind not in "iu":
                raise ValueError("a choice must be one integer per position")
            if chosen.size and not (chosen.min() >= 0 and chosen.max() < SYMBOLS):
                raise ValueError(f"a subtoken must be in 0..{SYMBOLS - 1}")
            symbols = chosen.astype(np.int32)
            self._encoder.put(batch, symbols)
            return symbols

        subtokens = drive(source, SUBTOKENS * math.prod(shape), step)
        self._tokens.append(subtokens_to_tokens(subtokens, (math.prod(shape),)))
        return self._tokens[-1].reshape(shape)

    def words(self) -> Words:
        """The words of all layers, uint32 [m]."""
        return self._encoder.words()

    def append(self, other: StreamEncoder) -> None:
        """Go on with all that another stream took."""
        self._encoder.append(other._encoder)
        self._tokens += other._tokens

    def tokens(self) -> NDArray[np.int32]:
        """All tokens in coding order of their layers, each in raster order, int32 [n]."""
        return np.concatenate(self._tokens)


class StreamDecoder:
    """The inverse. Raises `CorruptPayload`.

    A payload that passes may still hold other tokens than were coded: `lfqcodec.bitstream.check_tokens`
    finds out.
    """

    def __init__(self, words: NDArray[Any]) -> None:
        self._decoder, self._tokens = RansDecoder(words), [np.zeros(0, np.int32)]

    def get(self, source: RowSource, shape: tuple[int, int, int]) -> NDArray[np.int32]:
        """The tokens of the next layer, int32 of `shape`."""
        subtokens = drive(source, SUBTOKENS * math.prod(shape), self._decoder.get)
        self._tokens.append(subtokens_to_tokens(subtokens, (math.prod(shape),)))
        return self._tokens[-1].reshape(shape)

    def finish(self) -> NDArray[np.int32]:
        """The end of the stream; gives all tokens as `StreamEncoder.tokens` does."""
        self._decoder.finish()
        return np.concatenate(self._tokens)


def as_given(tokens: NDArray[Any]) -> Chooser:
    """Picks these tokens, integers in 0..2^18-1."""
    subtokens = tokens_to_subtokens(tokens)
    return lambda batch: subtokens[batch.positions]


def encode_tokens(source: RowSource, tokens: NDArray[Any]) -> Words:
    """The words, uint32 [m], of a stream of one layer of tokens, integers [planes, rows, columns]."""
    encoder = StreamEncoder()
    encoder.put(source, tokens.shape, as_given(tokens))
    return encoder.words()


def decode_tokens(source: RowSource, words: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """The inverse, int32 of `shape`. Raises `CorruptPayload`."""
    decoder = StreamDecoder(words)
    tokens = decoder.get(source, shape)
    decoder.finish()
    return tokens
