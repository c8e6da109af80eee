"""Kernels of the learned rate model: what the networks for depth and motion see.

Values are whole numbers, or multiples of a power of two, that their type holds exactly, so the order of sums
does not matter. `lfqcodec.prior.motion.block_features` says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.kernels import kernel, part
from lfqcodec.prior.motion.config import BLOCKS, CANDIDATES, COMMON, DEPTH_CHOICES, DIRECT, THRESHOLDS

Array = NDArray[np.int64]
Floats = NDArray[np.float32]
_AROUND = np.array(DIRECT)
_NEAR = len(DIRECT)
_MOST_BITS = 9
_CHOICES = DEPTH_CHOICES - 1
_MOVED = 2 * len(THRESHOLDS) + 2
_LEVELS = np.array(THRESHOLDS)


@part
def _bits(value: int) -> int:
    """Number of bits of a magnitude, at most 9."""
    size, count = abs(value), 0
    while count < _MOST_BITS and size >> count:
        count += 1
    return count


@part
def _signed_bits(symbol: int) -> int:
    """Of a difference given as a subtoken: -9..8."""
    return _bits(symbol) if symbol < SYMBOLS // 2 else -_bits(SYMBOLS - symbol)


@part
def _spread(field: Any, plane: int, row: int, column: int, axis: int) -> int:
    """How far a vector is from those beside it in one component, the most."""
    _, rows, columns, _ = field.shape
    most, own = 0, field[plane, row, column, axis]
    for k in range(_NEAR):
        y, x = row + _AROUND[k, 0], column + _AROUND[k, 1]
        if 0 <= y < rows and 0 <= x < columns:
            most = max(most, abs(own - field[plane, y, x, axis]))
    return most


@part
def _sizes(token: int, out: Any, at: int) -> None:
    """Signed bits of dy and dx of a motion token, and whether each is not 0."""
    if token:
        dy, dx = _signed_bits(token % SYMBOLS), _signed_bits(token // SYMBOLS)
        out[at], out[at + 1], out[at + 2], out[at + 3] = dy, dx, dy != 0, dx != 0


@kernel("float32[:,:,:,::1](int64[:,:,:,::1], int64[:,:,::1])")
def moved_features(field: Array, tokens: Array) -> Floats:
    """Motion of blocks of 16x16: size, difference to neighbours, tokens: [planes, rows, columns, 12]."""
    planes, rows, columns, _ = field.shape
    out, many = np.zeros((planes, rows, columns, _MOVED), np.float32), len(_LEVELS)
    for plane in range(planes):
        for row in range(rows):
            for column in range(columns):
                own = out[plane, row, column]
                size = max(abs(field[plane, row, column, 0]), abs(field[plane, row, column, 1]))
                change = max(_spread(field, plane, row, column, 0), _spread(field, plane, row, column, 1))
                for k in range(many):
                    own[k] = size > _LEVELS[k]
                    own[many + k] = change > _LEVELS[k]
                own[2 * many] = tokens[plane, row, column] % SYMBOLS != 0
                own[2 * many + 1] = tokens[plane, row, column] // SYMBOLS != 0
    return out


@part
def _choices_of(token: int, out: Any, at: int) -> None:
    """Thermometers of the four choices of a depth token."""
    if token:
        for block in range(BLOCKS):
            for k in range(token >> (2 * block) & 3):
                out[at + block * _CHOICES + k] = 1


@part
def _moved_of(moved: Any, plane: int, row: int, column: int, out: Any, at: int) -> int:
    """The motion of the blocks of a depth token."""
    _, rows, columns, many = moved.shape
    for block in range(BLOCKS):
        y, x = 2 * row + block // 2, 2 * column + block % 2
        if y < rows and x < columns:
            for k in range(many):
                out[at + block * many + k] = moved[plane, y, x, k]
    return at + BLOCKS * _MOVED


@kernel(
    "float32[:,::1](float32[::1], int64[::1], int64[:,:,::1], int64, float32[:,:,:,::1], int64[:,:,:,::1], "
    "int64[:,::1])"
)
def depth_features(
    common: Floats,
    positions: Array,
    tokens: Array,
    many: int,
    moved: Floats,
    known: Array,
    used: Array,
) -> Floats:
    """`many` features of raster positions [n]: of `tokens` of the layer so far, and what is known of others.

    `known` [k, 1, rows, columns] are depth tokens of other parts; `used` [h, w] says how many layers have
    tokens where a position points to in the anchor before. Both may be empty.
    """
    out = np.zeros((len(positions), many), np.float32)
    _, rows, columns = tokens.shape
    for n in range(len(positions)):
        plane, inside = positions[n] // (rows * columns), positions[n] % (rows * columns)
        row, column = inside // columns, inside % columns
        own = out[n]
        own[:COMMON] = common
        at = COMMON
        for k in range(_NEAR):
            y, x = row + _AROUND[k, 0], column + _AROUND[k, 1]
            if 0 <= y < rows and 0 <= x < columns:
                _choices_of(tokens[plane, y, x], own, at)
            at += BLOCKS * _CHOICES
        at = _moved_of(moved, plane, row, column, own, at)
        for layer in range(len(known)):
            _choices_of(known[layer, 0, row, column], own, at)
            at += BLOCKS * _CHOICES
        if len(used):
            for block in range(BLOCKS):
                _used_of(used, 2 * row + block // 2, 2 * column + block % 2, own, at)
                at += 5
    return out


@part
def _used_of(used: Array, row: int, column: int, out: Any, at: int) -> None:
    """Of a block, if there is one: most layers, and positions in use."""
    if 2 * row >= used.shape[0] or 2 * column >= used.shape[1]:
        return
    most, count = 0, 0
    for y in range(2 * row, 2 * row + 2):
        for x in range(2 * column, 2 * column + 2):
            most, count = max(most, used[y, x]), count + (used[y, x] > 0)
    for k in range(4):
        out[at + k] = most > k
    out[at + 4] = count


@kernel("float32[:,::1](float32[::1], int64[::1], int64[:,:,::1], int64, int64[:,:,:,::1], int64[:,:,:,::1])")
def motion_features(
    common: Floats, positions: Array, tokens: Array, many: int, field: Array, known: Array
) -> Floats:
    """The same of motion between anchors: `known` [k, 1, rows, columns] are motion tokens of other parts, the
    anchor's first; `field` is the anchor's.
    """
    out = np.zeros((len(positions), many), np.float32)
    _, rows, columns = tokens.shape
    for n in range(len(positions)):
        plane, inside = positions[n] // (rows * columns), positions[n] % (rows * columns)
        row, column = inside // columns, inside % columns
        own = out[n]
        own[:COMMON] = common
        at = COMMON
        for k in range(_NEAR):
            y, x = row + _AROUND[k, 0], column + _AROUND[k, 1]
            if 0 <= y < rows and 0 <= x < columns:
                _sizes(tokens[plane, y, x], own, at)
            at += 4
        _sizes(known[0, 0, row, column], own, at)
        at += 4
        for axis in range(2):
            own[at + axis] = _bits(field[0, row, column, axis])
            own[at + 2 + axis] = _bits(_spread(field, 0, row, column, axis))
        at += 4
        for layer in range(1, len(known)):
            _sizes(known[layer, 0, row, column], own, at)
    return out


@kernel("float32[:,::1](float32[:,::1], int64[::1], int64[:,::1])")
def with_first(features: Floats, first: Array, candidates: Array) -> Floats:
    """The features of dx: those of dy, what dy [n] is, and which candidates [n, k] are the same."""
    n, many = features.shape
    extra = candidates.shape[1]
    out = np.empty((n, many + 3 + extra), np.float32)
    for row in range(n):
        out[row, :many] = features[row]
        bits = _signed_bits(first[row])
        out[row, many], out[row, many + 1], out[row, many + 2] = bits, abs(bits), bits != 0
        for k in range(extra):
            out[row, many + 3 + k] = candidates[row, k] == first[row]
    return out


@kernel("int64[:,::1](int64[:,:,:,::1], int64, int64)")
def fetched(field: Array, rows: int, columns: int) -> Array:
    """Where in the anchor before the motion of each position points, in raster order: [rows, columns]."""
    out = np.empty((rows, columns), np.int64)
    for row in range(rows):
        for column in range(columns):
            y = row + ((field[0, row // 2, column // 2, 1] + 16) >> 5)
            x = column + ((field[0, row // 2, column // 2, 0] + 16) >> 5)
            out[row, column] = min(max(y, 0), rows - 1) * columns + min(max(x, 0), columns - 1)
    return out


# Motion of anchors


@part
def _median(a: int, b: int, c: int) -> int:
    return max(min(a, b), min(max(a, b), c))


@part
def _wrapped(value: int) -> int:
    return ((value + SYMBOLS // 2) & (SYMBOLS - 1)) - SYMBOLS // 2


@kernel(
    "void(int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], float32[:,::1], int64[:,::1], "
    "int64[:,:,::1])"
)
def front_features(
    vectors: Array,
    differences: Array,
    seen: Array,
    near: Array,
    features: Floats,
    predicted: Array,
    symbols: Array,
) -> None:
    """Fill `features` [n, 69] of dy, `predicted` [n, 2] and `symbols` [2, n, 4] of a front."""
    value = np.empty((CANDIDATES + 4, 2), np.int64)
    for n in range(len(seen)):
        for k in range(CANDIDATES + 4):
            value[k, 0], value[k, 1] = vectors[seen[n, k], 0], vectors[seen[n, k], 1]
        own, at = features[n], COMMON + 5
        same = np.int64(0)
        for axis in range(2):
            left, above, corner, before = value[0, axis], value[1, axis], value[2, axis], value[3, axis]
            middle = _median(left, above, corner)
            guess = _median(middle, before, left)
            predicted[n, axis] = guess
            change = 0
            for k in range(CANDIDATES, CANDIDATES + 4):
                change = max(change, abs(value[k, axis] - before))
            # Of the field before: dx in front of dy.
            own[COMMON + 1 - axis] = _bits(before)
            own[COMMON + 3 - axis] = _bits(change)
            for k in range(CANDIDATES):
                bits = 0
                if near[n, k] >= 0:
                    bits = _signed_bits(differences[near[n, k], axis])
                own[at + 2 * k + axis] = bits
                own[at + 8 + 2 * k + axis] = bits != 0
                symbol = (value[k, axis] - guess) & (SYMBOLS - 1)
                symbols[axis, n, k] = symbol
                own[at + 16 + 2 * k + axis] = _signed_bits(symbol)
            apart = (left - above, left - corner, above - corner, before - left, before - above)
            for k in range(5):
                own[at + 24 + 2 * k + axis] = _bits(apart[k])
                if apart[k] != 0:
                    same |= 1 << k
            own[at + 34 + axis] = _bits(before - middle)
            own[at + 36 + axis] = _bits(guess)
        for k in range(5):
            own[at + 38 + k] = same >> k & 1 == 0


@kernel("void(int64[:,::1], int64[:,::1], int64[::1], int64[:,::1], int64[::1], int64[::1], int64)")
def take_front(
    vectors: Array, differences: Array, positions: Array, predicted: Array, dy: Array, dx: Array, size: int
) -> None:
    """Go on with the subtokens of a front; `vectors` have a plane of `size` more in front."""
    for n in range(len(positions)):
        at = positions[n]
        differences[at, 0], differences[at, 1] = dy[n], dx[n]
        vectors[at + size, 0] = _wrapped(predicted[n, 0] + dy[n])
        vectors[at + size, 1] = _wrapped(predicted[n, 1] + dx[n])
