"""Motion of anchors in order of fronts: what their networks see, and the vectors that follow from tokens.

Blocks with the same column + 2 * row are coded together. The blocks to the left, above, and above to the left
and right are then known with their vectors, and the differences that would lead to the same vector as a
neighbour's are candidates of their own. Vectors are (dy, dx) in here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.block_features import past_features, signed_bits
from lfqcodec.prior.motion.config import CANDIDATES
from lfqcodec.prior.motion.features import common_features
from lfqcodec.prior.motion.group import Array, Group

Features = NDArray[np.float32]
_HALF = SYMBOLS // 2
_SIZES = signed_bits(np.arange(SYMBOLS))
"""Signed numbers of bits of differences by subtoken."""
_DIGITS = np.array([min(9, abs(d).bit_length()) for d in range(-SYMBOLS, SYMBOLS)])
"""Numbers of bits of d at d + 512."""
_ONE, _OTHER = (0, 0, 1, 3, 3), (1, 2, 2, 0, 1)
"""Pairs of candidates that are compared: left and above, left and corner, and so on."""


class AnchorMotion:
    """The motion of an anchor, front by front."""

    def __init__(self, group: Group) -> None:
        _, rows, columns = group.layers["motion.anchor"].shape
        self._columns = columns
        before = np.zeros((rows, columns, 2), np.int64)
        if group.past.field is not None:
            before = group.past.field[..., ::-1]
        self._before = before
        # A ring around: what stands in for blocks outside is the block's own vector before.
        self._vectors = np.zeros((rows + 1, columns + 2, 2), np.int64)
        self._vectors[1:, 0], self._vectors[1:, 1:-1] = before[:, 0], before
        self._vectors[0, 1:-1], self._vectors[:-1, -1] = before[0], before[:, -1]
        self._tokens = np.zeros((rows + 1, columns + 2, 2), np.int64)
        common = np.broadcast_to(common_features(group, "anchor", 0), (rows, columns, 21))
        self._fixed = np.concatenate((common, past_features(group, rows, columns)), -1)
        self._predicted = np.zeros((0, 2), np.int64)

    def fronts(self) -> Iterator[Array]:
        """Raster positions [n] of the blocks of each front, from top to bottom."""
        rows, columns = self._before.shape[:2]
        for front in range(columns + 2 * (rows - 1)):
            row = np.arange(max(0, (front - columns + 2) // 2), min(rows, front // 2 + 1))
            yield row * columns + front - 2 * row

    def at(self, positions: Array) -> tuple[Features, Array]:
        """For a front: features of dy float32 [n, k], and the candidates, subtokens [n, 4, 2]."""
        row, column = np.divmod(positions, self._columns)
        candidates = np.empty((len(positions), CANDIDATES, 2), np.int64)
        left, above, corner, own = (candidates[:, k] for k in range(CANDIDATES))
        left[:], above[:] = self._vectors[row + 1, column], self._vectors[row, column + 1]
        own[:], corner[:] = self._before[row, column], self._vectors[row, column + 2]
        corner[row == 0] = own[row == 0]
        middle = _median(left, above, corner)
        self._predicted = predicted = _median(middle, own, left)
        symbols = (candidates - predicted[:, None]) & (SYMBOLS - 1)
        apart = candidates[:, _ONE] - candidates[:, _OTHER]
        near = [self._tokens[row + y, column + x] for y, x in ((1, 0), (0, 1), (0, 2), (0, 0))]
        near_sizes = _SIZES[np.concatenate(near, 1)]
        parts = (
            self._fixed[row, column],
            near_sizes,
            near_sizes != 0,
            _SIZES[symbols].reshape(len(row), -1),
            _DIGITS[apart + SYMBOLS].reshape(len(row), -1),
            _DIGITS[own - middle + SYMBOLS],
            _DIGITS[predicted + SYMBOLS],
            (apart == 0).all(-1),
        )
        return np.concatenate(parts, 1).astype(np.float32), symbols

    def take(self, positions: Array, dy: Array, dx: Array) -> None:
        """Go on with the subtokens [n] of the front that `at` was called for last."""
        row, column = np.divmod(positions, self._columns)
        tokens = np.stack((dy, dx), 1)
        self._tokens[row + 1, column + 1] = tokens
        self._vectors[row + 1, column + 1] = (self._predicted + tokens + _HALF) % SYMBOLS - _HALF

    @property
    def field(self) -> Array:
        """The vectors (dx, dy) so far, [1, rows, columns, 2]."""
        return self._vectors[None, 1:, 1:-1, ::-1].copy()


def with_candidates(features: Features, first: Array, candidates: Array) -> Features:
    """The features of dx: those of dy, what dy [n] is, and which candidates [n, 4, 2] have the same."""
    bits = _SIZES[first][:, None]
    own = np.concatenate((bits, np.abs(bits), bits != 0, candidates[:, :, 0] == first[:, None]), 1)
    return np.concatenate((features, own), 1, dtype=np.float32)


def _median(a: Array, b: Array, c: Array) -> Array:
    middle: Array = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return middle
