"""Kernels of motion search: the same as `search` and `merge` do by PyTorch, block by block.

`current` int16 [blocks, 256] are samples of luma, `earlier` and `later` int16 planes of all phases of
references, `places` int64 [blocks, 3] the picture, row and column of each block. Without `both` only
`earlier` counts. Tables float32 tell the bits of a vector by how far it is from what is predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.motion.interpolation import BLOCK

Lumas = NDArray[np.int16]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_MATCHING = "int16[:,::1], int16[:,:,::1], int16[:,:,::1], boolean, int64[:,::1], int64"
AROUND = (0, 0), (0, -1), (-1, 0), (-1, 1), (0, 1), (1, 0), (1, -1)
"""(rows, columns) to what is tried: the vector there is, those it is predicted from, those that follow."""
PREDICTED_FROM = AROUND[1:4]
"""To the left, above, above to the right: three of the four candidates of spec section 19."""
_TRIED = len(AROUND) + 1


@part
def _sad(
    current: Lumas,
    earlier: Lumas,
    later: Lumas,
    both: bool,
    places: Integers,
    margin: int,
    block: int,
    dx: int,
    dy: int,
) -> Any:
    own, place = current[block], places[block]
    plane, y, x = _window(place, dx, dy, earlier.shape[1], earlier.shape[2], margin)
    total = 0
    if both:
        plane2, y2, x2 = _window(place, -dx, -dy, earlier.shape[1], earlier.shape[2], margin)
        for i in range(BLOCK):
            for j in range(BLOCK):
                sum_ = earlier[plane, y + i, x + j] + later[plane2, y2 + i, x2 + j]
                total += abs(sum_ - 2 * own[i * BLOCK + j])
        return np.float32(total) / np.float32(4)
    for i in range(BLOCK):
        for j in range(BLOCK):
            total += abs(earlier[plane, y + i, x + j] - own[i * BLOCK + j])
    return np.float32(total) / np.float32(2)


@part
def _window(place: Any, dx: int, dy: int, high: int, wide: int, margin: int) -> tuple[int, int, int]:
    """The plane that a vector points to, and where a block begins there, at (y, x) inside."""
    plane = place[0] * 16 + ((dy & 3) << 2) + (dx & 3)
    y = min(max(place[1] + (dy >> 2) + margin, 0), high - BLOCK)
    x = min(max(place[2] + (dx >> 2) + margin, 0), wide - BLOCK)
    return plane, y, x


@kernel(f"void({_MATCHING}, int64[::1], int64[:,:,::1], float32[:,::1])")
def block_sads(
    current: Lumas,
    earlier: Lumas,
    later: Lumas,
    both: bool,
    places: Integers,
    margin: int,
    chosen: Integers,
    vectors: Integers,
    out: Floats,
) -> None:
    """SAD [K, n] of vectors [K, n, 2] for the `chosen` blocks."""
    for n in range(len(chosen)):
        for k in range(len(vectors)):
            dx, dy = vectors[k, n, 0], vectors[k, n, 1]
            # Neighbours often have the same.
            same = 0
            while vectors[same, n, 0] != dx or vectors[same, n, 1] != dy:
                same += 1
            if same < k:
                out[k, n] = out[same, n]
            else:
                out[k, n] = _sad(current, earlier, later, both, places, margin, chosen[n], dx, dy)


@kernel(
    f"void({_MATCHING}, int64[::1], int64[:,::1], float32[::1], float32[::1], int64[:,::1], float32[::1], "
    "int64[::1], int64, float32[::1])"
)
def descend(
    current: Lumas,
    earlier: Lumas,
    later: Lumas,
    both: bool,
    places: Integers,
    margin: int,
    chosen: Integers,
    best: Integers,
    cost: Floats,
    sad: Floats,
    free: Integers,
    lam: Floats,
    steps: Integers,
    limit: int,
    table: Floats,
) -> None:
    """Improve vectors [n, 2], costs and SAD of the `chosen` blocks by smaller and smaller steps, in place."""
    for block in chosen:
        for step in steps:
            x, y = best[block, 0], best[block, 1]
            for direction in range(4):
                ahead = step if direction % 2 == 0 else -step
                dx = min(max(x + ahead, -limit), limit) if direction < 2 else min(max(x, -limit), limit)
                dy = min(max(y + ahead, -limit), limit) if direction >= 2 else min(max(y, -limit), limit)
                own = _sad(current, earlier, later, both, places, margin, block, dx, dy)
                bits = table[abs(dx - free[block, 0])] + table[abs(dy - free[block, 1])]
                total = own + lam[block] * bits
                if total < cost[block]:
                    best[block, 0], best[block, 1] = dx, dy
                    cost[block], sad[block] = total, own


@kernel(
    f"void({_MATCHING}, int64, int64[:,:,::1], int64[:,:,::1], float32[::1], int64, float32[::1], "
    "float32[::1])"
)
def merge(
    current: Lumas,
    earlier: Lumas,
    later: Lumas,
    both: bool,
    places: Integers,
    margin: int,
    first: int,
    field: Integers,
    before: Integers,
    lam: Floats,
    rounds: int,
    same: Floats,
    other: Floats,
) -> None:
    """Give a field, in place, the vectors of neighbours where these cost less. It begins at block `first`."""
    rows, columns, _ = field.shape
    due = np.ones((rows, columns), np.bool_)
    tried = np.empty((_TRIED, 2), np.int64)
    for _ in range(rounds):
        for colour in range(4):
            changed = np.zeros((rows, columns), np.bool_)
            for y in range(colour // 2, rows, 2):
                for x in range(colour % 2, columns, 2):
                    if not due[y, x]:
                        continue
                    due[y, x] = False
                    _around(field, before, y, x, tried)
                    best, least = 0, np.float32(np.inf)
                    block = y * columns + x
                    for k in range(_TRIED if (tried != tried[0]).any() else 0):
                        dx, dy = tried[k, 0], tried[k, 1]
                        again = 0
                        while tried[again, 0] != dx or tried[again, 1] != dy:
                            again += 1
                        if again == k:
                            own = _sad(current, earlier, later, both, places, margin, first + block, dx, dy)
                            total = own + lam[block] * _bits_around(field, before, y, x, dx, dy, same, other)
                            if total < least:
                                best, least = k, total
                    field[y, x] = tried[best]
                    changed[y, x] = best > 0
            for y in range(rows):
                for x in range(columns):
                    if changed[y, x]:
                        due[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = True
        if not due.any():
            break


@part
def _around(field: Integers, before: Integers, y: int, x: int, out: Integers) -> None:
    """What may become the vector of a block, beginning with what it is."""
    for k in range(len(AROUND)):
        row, column = y + AROUND[k][0], x + AROUND[k][1]
        inside = 0 <= row < field.shape[0] and 0 <= column < field.shape[1]
        out[k] = field[row, column] if inside else field[y, x]
    out[len(AROUND)] = before[y, x]


@part
def _bits_around(
    field: Integers, before: Integers, y: int, x: int, dx: int, dy: int, same: Floats, other: Floats
) -> Any:
    """What a block and those that are predicted from it cost if its vector is (dx, dy)."""
    kept_x, kept_y = field[y, x, 0], field[y, x, 1]
    field[y, x, 0], field[y, x, 1] = dx, dy
    total = _bits(field, before, y, x, same, other)
    for k in range(len(PREDICTED_FROM)):
        row, column = y - PREDICTED_FROM[k][0], x - PREDICTED_FROM[k][1]
        if 0 <= row < field.shape[0] and 0 <= column < field.shape[1]:
            total += _bits(field, before, row, column, same, other)
    field[y, x, 0], field[y, x, 1] = kept_x, kept_y
    return total


@part
def _bits(field: Integers, before: Integers, y: int, x: int, same: Floats, other: Floats) -> Any:
    """About what a vector costs, by how many of its candidates are the same, or by how far away it is."""
    columns = field.shape[1]
    own, earlier = field[y, x], before[y, x]
    left = field[y, x - 1] if x else earlier
    above = field[y - 1, x] if y else earlier
    corner = field[y - 1, x + 1] if y and x + 1 < columns else earlier
    hits = 0
    for candidate in (left, above, corner, earlier):
        hits += candidate[0] == own[0] and candidate[1] == own[1]
    if hits:
        return same[hits]
    away = 0
    for axis in range(2):
        guess = _median(left[axis], above[axis], corner[axis])
        away += abs(own[axis] - _median(guess, earlier[axis], left[axis]))
    return other[away]


@part
def _median(a: int, b: int, c: int) -> int:
    return max(min(a, b), min(max(a, b), c))
