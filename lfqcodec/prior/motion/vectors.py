"""Motion of anchors in order of fronts: what their networks see, and the vectors that follow from tokens.

Blocks of successive anchors with the same column + 2 * row + 3 * number of the anchor are coded together. The
blocks to the left, above, and above to the left and right are then known with their vectors, and so are a
block's own vector in the anchor before and those beside that. The differences that would lead to the same
vector as a neighbour's are candidates of their own. Vectors are (dy, dx) in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.block_features import signed_bits
from lfqcodec.prior.motion.config import CANDIDATES, FRONTS_APART
from lfqcodec.prior.motion.features import common_features
from lfqcodec.prior.motion.group import Array

Features = NDArray[np.float32]
_HALF = SYMBOLS // 2
_SIZES = signed_bits(np.arange(SYMBOLS))
"""Signed numbers of bits of differences by subtoken."""
_DIGITS = np.array([min(9, abs(d).bit_length()) for d in range(-SYMBOLS, SYMBOLS)])
"""Numbers of bits of d at d + 512."""
_ONE, _OTHER = (0, 0, 1, 3, 3), (1, 2, 2, 0, 1)
"""Pairs of candidates that are compared: left and above, left and corner, and so on."""


class AnchorMotion:
    """The motion of successive anchors, front by front.

    `shape` is (anchors, rows, columns), `quality` that of each anchor's group. `before` int64
    [rows, columns, 2] is the field (dx, dy) of the anchor before the first, None where there is none.
    """

    def __init__(self, shape: tuple[int, int, int], quality: Sequence[int], before: Array | None) -> None:
        self._planes, self._rows, self._columns = shape
        self._size = self._rows * self._columns
        # The field before comes first; so an anchor's own starts one plane further.
        self._vectors = np.zeros(((self._planes + 1) * self._size, 2), np.int64)
        if before is not None:
            self._vectors[: self._size] = before.reshape(-1, 2)[:, ::-1]
        # The last token is that of all blocks outside.
        self._tokens = np.zeros((self._planes * self._size + 1, 2), np.int64)
        self._common = np.stack([common_features(each, "anchor", 0) for each in quality])
        self._follows = np.arange(self._planes) >= (before is None)
        self._predicted = np.zeros((0, 2), np.int64)

    def fronts(self) -> Iterator[Array]:
        """Raster positions [n] of the blocks of each front, in their order."""
        plane, row, column = np.ogrid[: self._planes, : self._rows, : self._columns]
        front = (column + 2 * row + FRONTS_APART * plane).reshape(-1)
        order = np.argsort(front, kind="stable")
        sizes = np.bincount(front)
        yield from np.split(order, np.cumsum(sizes[sizes > 0])[:-1])

    def at(self, positions: Array) -> tuple[Features, Array]:
        """For a front: features of dy float32 [n, k], and the candidates, subtokens [n, 4, 2]."""
        columns = self._columns
        plane, inside = np.divmod(positions, self._size)
        row, column = np.divmod(inside, columns)
        up, left, right, down = row > 0, column > 0, column < columns - 1, row < self._rows - 1
        beside = positions - 1, positions - columns, positions - columns + 1, positions - columns - 1
        there = left, up, up & right, up & left
        # What stands in for blocks outside is the block's own vector before.
        known = [np.where(is_in, self._size + at, positions) for at, is_in in zip(beside, there, strict=True)]
        candidates = self._vectors[np.stack((*known[:3], positions), 1)]
        of_left, above, corner, own = (candidates[:, k] for k in range(CANDIDATES))
        middle = _median(of_left, above, corner)
        self._predicted = predicted = _median(middle, own, of_left)
        symbols = (candidates - predicted[:, None]) & (SYMBOLS - 1)
        apart = candidates[:, _ONE] - candidates[:, _OTHER]
        near = [np.where(is_in, at, -1) for at, is_in in zip(beside, there, strict=True)]
        near_sizes = _SIZES[self._tokens[np.stack(near, 1)]].reshape(len(row), -1)
        parts = (
            self._common[plane],
            *self._before(positions, own, (-columns * up, -1 * left, 1 * right, columns * down)),
            self._follows[plane, None],
            near_sizes,
            near_sizes != 0,
            _SIZES[symbols].reshape(len(row), -1),
            _DIGITS[apart + SYMBOLS].reshape(len(row), -1),
            _DIGITS[own - middle + SYMBOLS],
            _DIGITS[predicted + SYMBOLS],
            (apart == 0).all(-1),
        )
        return np.concatenate(parts, 1).astype(np.float32), symbols

    def _before(self, positions: Array, own: Array, steps: Sequence[Array]) -> tuple[Array, Array]:
        """Bits of dx and dy in the field before, and of how far those beside are from them, the most."""
        around = self._vectors[np.stack([positions + step for step in steps], 1)]
        change = np.abs(around - own[:, None]).max(1)
        return _DIGITS[own + SYMBOLS][:, ::-1], _DIGITS[change + SYMBOLS][:, ::-1]

    def take(self, positions: Array, dy: Array, dx: Array) -> None:
        """Go on with the subtokens [n] of the front that `at` was called for last."""
        tokens = np.stack((dy, dx), 1)
        self._tokens[positions] = tokens
        self._vectors[positions + self._size] = (self._predicted + tokens + _HALF) % SYMBOLS - _HALF

    @property
    def fields(self) -> Array:
        """The vectors (dx, dy) so far, [anchors, rows, columns, 2]."""
        own = self._vectors[self._size :, ::-1]
        return own.reshape(self._planes, self._rows, self._columns, 2).copy()


def with_candidates(features: Features, first: Array, candidates: Array) -> Features:
    """The features of dx: those of dy, what dy [n] is, and which candidates [n, 4, 2] have the same."""
    bits = _SIZES[first][:, None]
    own = np.concatenate((bits, np.abs(bits), bits != 0, candidates[:, :, 0] == first[:, None]), 1)
    return np.concatenate((features, own), 1, dtype=np.float32)


def _median(a: Array, b: Array, c: Array) -> Array:
    middle: Array = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return middle
