"""What gives the frequency rows: the interface of all models, and the static one (spec section 11)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKENS
from lfqcodec.entropy.subtokens import SYMBOLS

ROW_SUM = 1 << PRECISION_BITS
"""Sum of every frequency row: 2^24."""


class Batch:
    """Subtokens that are coded next, and how likely their values are.

    `positions` [n], integers: where the subtokens lie in the flat order of a stage (2 * raster position of
    the token + 0 or 1), in coding order. `rows`: uint32 [n, 512], or [512] for one row that holds for all;
    every entry at least 1, every row summing to 2^24. `weights`: rows - 1, float64, which is what the
    coder takes. The one is made from the other where it is asked for; neither is to be written to.
    """

    def __init__(self, positions: NDArray[Any], rows: NDArray[np.uint32]) -> None:
        self.positions = positions
        self._rows: NDArray[np.uint32] | None = rows
        self._weights: NDArray[np.float64] | None = None

    @classmethod
    def from_weights(cls, positions: NDArray[Any], weights: NDArray[np.float64]) -> Batch:
        """A batch by its weights [n, 512]. Its maker vouches for them: `check` leaves the values alone."""
        batch = cls.__new__(cls)
        batch.positions, batch._rows, batch._weights = positions, None, weights
        return batch

    @property
    def rows(self) -> NDArray[np.uint32]:
        """Frequencies, uint32 [n, 512] or [512]."""
        if self._rows is None:
            self._rows = self.weights.astype(np.uint32) + np.uint32(1)
        return self._rows

    @property
    def weights(self) -> NDArray[np.float64]:
        """Frequencies less 1, float64 of the same shape."""
        if self._weights is None:
            self._weights = self.rows.astype(np.float64) - 1
        return self._weights

    def check(self) -> None:
        """`ValueError` unless rows and positions are as they must be: a fault of the model, not of a file."""
        if self.positions.ndim != 1 or self.positions.dtype.kind not in "iu":
            raise ValueError("positions must be a flat array of integers")
        if self._rows is None:
            if self.weights.dtype != np.float64 or self.weights.shape != (len(self.positions), SYMBOLS):
                raise ValueError(f"weights must be float64 [n, {SYMBOLS}]")
            return
        if self.rows.dtype != np.uint32 or self.rows.shape not in (
            (SYMBOLS,),
            (len(self.positions), SYMBOLS),
        ):
            raise ValueError(f"rows must be uint32 [n, {SYMBOLS}] or [{SYMBOLS}]")
        if self.rows.size and not (
            self.rows.min() >= 1 and np.all(self.rows.sum(-1, dtype=np.uint64) == ROW_SUM)
        ):
            raise ValueError(f"every row must sum to 2^{PRECISION_BITS} with no entry below 1")

    def intervals(self, symbols: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and frequencies, int64 [n], of symbols [n] in their rows."""
        index = symbols.astype(np.int64)
        if self._rows is not None and self._rows.ndim == 1:
            ends = np.cumsum(self._rows, dtype=np.int64)
            own = self._rows[index].astype(np.int64)
            return ends[index] - own, own
        weights = self.weights
        own = weights[np.arange(len(index)), index].astype(np.int64) + 1
        # Sums of the pieces before and from each symbol on: all weights below 2^24, so float64 is exact.
        begins = np.arange(len(index)) * SYMBOLS
        pieces = np.stack((begins, begins + index), axis=1).reshape(-1)
        below = np.add.reduceat(weights.reshape(-1), pieces)[::2] if len(index) else np.zeros(0)
        # An empty piece gives not 0 but the entry at its place.
        return np.where(index > 0, below, 0).astype(np.int64) + index, own


RowSource = Generator[Batch, NDArray[np.int32], None]
"""A model at work on one stage of one chunk: yields a `Batch`, is sent the symbols, int32 [n], and so on.

Encoder and decoder drive the same generator. Its batches cover every position of the stage exactly once,
and depend on nothing but what it was made from and the symbols it was sent.
"""


class StaticModel:
    """Profile `static`: all 512 values equally likely, subtokens in flat order, nothing learned."""

    _row = np.full(SYMBOLS, ROW_SUM // SYMBOLS, np.uint32)

    def rows(self, tokens: int) -> RowSource:
        """The source for a stage of `tokens` tokens: one batch with one row for all."""
        yield Batch(np.arange(SUBTOKENS * tokens), self._row)
