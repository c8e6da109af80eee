"""What gives the frequency rows: the interface of all models, and the static one (spec section 11)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKENS
from lfqcodec.entropy.subtokens import SYMBOLS

ROW_SUM = 1 << PRECISION_BITS
"""Sum of every frequency row: 2^24."""


@dataclass(frozen=True)
class Batch:
    """Subtokens that are coded next, and how likely their values are.

    `positions` [n], integers: where the subtokens lie in the flat order of a stage (2 * raster position of
    the token + 0 or 1), in coding order. `rows`: uint32 [n, 512], or [512] for one row that holds for all;
    every entry at least 1, every row summing to 2^24.
    """

    positions: NDArray[Any]
    rows: NDArray[np.uint32]

    def check(self) -> None:
        """`ValueError` unless rows and positions are as they must be: a fault of the model, not of a file."""
        if self.positions.ndim != 1 or self.positions.dtype.kind not in "iu":
            raise ValueError("positions must be a flat array of integers")
        if self.rows.dtype != np.uint32 or self.rows.shape not in (
            (SYMBOLS,),
            (len(self.positions), SYMBOLS),
        ):
            raise ValueError(f"rows must be uint32 [n, {SYMBOLS}] or [{SYMBOLS}]")
        if self.rows.size and not (
            self.rows.min() >= 1 and np.all(self.rows.sum(-1, dtype=np.uint64) == ROW_SUM)
        ):
            raise ValueError(f"every row must sum to 2^{PRECISION_BITS} with no entry below 1")


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
