"""Which tokens are coded in which step (spec section 20), and where they lie in the attention windows.

Integers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lfqcodec.prior.config import AGES, SLOTS, WINDOW, PriorConfig

Indices = NDArray[np.int64]


@lru_cache(maxsize=1)
def tile_ranks() -> Indices:
    """Order of the tokens of a tile, int64 [8, 8], a permutation of 0..63.

    The ordered-dither matrix of Bayer (1973): the bits of x XOR y and of y, interleaved and reversed. The
    first 4^k ranks are a regular grid for every k, and any 8x8 window, wherever it lies, has every rank once.
    """
    ranks = np.zeros((WINDOW, WINDOW), np.int64)
    for y in range(WINDOW):
        for x in range(WINDOW):
            rank = 0
            for bit in range(3):
                rank = rank << 2 | ((x ^ y) >> bit & 1) << 1 | (y >> bit & 1)
            ranks[y, x] = rank
    return ranks


def step_bounds(steps: int) -> tuple[int, ...]:
    """Ranks at which the steps begin, and 64: step j codes ranks [bounds[j], bounds[j + 1]).

    bounds[j] = ceil(64 j^2 / steps^2): few tokens while little is known, more later.
    """
    return tuple(-(-SLOTS * j * j // (steps * steps)) for j in range(steps + 1))


def bounds_for(config: PriorConfig, time: int, stage: int) -> tuple[int, ...]:
    """`step_bounds` of latent frame `time` of a GOP and of `stage`."""
    return step_bounds((config.later_steps if time else config.first_steps)[stage])


def age_of(time: int) -> int:
    """Kind of latent frame: 0, 1, or 2 for all later ones."""
    return min(time, AGES - 1)


def layer_shift(layer: int) -> int:
    """How far the windows of a layer are moved up and left: every other layer by half a window."""
    return WINDOW // 2 * (layer % 2)


@dataclass(frozen=True)
class Windows:
    """A latent grid cut into windows that are moved by `shift`.

    `count` windows; `slot` int64 [h * w]: for each raster position 64 * window + rank. `valid` bool
    [count, 64]: which slots hold a token; the others lie outside the picture.
    """

    count: int
    slot: Indices
    valid: NDArray[np.bool_]


@lru_cache(maxsize=64)
def windows(h: int, w: int, shift: int) -> Windows:
    """The windows of h x w tokens: (y, x) is in row (y + shift) div 8 and column (x + shift) div 8."""
    y, x = np.divmod(np.arange(h * w), w)
    across = (w + shift - 1) // WINDOW + 1
    down = (h + shift - 1) // WINDOW + 1
    window = (y + shift) // WINDOW * across + (x + shift) // WINDOW
    slot = window * SLOTS + tile_ranks()[y % WINDOW, x % WINDOW]
    valid = np.zeros(down * across * SLOTS, np.bool_)
    valid[slot] = True
    return Windows(down * across, slot, valid.reshape(-1, SLOTS))


@lru_cache(maxsize=64)
def step_positions(h: int, w: int, bounds: tuple[int, ...]) -> tuple[Indices, ...]:
    """Raster positions of the tokens of each step, ascending: the coding order of a latent frame."""
    y, x = np.divmod(np.arange(h * w), w)
    rank = tile_ranks()[y % WINDOW, x % WINDOW]
    return tuple(np.flatnonzero((rank >= begin) & (rank < end)) for begin, end in pairwise(bounds))


@lru_cache(maxsize=2)
def slot_offsets(shift: int) -> Indices:
    """Index into a [15, 15] table of relative positions, int64 [64, 64], by slot of the query and of the key.

    Row and column of the table are 7 + (key - query) in rows and in columns.
    """
    place = np.argsort(tile_ranks().reshape(-1))
    y, x = (place // WINDOW + shift) % WINDOW, (place % WINDOW + shift) % WINDOW
    side = 2 * WINDOW - 1
    return (y[None, :] - y[:, None] + WINDOW - 1) * side + (x[None, :] - x[:, None] + WINDOW - 1)
