"""The rANS coder: 32-bit words, 64-bit state, 24-bit precision (spec section 12), on `constriction`.

`Categorical(perfect=False)` turns float64 weights into integer frequencies by scaling what is left after
one count was set aside for each entry. With frequencies f that sum to 2^24, weights f - 1 make its scale
exactly 1.0, so the integers pass through unchanged. Tests hold it against a plain-Python rANS, word for word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.model import ROW_SUM, Batch
from lfqcodec.errors import CorruptPayload

Words = NDArray[np.uint32]
_AT_ONCE = 1 << 14
"""Symbols that are given to the coder at once, at least."""


def _stream() -> Any:
    # Not at the top: machines that only train do without it.
    import constriction

    return constriction.stream


class RansEncoder:
    """Takes batches of symbols in coding order and gives the words.

    rANS is last in, first out, so nothing can be written before the last symbol is known. What is kept of
    a batch is only the interval of each symbol, 12 bytes, instead of its row of 2 KiB.
    """

    def __init__(self) -> None:
        self._intervals: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]] = []

    def put(self, batch: Batch, symbols: NDArray[np.int32]) -> None:
        """Add the symbols, int32 [n] in 0..511, of a batch."""
        starts, frequencies = batch.intervals(symbols)
        self._intervals.append((starts.astype(np.uint32), frequencies.astype(np.uint32)))

    def append(self, other: RansEncoder) -> None:
        """Add all that another encoder took."""
        self._intervals += other._intervals

    def words(self) -> Words:
        """The compressed words, uint32 [m]; the last one is not zero."""
        stream = _stream()
        coder = stream.stack.AnsCoder()
        model = stream.model.Categorical(perfect=False)
        for starts, frequencies in self._joined():
            symbols, weights = _three_way(starts, frequencies)
            coder.encode_reverse(symbols, model, weights)
        return np.asarray(coder.get_compressed(), np.uint32)

    def _joined(self) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
        """The intervals of many batches at once, the last first: most batches are small."""
        waiting, count = [], 0
        for batch in reversed(self._intervals):
            waiting.append(batch)
            count += len(batch[0])
            if count >= _AT_ONCE:
                yield _in_order(waiting)
                waiting, count = [], 0
        if count:
            yield _in_order(waiting)


def _in_order(
    batches: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Starts and frequencies of batches given from the last to the first."""
    starts, frequencies = zip(*reversed(batches), strict=True)
    return np.concatenate(starts), np.concatenate(frequencies)


def _three_way(
    starts: NDArray[np.uint32], frequencies: NDArray[np.uint32]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rows of three entries in which one has the interval [start, start + frequency) of the true row.

    Only the interval of the symbol enters a rANS state. Three entries always fit around it: below and above
    it, or, where one side is empty, the other side in two parts, which has at least 511 counts.
    """
    start, own = starts.astype(np.int64), frequencies.astype(np.int64)
    above = ROW_SUM - start - own
    first, last = start == 0, above == 0
    symbols = np.where(first, 0, np.where(last, 2, 1)).astype(np.int32)
    low = np.where(first, own, np.where(last, 1, start))
    high = np.where(last, own, np.where(first, 1, above))
    weights = np.stack((low, ROW_SUM - low - high, high), axis=1) - 1
    return symbols, weights.astype(np.float64)


class RansDecoder:
    """Gives back the symbols of `words`, uint32 [m], batch by batch. Raises `CorruptPayload`."""

    def __init__(self, words: NDArray[Any]) -> None:
        words = np.ascontiguousarray(words, np.uint32)
        if len(words) and words[-1] == 0:
            raise CorruptPayload("the last word of a payload is zero")
        stream = _stream()
        self._categorical = stream.model.Categorical
        self._of_rows = self._categorical(perfect=False)
        self._coder = stream.stack.AnsCoder(words)
        self._row: NDArray[np.float64] | None = None
        """The last single row, which often comes again, and its model."""
        self._of_row: Any = None

    def get(self, batch: Batch) -> NDArray[np.int32]:
        """The next symbols, int32 [n] in 0..511."""
        if not len(batch.positions):
            return np.empty(0, np.int32)
        weights = batch.weights
        try:
            if weights.ndim == 1:
                if weights is not self._row:
                    self._row, self._of_row = weights, self._categorical(weights, perfect=False)
                symbols = self._coder.decode(self._of_row, len(batch.positions))
            else:
                symbols = self._coder.decode(self._of_rows, weights)
        except (KeyError, ValueError, IndexError, AssertionError) as error:
            raise CorruptPayload(f"payload cannot be decoded: {error}") from error
        return np.asarray(symbols, np.int32)

    def finish(self) -> None:
        """`CorruptPayload` unless every word is used up and the state is back at its start, zero."""
        if not self._coder.is_empty():
            raise CorruptPayload("payload does not end with its last symbol")
