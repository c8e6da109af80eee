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

from lfqcodec.prior.motion.config import CANDIDATES, COMMON, FRONTS_APART, motion_features
from lfqcodec.prior.motion.features import common_features
from lfqcodec.prior.motion.group import Array
from lfqcodec.prior.motion.kernels import blocks as kernels

Features = NDArray[np.float32]
_FOLLOWS = COMMON + 4
"""The feature that tells whether there is a field before; those in front of it speak of that field."""


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
        self._subtokens = np.zeros((self._planes * self._size, 2), np.int64)
        self._predicted = np.zeros((0, 2), np.int64)
        self._done = 0
        plane, row, column = (each.reshape(-1) for each in np.indices(shape))
        front = column + 2 * row + FRONTS_APART * plane
        order = np.argsort(front, kind="stable")
        counts = np.bincount(front)
        self._fronts = np.split(order, np.cumsum(counts[counts > 0])[:-1])
        self._look_around(order, plane[order], row[order], column[order])
        # What is left for a front is all that depends on tokens.
        self._features = np.zeros((len(order), motion_features("anchor")), np.float32)
        common = np.stack([common_features(each, "anchor", 0) for each in quality])
        self._features[:, :COMMON] = common[plane[order]]
        self._features[:, _FOLLOWS] = plane[order] >= (before is None)

    def _look_around(self, positions: Array, plane: Array, row: Array, column: Array) -> None:
        """Where what blocks see lies, in order of fronts."""
        columns = self._columns
        up, left, right, down = row > 0, column > 0, column < columns - 1, row < self._rows - 1
        beside = positions - 1, positions - columns, positions - columns + 1, positions - columns - 1
        there = left, up, up & right, up & left
        # What stands in for blocks outside is the block's own vector before.
        known = [np.where(is_in, self._size + at, positions) for at, is_in in zip(beside, there, strict=True)]
        steps = -columns * up, -1 * left, 1 * right, columns * down
        self._seen = np.stack((*known[:3], positions, *(positions + step for step in steps)), 1)
        """Of vectors: candidates, and those beside the block in the field before."""
        self._near = np.stack([np.where(is_in, at, -1) for at, is_in in zip(beside, there, strict=True)], 1)

    def fronts(self) -> Iterator[Array]:
        """Raster positions [n] of the blocks of each front, in their order."""
        yield from self._fronts

    def at(self, positions: Array) -> tuple[Features, Array]:
        """For the next front: features of dy float32 [n, k], and the candidates, subtokens [2, n, 4]."""
        now, n = slice(self._done, self._done + len(positions)), len(positions)
        features, symbols = self._features[now], np.empty((2, n, CANDIDATES), np.int64)
        self._predicted = np.empty((n, 2), np.int64)
        kernels.front_features(
            self._vectors,
            self._subtokens,
            self._seen[now],
            self._near[now],
            features,
            self._predicted,
            symbols,
        )
        return features, symbols

    def take(self, positions: Array, dy: Array, dx: Array) -> None:
        """Go on with the subtokens [n] of the front that `at` was called for last."""
        kernels.take_front(self._vectors, self._subtokens, positions, self._predicted, dy, dx, self._size)
        self._done += len(positions)

    @property
    def fields(self) -> Array:
        """The vectors (dx, dy) so far, [anchors, rows, columns, 2]."""
        own = self._vectors[self._size :, ::-1]
        return own.reshape(self._planes, self._rows, self._columns, 2).copy()
