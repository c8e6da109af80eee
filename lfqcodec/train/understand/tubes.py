"""Which places are masked: blocks of BEiT, the same in every tubelet (BEVT), exactly as many as asked for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_TRIES = 10
_LONGEST = 1 / 0.3
"""The longer side of a block over the shorter one, at most."""


def block_mask(
    rng: np.random.Generator, rows: int, columns: int, ratio: float, least: int
) -> NDArray[np.bool_]:
    """bool [rows, columns] with round(ratio * rows * columns) places set: rectangles, then single ones.

    BEiT may stop below that; here single places fill up what is missing.
    """
    wanted = round(ratio * rows * columns)
    mask = np.zeros((rows, columns), bool)
    while (missing := wanted - int(mask.sum())) > 0:
        for _ in range(_TRIES):
            area = rng.uniform(min(least, missing), missing)
            aspect = math.exp(rng.uniform(-math.log(_LONGEST), math.log(_LONGEST)))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (0 < height < rows and 0 < width < columns):
                continue
            top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
            block = mask[top : top + height, left : left + width]
            if 0 < (~block).sum() <= missing:
                block[:] = True
                break
        else:
            free = np.flatnonzero(~mask)
            mask.flat[rng.permutation(free)[:missing]] = True
    return mask


def tube_masks(
    rng: np.random.Generator, count: int, grid: tuple[int, int, int], ratio: float, least: int
) -> NDArray[np.bool_]:
    """bool [count, t * h * w]: of each clip the same places in all tubelets."""
    time, rows, columns = grid
    each = np.stack([block_mask(rng, rows, columns, ratio, least) for _ in range(count)])
    return np.repeat(each[:, None], time, 1).reshape(count, -1)
