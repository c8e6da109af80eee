"""Kernels of the learned rate model: frequency rows from logits.

Values are whole numbers, or multiples of a power of two, that their type holds exactly, so the order of sums
does not matter. `lfqcodec.prior.motion.network` says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.kernels import kernel, part
from lfqcodec.prior.motion.config import HALVES, MOTION_CLASSES, VALUES

Array = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = NDArray[np.float64]
_UPPER, _LOWER = HALVES
_LOWER_BITS = VALUES - 5
_SHARE_BITS = 18
_SHARED = float(ROW_SUM - SYMBOLS)
_EXCLUDED = -float(1 << 23)
"""A logit so low that the table gives it no share."""


@part
def _shares(logits: Any, table: Rows, out: Rows) -> int:
    """Logits [k] to shares: floor(2^18 e / sum of e); gives the place of the first largest.

    floor(a / b) = floor((a + 1/2) / b), and that is at least 1 / (2 b) >= 2^-22 away from an integer: more
    than the errors of multiplying by a rounded 1 / b, below 2^18 * 2^-51.
    """
    count, best = len(logits), 0
    for k in range(count):
        if logits[k] > logits[best]:
            best = k
    total = 0.0
    for k in range(count):
        out[k] = table[int(min(logits[best] - logits[k], np.float32(len(table) - 1)))] * (1 << _SHARE_BITS)
        total += out[k]
    inverse = (1 << _SHARE_BITS) / total
    for k in range(count):
        out[k] = np.floor((out[k] + 0.5) * inverse)
    return best


@part
def _product(upper: Any, lower: Any, table: Rows, first: Rows, second: Rows, sums: Rows, out: Rows) -> None:
    """The row of two independent parts; `first`, `second` and `sums` are room to work in."""
    high, wide = len(upper), len(lower)
    likely = _shares(upper, table, first) * wide + _shares(lower, table, second)
    sums[:wide] = 0
    for i in range(high):
        # Below 2^51: exact.
        share = first[i] * ((ROW_SUM // SYMBOLS - 1) * 0.5 ** (2 * _SHARE_BITS - 9))
        for j in range(wide):
            value = np.floor(share * second[j])
            out[i * wide + j] = value
            sums[j] += value
    total = 0.0
    for j in range(wide):
        total += sums[j]
    out[high * wide :] = 0
    out[likely] += _SHARED - total


@kernel("float64[:,::1](float32[:,::1], int64, int64, float64[::1])")
def product_rows(logits: Floats, high: int, wide: int, table: Rows) -> Rows:
    """Rows of symbols with two independent parts, from the first high + wide logits."""
    out = np.empty((len(logits), SYMBOLS))
    first, second, sums = np.empty(high), np.empty(wide), np.empty(wide)
    for row in range(len(logits)):
        own = logits[row]
        _product(own[:high], own[high : high + wide], table, first, second, sums, out[row])
    return out


@kernel("float64[:,::1](float32[:,::1], int64[::1], float64[::1])")
def sign_rows(logits: Floats, significant: Array, table: Rows) -> Rows:
    """Rows of signs from the last 9 logits: only where there is a significant bit."""
    out = np.empty((len(logits), SYMBOLS))
    first, second, sums = np.empty(_UPPER), np.empty(_LOWER), np.empty(_LOWER)
    upper, lower = np.empty(_UPPER, np.float32), np.empty(_LOWER, np.float32)
    for row in range(len(logits)):
        own = logits[row, logits.shape[1] - VALUES :]
        _combine(own[_LOWER_BITS:], significant[row] >> _LOWER_BITS, upper)
        _combine(own[:_LOWER_BITS], significant[row] & (_LOWER - 1), lower)
        _product(upper, lower, table, first, second, sums, out[row])
    return out


@part
def _combine(logits: Any, significant: int, out: Floats) -> None:
    """The sums of the logits of the set bits of each symbol; symbols with other bits are left out."""
    for symbol in range(len(out)):
        total = np.float32(0)
        for bit in range(len(logits)):
            if symbol >> bit & 1:
                total += logits[bit]
        out[symbol] = total if symbol & ~significant == 0 else np.float32(_EXCLUDED)


@kernel(
    "float64[:,::1](float32[:,::1], int64[:,::1], float64[::1], float64[::1], int64[::1], int64[::1], "
    "int64[::1])"
)
def motion_rows(
    logits: Floats, candidates: Array, table: Rows, widths: Rows, nearest: Array, kinds: Array, begins: Array
) -> Rows:
    """Rows of differences from the logits of classes, and of candidates [n, k], k 0 or 4."""
    n, many = logits.shape
    out, shares = np.empty((n, SYMBOLS)), np.empty(many)
    for row in range(n):
        _shares(logits[row], table, shares)
        best, missing = 0, _SHARED
        for k in range(many):
            shares[k] *= (ROW_SUM // SYMBOLS - 1) * 0.5 ** (_SHARE_BITS - 9)
            if k < MOTION_CLASSES:
                shares[k] = np.floor(shares[k] / widths[k])
                missing -= shares[k] * widths[k]
                if logits[row, k] > logits[row, best]:
                    best = k
        for run in range(len(kinds)):
            out[row, begins[run] : begins[run + 1]] = shares[kinds[run]]
        for k in range(candidates.shape[1]):
            spike = np.floor(shares[MOTION_CLASSES + k])
            out[row, candidates[row, k]] += spike
            missing -= spike
        out[row, nearest[best]] += missing
    return out
