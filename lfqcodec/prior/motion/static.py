"""Profile `static` of the `motion` tokenizer: fixed integer rows by kind of layer, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.group import (
    NOTHING,
    Array,
    Coding,
    Group,
    LayerCoder,
    MotionCoding,
    MotionRates,
    Past,
    Rows,
)

_HALF = SYMBOLS // 2
# Chances in 64ths, about those of natural videos in the middle of the range of quality.
_SIGNIFICANT = {"intra": (32, 2), "anchor": (12, 4), "middle": (8, 4), "quarters": (8, 4)}
"""By part: of a value not to be 0, in the first layer, and the least; each layer has half of that before."""
_DEPTH = {"anchor": (19, 19, 6, 20), "middle": (41, 16, 6, 1), "quarters": (48, 11, 4, 1)}
"""By part: of the four choices of depth."""
_MOVED = {"anchor": (2048, 1536, 3072), "middle": (704, 384, 2048), "quarters": (704, 384, 2048)}
"""By part: of a difference not to be 0, in 4096ths: dy; dx where dy is 0; dx where it is not."""


@cache
def motion_row(moved: int) -> Rows:
    """Two-sided, modulo 512: all magnitudes of as many bits are as likely, and so are all numbers of bits.

    f[s] = moved * 2^(9 - bits of |d|) for d = s or s - 512 other than 0; the rest is that of 0.
    """
    symbols = np.arange(SYMBOLS)
    magnitude = np.minimum(symbols, SYMBOLS - symbols)
    bits = sum((magnitude >> bit > 0).astype(np.int64) for bit in range(SUBTOKEN_BITS))
    return _completed(np.where(symbols > 0, moved << SUBTOKEN_BITS - bits, 0))


@cache
def depth_row(chances: tuple[int, int, int, int]) -> Rows:
    """f[s] is the product of the chances of the four choices, 1 from 256 on; 0 has what is missing."""
    row = np.ones(SYMBOLS, np.int64)
    symbols, each = np.arange(_HALF), np.array(chances)
    row[:_HALF] = np.prod([each[symbols >> shift & 3] for shift in (0, 2, 4, 6)], axis=0)
    row[0] = 0
    return _completed(row)


@cache
def significance_row(chance: int) -> Rows:
    """Nine independent bits, each set in `chance` of 64 cases.

    f[s] = 1 + (chance^n (64 - chance)^(9 - n) (2^24 - 512)) div 2^54, n bits being set in s; 0 has what is
    missing.
    """
    count = [symbol.bit_count() for symbol in range(SYMBOLS)]
    row = [1 + (chance**n * (64 - chance) ** (SUBTOKEN_BITS - n) * (ROW_SUM - SYMBOLS) >> 54) for n in count]
    return _completed(np.array([0, *row[1:]]))


@cache
def sign_rows() -> Rows:
    """By subtoken 0, float64 [512, 512]: signs only where it has a bit, all of these as likely.

    All others have frequency 1, and 0 has what is missing.
    """
    rows = np.empty((SYMBOLS, SYMBOLS))
    for first in range(SYMBOLS):
        valid = (np.arange(SYMBOLS) & ~first) == 0
        row = np.where(valid, 1 + (ROW_SUM - SYMBOLS) // valid.sum(), 1)
        row[0] = 0
        rows[first] = _completed(row)
    return rows


def _completed(row: Array) -> Rows:
    """Frequencies but for that of 0, which gets what they lack: as `Batch` takes them."""
    weights = (row - 1).astype(np.float64)
    weights[0] = ROW_SUM - row[1:].sum() - 1
    return weights


class StaticMotionRates(MotionRates):
    """Rows by kind of layer alone."""

    def _ended(self) -> Past:
        # All that rows depend on; motion would cost time, and torch.
        return self._past if self._group is None else Past(self._group.quality)

    def _anchor_motion(self, past: Past, quality: Sequence[int], coder: LayerCoder) -> MotionCoding:
        yield from self._differences("anchor", coder)
        return None

    def _motion(self, group: Group, part: str, coder: LayerCoder) -> Coding:
        return self._differences(part, coder)

    @staticmethod
    def _differences(part: str, coder: LayerCoder) -> Coding:
        still, beside, moving = (motion_row(moved) for moved in _MOVED[part])
        positions = np.arange(coder.size)
        first = yield from coder.code(0, positions, still)
        yield from coder.code(1, positions[first == 0], beside)
        yield from coder.code(1, positions[first != 0], moving)

    def _depth(self, group: Group, part: str, coder: LayerCoder) -> Coding:
        yield from coder.code(0, np.arange(coder.size), depth_row(_DEPTH[part]))

    def _tokens(self, group: Group, part: str, number: int, coder: LayerCoder) -> Coding:
        coded = group.counts(part).reshape(-1) > number
        yield from coder.skip(np.flatnonzero(~coded))
        positions = np.flatnonzero(coded)
        highest, least = _SIGNIFICANT[part]
        first = yield from coder.code(0, positions, significance_row(max(least, highest >> number)))
        empty = first == 0
        yield from coder.code(1, positions[empty], NOTHING)
        yield from coder.code(1, positions[~empty], lambda part: sign_rows()[first[~empty][part]])
