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
from lfqcodec.tokenizer.motion.interpolation import AFTER, BEFORE, BLOCK

Lumas = NDArray[np.int16]
Samples = NDArray[np.uint8]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_MATCHING = "int16[:,::1], int16[:,:,::1], int16[:,:,::1], boolean, int64[:,::1], int64"
AROUND = (0, 0), (0, -1), (-1, 0), (-1, 1), (0, 1), (1, 0), (1, -1)
"""(rows, columns) to what is tried: the vector there is, those it is predicted from, those that follow."""
PREDICTED_FROM = AROUND[1:4]
"""To the left, above, above to the right: three of the four candidates of spec section 19."""
_TRIED = len(AROUND) + 1


@kernel("void(uint8[:,:,:,::1], int16[:,:,::1])")
def luma(pictures: Samples, out: Lumas) -> None:
    """Of pictures [B, 3, H, W], in half steps less 256."""
    for picture in range(out.shape[0]):
        red, green, blue = pictures[picture]
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                total = np.int32(77) * red[y, x] + np.int32(150) * green[y, x] + np.int32(29) * blue[y, x]
                out[picture, y, x] = ((total + np.int32(64)) >> np.int32(7)) - np.int32(256)


@kernel("void(int16[:,:,::1], int64, int16[:,::1], int16[:,:,::1])")
def phases(full: Lumas, margin: int, taps: Lumas, out: Lumas) -> None:
    """Planes of luma [B, H, W] at phases fy * 4 + fx, with a border of `margin`: [16 B, H + 2 margin, ...].

    `taps` [4, 8] are HEVC's filters. Sums are int16 and wrap (only extremes would).
    """
    _, h, w = full.shape
    _, high, wide = out.shape
    before = margin + BEFORE
    row = np.empty(wide + BEFORE + AFTER, np.int16)
    across = np.empty((4, high + BEFORE + AFTER, wide), np.int16)
    for picture in range(len(full)):
        for y in range(across.shape[1]):
            source = full[picture, min(max(y - before, 0), h - 1)]
            row[:before], row[before + w :] = source[0] >> 1, source[w - 1] >> 1
            for x in range(w):
                row[before + x] = source[x] >> 1
            for fx in range(4):
                a, b, c, d, e, f, g, i = taps[fx]
                for x in range(wide):
                    left = a * row[x] + b * row[x + 1] + c * row[x + 2] + d * row[x + 3]
                    right = e * row[x + 4] + f * row[x + 5] + g * row[x + 6] + i * row[x + 7]
                    across[fx, y, x] = np.int16(left + right) >> 5
        for fy in range(4):
            a, b, c, d, e, f, g, i = taps[fy]
            for fx in range(4):
                rows, made = across[fx], out[picture * 16 + fy * 4 + fx]
                for y in range(high):
                    for x in range(wide):
                        above = a * rows[y, x] + b * rows[y + 1, x] + c * rows[y + 2, x] + d * rows[y + 3, x]
                        below = (
                            e * rows[y + 4, x] + f * rows[y + 5, x] + g * rows[y + 6, x] + i * rows[y + 7, x]
                        )
                        made[y, x] = np.int16(above + below + 32) >> 6


@kernel("void(int16[:,:,::1], int16[:,:,::1], int64, float32, float32, int64[:,:,:,::1])")
def full_search(centre: Lumas, wide: Lumas, reach: int, weight: Any, length: Any, out: Integers) -> None:
    """The offsets [B, rows, columns, 2] with the least `weight` * SAD + `length` * (|dx| + |dy|).

    SAD of windows of 6x6 samples, every 4, of `centre` [B, h, w], against `wide`, which has `reach` more at
    every side.
    """
    _, rows, columns, _ = out.shape
    long = centre.shape[2]
    sums = np.empty(long, np.int16)
    least = np.empty(columns, np.float32)
    for picture in range(len(out)):
        for row in range(rows):
            least[:] = np.inf
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    sums[:] = 0
                    for y in range(4 * row, 4 * row + 6):
                        own = centre[picture, y]
                        other = wide[picture, y + reach + dy, reach + dx : reach + dx + long]
                        for x in range(long):
                            sums[x] += np.int16(abs(np.int16(other[x] - own[x])))
                    charge = length * np.float32(abs(dx) + abs(dy))
                    for column in range(columns):
                        x = 4 * column
                        total = sums[x] + sums[x + 1] + sums[x + 2] + sums[x + 3] + sums[x + 4] + sums[x + 5]
                        cost = np.float32(total) * weight + charge
                        if cost < least[column]:
                            least[column] = cost
                            out[picture, row, column, 0], out[picture, row, column, 1] = dx, dy


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
    # Loops go by vectors where places cannot be negative, and their length is not known beforehand.
    side = np.uint64(len(own) // BLOCK)
    total = 0
    if both:
        plane2, y2, x2 = _window(place, -dx, -dy, earlier.shape[1], earlier.shape[2], margin)
        for i in range(side):
            for j in range(side):
                sum_ = earlier[plane, y + i, x + j] + later[plane2, y2 + i, x2 + j]
                total += abs(sum_ - 2 * own[i * side + j])
        return np.float32(total) / np.float32(4)
    for i in range(side):
        for j in range(side):
            total += abs(earlier[plane, y + i, x + j] - own[i * side + j])
    return np.float32(total) / np.float32(2)


@part
def _window(place: Any, dx: int, dy: int, high: int, wide: int, margin: int) -> tuple[Any, Any, Any]:
    """The plane that a vector points to, and where a block begins there, at (y, x) inside."""
    plane = place[0] * 16 + ((dy & 3) << 2) + (dx & 3)
    y = min(max(place[1] + (dy >> 2) + margin, 0), high - BLOCK)
    x = min(max(place[2] + (dx >> 2) + margin, 0), wide - BLOCK)
    return np.uint64(plane), np.uint64(y), np.uint64(x)


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
                    for k in range(_TRIED):
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
        for axis in range(2):
            out[k, axis] = field[row, column, axis] if inside else field[y, x, axis]
    for axis in range(2):
        out[len(AROUND), axis] = before[y, x, axis]


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
    own_x, own_y = field[y, x, 0], field[y, x, 1]
    before_x, before_y = before[y, x, 0], before[y, x, 1]
    left_x, left_y = (field[y, x - 1, 0], field[y, x - 1, 1]) if x else (before_x, before_y)
    above_x, above_y = (field[y - 1, x, 0], field[y - 1, x, 1]) if y else (before_x, before_y)
    inside = y > 0 and x + 1 < field.shape[1]
    corner_x, corner_y = (field[y - 1, x + 1, 0], field[y - 1, x + 1, 1]) if inside else (before_x, before_y)
    hits = int(left_x == own_x and left_y == own_y) + int(above_x == own_x and above_y == own_y)
    hits += int(corner_x == own_x and corner_y == own_y) + int(before_x == own_x and before_y == own_y)
    if hits:
        return same[hits]
    across = abs(own_x - _median(_median(left_x, above_x, corner_x), before_x, left_x))
    down = abs(own_y - _median(_median(left_y, above_y, corner_y), before_y, left_y))
    return other[across + down]


@part
def _median(a: int, b: int, c: int) -> int:
    return max(min(a, b), min(max(a, b), c))
