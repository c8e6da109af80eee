"""What gives the frequency rows: the interface of all models (spec section 11)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import PRECISION_BITS, Layer
from lfqcodec.entropy.subtokens import SYMBOLS

ROW_SUM = 1 << PRECISION_BITS
"""Sum of every frequency row: 2^24."""


@dataclass(frozen=True)
class Batch:
    """Subtokens that are coded next, and how likely their values are.

    `positions` [n], integers: where the subtokens lie in the flat order of a layer (2 * raster position of
    the token + 0 or 1), in coding order. `weights`: frequencies less 1, which is what the coder takes,
    float64 [n, 512], or [512] for one row that holds for all; integers from 0, every row summing to
    2^24 - 512. Not to be written to.
    """

    positions: NDArray[Any]
    weights: NDArray[np.float64]

    @property
    def rows(self) -> NDArray[np.uint32]:
        """Frequencies, uint32 [n, 512] or [512]."""
        return self.weights.astype(np.uint32) + np.uint32(1)

    def check(self) -> None:
        """`ValueError` for wrong shapes or types, a fault of the model and not of a file.

        The values are the model's own business: to look at all of them would take longer than to code them.
        """
        if self.positions.ndim != 1 or self.positions.dtype.kind not in "iu":
            raise ValueError("positions must be a flat array of integers")
        shapes = (SYMBOLS,), (len(self.positions), SYMBOLS)
        if self.weights.dtype != np.float64 or self.weights.shape not in shapes:
            raise ValueError(f"weights must be float64 [n, {SYMBOLS}] or [{SYMBOLS}]")
        if not self.weights.flags.c_contiguous:
            raise ValueError("weights must be contiguous: the coder reads their memory row by row")

    def intervals(self, symbols: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and frequencies, int64 [n], of symbols [n] in their rows."""
        index = symbols.astype(np.int64)
        if self.weights.ndim == 1:
            ends = np.cumsum(self.weights)
            own, below = self.weights[index], ends[index] - self.weights[index]
        else:
            own = self.weights[np.arange(len(index)), index]
            # Sums of the pieces before and from each symbol on: all below 2^24, so float64 is exact.
            begins = np.arange(len(index)) * SYMBOLS
            pieces = np.stack((begins, begins + index), axis=1).reshape(-1)
            sums = np.add.reduceat(self.weights.reshape(-1), pieces)[::2] if len(index) else np.zeros(0)
            # An empty piece gives not 0 but the entry at its place.
            below = np.where(index > 0, sums, 0)
        return below.astype(np.int64) + index, own.astype(np.int64) + 1


RowSource = Generator[Batch, NDArray[np.int32], None]
"""A model at work on one layer of one group: yields a `Batch`, is sent the symbols, int32 [n], and so on.

Encoder and decoder drive the same generator. Its batches cover every position of the layer exactly once,
and depend on nothing but what it was made from and the symbols it was sent.
"""


class RateModel(Protocol):
    """Gives the frequency rows of a file, chunk by chunk, group by group, layer by layer.

    Both directions drive it. Rows of a layer may depend on the layers before it and on earlier groups of the
    GOP, but not on later streams. After an error, or a source that was not run to its end, start a new GOP.
    """

    def begin_chunk(self, groups: Sequence[Sequence[Layer]], *, gop_start: bool) -> None:
        """Go on to a chunk whose groups have these layers, the first of a GOP if `gop_start`."""

    def chunk_rows(self, number: int) -> RowSource:
        """The source of layer `number` of those that are coded for all groups of the chunk at once.

        They are `lfqcodec.bitstream.geometry.chunk_layers`. Each is to be run to its end before the next one.
        """

    def begin_group(self) -> None:
        """Go on to the next group of the chunk."""

    def rows(self, number: int) -> RowSource:
        """The source of layer `number` of the group; to be run to its end before that of a later layer.

        Where layers of the chunk have not been run, they are run here, for this group alone. Each value then
        has the row that it has in `chunk_rows`.
        """

    def given(self, number: int, tokens: NDArray[np.int32]) -> None:
        """In place of `rows`: layer `number` of the group is one of the chunk, and has these tokens.

        So an encoder goes on to the other layers before it codes those of the chunk.
        """

    def snapshot(self) -> Any:
        """What to give to `restore` to come back to this point between two chunks."""

    def restore(self, snapshot: Any) -> None:
        """Go back to where `snapshot` was taken; it can be used again."""
