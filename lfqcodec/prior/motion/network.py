"""The networks of the learned rate model in exact integers, and the frequency rows made from their logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.arithmetic import Linear
from lfqcodec.prior.motion.config import HALVES, LIMIT, MOTION_CLASSES, VALUES
from lfqcodec.prior.motion.group import Array, Rows
from lfqcodec.prior.motion.weights import TABLE, MotionPriorWeights, linear_specs

RowMaker = Callable[[slice], Rows]
"""Gives the rows of a slice of the positions that it was made for, float64 [n, 512]."""
_UPPER, _LOWER = HALVES
_LOWER_BITS = VALUES - 5
_SHARE_BITS = 18
_SHARED = ROW_SUM - SYMBOLS
_LOGIT_LIMIT = 32767  # sums of a few stay exact
_EXCLUDED = -float(1 << 23)
"""A logit so low that the table gives it no share."""


class Shares:
    """Integer logits to integer shares: floor(2^18 e / sum of e) with e = table[min(max - logit, 1023)]."""

    def __init__(self, table: Array) -> None:
        self._scaled = table.astype(np.float64) * (1 << _SHARE_BITS)

    def __call__(self, logits: NDArray[np.float32]) -> Rows:
        """float32 [..., k] -> float64 [..., k], k at most 32."""
        distance = np.minimum(logits.max(-1, keepdims=True) - logits, len(self._scaled) - 1)
        raised: Rows = self._scaled.take(distance.astype(np.intp))
        # floor(a / b) = floor((a + 1/2) / b), and that is at least 1 / (2 b) >= 2^-22 away from an integer:
        # more than the errors of multiplying by a rounded 1 / b, below 2^18 * 2^-51.
        inverse = (1 << _SHARE_BITS) / raised.sum(-1, keepdims=True)
        raised += 0.5
        raised *= inverse
        return np.floor(raised, out=raised)


class MotionNetworks:
    """All networks of a learned rate model, ready to run on the CPU."""

    def __init__(self, weights: MotionPriorWeights) -> None:
        self.config = weights.config
        arrays = weights.arrays
        self._linears = {
            name: Linear(*(arrays[f"{name}.{part}"] for part in ("weight", "shift", "bias")))
            for name in linear_specs(weights.config)
        }
        self._shares = Shares(arrays[TABLE])

    @torch.inference_mode()
    def logits(self, name: str, features: Tensor) -> NDArray[np.float32]:
        """The logits of a network, in units of 2^-6 nats: float32 [n, features] -> [n, logits]."""
        x = self._linears[f"{name}.first"](features).clamp_(0, LIMIT)
        x = self._linears[f"{name}.second"](x).clamp_(0, LIMIT)
        logits: NDArray[np.float32] = self._linears[f"{name}.logits"](x).numpy()
        return np.minimum(np.maximum(logits, -_LOGIT_LIMIT, out=logits), _LOGIT_LIMIT, out=logits)

    def few_logits(self, name: str, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of arrays of a few rows."""
        x = features
        for part in ("first", "second"):
            x = self._linears[f"{name}.{part}"].few(x)
            # Not `clip`, which takes thrice as long for a few rows.
            np.minimum(np.maximum(x, 0, out=x), LIMIT, out=x)
        x = self._linears[f"{name}.logits"].few(x)
        return np.minimum(np.maximum(x, -_LOGIT_LIMIT, out=x), _LOGIT_LIMIT, out=x)

    def significance_rows(self, logits: NDArray[np.float32]) -> RowMaker:
        """Rows of subtoken 0 from the first 48 logits of a network for tokens."""
        return lambda part: self._product_rows(logits[part, :_UPPER], logits[part, _UPPER : _UPPER + _LOWER])

    def sign_rows(self, logits: NDArray[np.float32], first: Array) -> RowMaker:
        """Rows of subtoken 1 from the last 9 logits: signs where subtoken 0, int64 [n], has a bit."""
        return lambda part: self._sign_rows(logits[part, -VALUES:], first[part])

    def _sign_rows(self, logits: NDArray[np.float32], first: Array) -> Rows:
        upper = logits[:, _LOWER_BITS:] @ _BITS[:_UPPER, : VALUES - _LOWER_BITS].T
        lower = logits[:, :_LOWER_BITS] @ _BITS[:_LOWER, :_LOWER_BITS].T
        np.putmask(upper, _COMBINES_NOT[first >> _LOWER_BITS], _EXCLUDED)
        np.putmask(lower, _COMBINES_NOT[first & (_LOWER - 1), :_LOWER], _EXCLUDED)
        return self._product_rows(upper, lower)

    def depth_rows(self, logits: NDArray[np.float32]) -> RowMaker:
        """Rows of depth tokens from 32 logits: of the lower two blocks, then of the upper two."""
        return lambda part: self._product_rows(logits[part, :_LOWER], logits[part, _LOWER:])

    def _product_rows(self, upper: NDArray[np.float32], lower: NDArray[np.float32]) -> Rows:
        """Rows of symbols with two independent parts: symbol (i, j) for upper value i and lower value j.

        f = 1 + floor(share[i] share[j] (2^15 - 1) / 2^27), 1 for symbols that are not there; what is then
        missing of 2^24 goes to the most likely symbol: the first largest logits.
        """
        n, high, wide = len(upper), upper.shape[1], lower.shape[1]
        both = np.full((n, 2, max(high, wide)), _EXCLUDED, np.float32)
        both[:, 0, :high], both[:, 1, :wide] = upper, lower
        likely = both.argmax(-1) @ (wide, 1)
        shares = self._shares(both)
        # Below 2^51: exact.
        shares[:, 0] *= (ROW_SUM // SYMBOLS - 1) * 0.5 ** (2 * _SHARE_BITS - 9)
        rows = torch.empty(n, SYMBOLS, dtype=torch.float64)
        if high * wide < SYMBOLS:
            rows[:, high * wide :] = 0
        product = rows[:, : high * wide].view(n, high, wide)
        # numpy takes three times as long for products of short rows.
        first, second = (torch.from_numpy(part) for part in (shares[:, 0, :high], shares[:, 1, :wide]))
        torch.mul(first[:, :, None], second[:, None], out=product).floor_()
        result: Rows = rows.numpy()
        result[np.arange(n), likely] += _SHARED - rows.sum(-1).numpy()
        return result

    def motion_rows(self, logits: NDArray[np.float32], candidates: Array | None = None) -> RowMaker:
        """Rows of differences from the logits of 18 classes, and of `candidates`, subtokens [n, 4]."""
        if candidates is None:
            return lambda part: self._motion_rows(logits[part])
        return lambda part: self._motion_rows(logits[part], candidates[part])

    def _motion_rows(self, logits: NDArray[np.float32], candidates: Array | None = None) -> Rows:
        """f = 1 + floor(share (2^15 - 1) / (2^9 width)) for the symbols of a class of that width.

        For a candidate floor(share (2^15 - 1) / 2^9) is added, and what is then missing to the symbol nearest
        to 0 of the class with the first largest logit.
        """
        shares = self._shares(logits)
        shares *= (ROW_SUM // SYMBOLS - 1) * 0.5 ** (_SHARE_BITS - 9)
        each = np.floor(shares[:, :MOTION_CLASSES] / _WIDTHS)
        missing = _SHARED - each @ _WIDTHS
        rows: Rows = np.repeat(each[:, _OF_RUN], _RUNS, axis=1)
        places = np.arange(len(rows))
        if candidates is not None:
            spikes = np.floor(shares[:, MOTION_CLASSES:])
            for spike, symbols in zip(spikes.T, candidates.T, strict=True):
                rows[places, symbols] += spike
            missing -= spikes.sum(1)
        rows[places, _NEAREST[logits[:, :MOTION_CLASSES].argmax(-1)]] += missing
        return rows


_BITS = (np.arange(_UPPER)[:, None] >> np.arange(VALUES - _LOWER_BITS) & 1).astype(np.float32)
_COMBINES_NOT = (np.arange(_UPPER) & ~np.arange(_UPPER)[:, None]) != 0
"""[significant bits, sign bits]: whether a sign is set where nothing is significant."""


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
_WIDTHS = _COUNTS.astype(np.float64)
_BEGINS = np.flatnonzero(np.diff(_OF_SYMBOL, prepend=-1))
_OF_RUN, _RUNS = _OF_SYMBOL[_BEGINS], np.diff(_BEGINS, append=SYMBOLS)
"""Classes of runs of symbols in their order, and how long these are."""
