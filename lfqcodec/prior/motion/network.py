"""The networks of the learned rate model in exact integers, and the frequency rows made from their logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.arithmetic import Linear
from lfqcodec.prior.motion.config import BLOCKS, DEPTH_CHOICES, HALVES, LIMIT, MOTION_CLASSES
from lfqcodec.prior.motion.group import Array, Rows
from lfqcodec.prior.motion.kernels import rows as kernels
from lfqcodec.prior.motion.weights import TABLE, MotionPriorWeights, linear_specs

Floats = NDArray[np.float32]
RowMaker = Callable[[slice], Rows]
"""Gives the rows of a slice of the positions that it was made for, float64 [n, 512]."""
_LOGIT_LIMIT = 32767  # sums of a few stay exact
_HALF = DEPTH_CHOICES ** (BLOCKS // 2)
_NO_CANDIDATES = np.zeros((0, 0), np.int64)


class MotionNetworks:
    """All networks of a learned rate model, ready to run on the CPU."""

    def __init__(self, weights: MotionPriorWeights) -> None:
        self.config = weights.config
        arrays = weights.arrays
        self._linears = {
            name: Linear(*(arrays[f"{name}.{part}"] for part in ("weight", "shift", "bias")))
            for name in linear_specs(weights.config)
        }
        self._table = arrays[TABLE].astype(np.float64)

    @torch.inference_mode()
    def logits(self, name: str, features: Floats) -> Floats:
        """The logits of a network, in units of 2^-6 nats: float32 [n, features] -> [n, logits]."""
        x = self._linears[f"{name}.first"](torch.from_numpy(features)).clamp_(0, LIMIT)
        x = self._linears[f"{name}.second"](x).clamp_(0, LIMIT)
        logits: Floats = self._linears[f"{name}.logits"](x).clamp_(-_LOGIT_LIMIT, _LOGIT_LIMIT).numpy()
        return logits

    def significance_rows(self, logits: Floats) -> RowMaker:
        """Rows of subtoken 0 from the first 48 logits of a network for tokens."""
        return lambda part: kernels.product_rows(logits[part], *HALVES, self._table)

    def sign_rows(self, logits: Floats, first: Array) -> RowMaker:
        """Rows of subtoken 1 from the last 9 logits: signs where subtoken 0, int64 [n], has a bit."""
        return lambda part: kernels.sign_rows(logits[part], first[part], self._table)

    def depth_rows(self, logits: Floats) -> RowMaker:
        """Rows of depth tokens from 32 logits: of the lower two blocks, then of the upper two."""
        return lambda part: kernels.product_rows(logits[part], _HALF, _HALF, self._table)

    def motion_rows(self, logits: Floats, candidates: Array = _NO_CANDIDATES) -> RowMaker:
        """Rows of differences from the logits of 18 classes, and of `candidates`, subtokens [n, 4]."""
        return lambda part: kernels.motion_rows(logits[part], candidates[part], self._table, *_CLASSES)


def classes() -> tuple[Array, Array, Array]:
    """Class of each subtoken of motion [512], symbols of a class and its symbol nearest to 0 [18].

    Class 0 is 0; classes 2 b - 1 and 2 b are differences above and below 0 of b = 1..8 bits; class 17 -256.
    """
    symbols = np.arange(SYMBOLS)
    below = symbols > SYMBOLS // 2
    bits = np.array([min(s, SYMBOLS - s).bit_length() for s in range(SYMBOLS)])
    of_symbol = np.where(bits == 0, 0, 2 * bits - 1 + below)
    widths = np.bincount(of_symbol, minlength=MOTION_CLASSES)
    nearest = [
        min(np.flatnonzero(of_symbol == c), key=lambda s: min(s, SYMBOLS - s)) for c in range(MOTION_CLASSES)
    ]
    return of_symbol, widths, np.array(nearest)


_OF_SYMBOL, _COUNTS, _NEAREST = classes()
_BEGINS = np.flatnonzero(np.diff(_OF_SYMBOL, prepend=-1))
_CLASSES = _COUNTS.astype(np.float64), _NEAREST, _OF_SYMBOL[_BEGINS], np.append(_BEGINS, SYMBOLS)
"""Symbols of each class and the one nearest to 0; classes of runs of symbols, and where these begin."""
