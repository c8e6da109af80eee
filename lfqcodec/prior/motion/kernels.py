"""Kernels of the learned rate model: features, networks and frequency rows, in exact integers.

Values are whole numbers, or multiples of a power of two, that their type holds exactly, so the order of sums
does not matter. `lfqcodec.prior.motion.features`, `block_features` and `network` say what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.kernels import kernel, part
from lfqcodec.prior.motion.config import (
    BLOCKS,
    CANDIDATES,
    COMMON,
    DEPTH_CHOICES,
    DIAGONAL,
    DIRECT,
    FEATURE_LIMIT,
    HALVES,
    MOTION_CLASSES,
    THRESHOLDS,
    VALUES,
)

Array = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = NDArray[np.float64]

_UPPER, _LOWER = HALVES
_LOWER_BITS = VALUES - 5
_SHARE_BITS = 18
_SHARED = float(ROW_SUM - SYMBOLS)
_EXCLUDED = -float(1 << 23)
"""A logit so low that the table gives it no share."""
_AROUND = np.array((*DIRECT, *DIAGONAL))
_NEAR, _ALL = len(DIRECT), len(DIRECT) + len(DIAGONAL)
_CHOICES = DEPTH_CHOICES - 1
_MOVED = 2 * len(THRESHOLDS) + 2
_LEVELS = np.array(THRESHOLDS)


# Rows


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


# Features of tokens


@part
def _look(tokens: Any, plane: int, row: int, column: int, around: Array) -> None:
    """The tokens beside a position: four that are direct neighbours, then four across; 0 outside."""
    _, rows, columns = tokens.shape
    for k in range(_ALL):
        y, x = row + _AROUND[k, 0], column + _AROUND[k, 1]
        around[k] = tokens[plane, y, x] if 0 <= y < rows and 0 <= x < columns else 0


@part
def _values(token: int, out: Any, at: int) -> None:
    """The nine ternary values of a token."""
    if token:
        for v in range(VALUES):
            out[at + v] = (token >> v & 1) * (2 * (token >> (VALUES + v) & 1) - 1)


@part
def _add_sizes(token: int, out: Any, at: int) -> None:
    """Add the magnitudes of the nine values of a token."""
    if token:
        for v in range(VALUES):
            out[at + v] += token >> v & 1


@part
def _bits_set(token: int) -> int:
    count = 0
    for v in range(VALUES):
        count += token >> v & 1
    return count


@part
def _own_layer(
    tokens: Any, plane: int, row: int, column: int, count: int, around: Array, out: Any, at: int
) -> int:
    """Of the layer itself: the values around, 36 in a ring of four, then their sums; gives where they end."""
    _look(tokens, plane, row, column, around)
    for ring in range(0, count, _NEAR):
        for k in range(_NEAR):
            _values(around[ring + k], out, at + k * VALUES)
            _add_sizes(around[ring + k], out, at + _NEAR * VALUES)
        at += (_NEAR + 1) * VALUES
    return at


@part
def _below(layers: Any, plane: int, row: int, column: int, around: Array, out: Any, at: int) -> int:
    """Of the layers below: own values and sizes, values of direct neighbours, sums of both rings."""
    for layer in range(len(layers)):
        tokens = layers[layer]
        own = tokens[plane, row, column]
        _look(tokens, plane, row, column, around)
        _values(own, out, at)
        _add_sizes(own, out, at + VALUES)
        at += 2 * VALUES
        for k in range(_NEAR):
            _values(around[k], out, at + k * VALUES)
            _add_sizes(around[k], out, at + _NEAR * VALUES)
            _add_sizes(around[_NEAR + k], out, at + (_NEAR + 1) * VALUES)
        at += (_NEAR + 2) * VALUES
    return at


@part
def _depth_and_motion(
    choices: Any, counts: Any, moved: Any, plane: int, row: int, column: int, out: Any, at: int
) -> int:
    """The block's choice of depth, how many layers are coded beside the position, the block's motion."""
    out[at + choices[plane, row // 2, column // 2]] = 1
    at += DEPTH_CHOICES
    _, rows, columns = counts.shape
    for k in range(_NEAR):
        y, x = row + _AROUND[k, 0], column + _AROUND[k, 1]
        if 0 <= y < rows and 0 <= x < columns:
            out[at + k] = min(counts[plane, y, x], FEATURE_LIMIT)
    at += _NEAR
    for k in range(_MOVED):
        out[at + k] = moved[plane, row // 2, column // 2, k]
    return at + _MOVED


@part
def _due(
    layers: Any, tokens: Any, plane: int, row: int, column: int, least: int, count: int, out: Any, at: int
) -> None:
    """Whether the layer is the block's last, has tokens as its depth says, still needs some."""
    number, fulfilled = len(layers), False
    for y in range(row // 2 * 2, row // 2 * 2 + 2):
        for x in range(column // 2 * 2, column // 2 * 2 + 2):
            for layer in range(least, number):
                fulfilled = fulfilled or layers[layer, plane, y, x] != 0
            fulfilled = fulfilled or (least <= number and tokens[plane, y, x] != 0)
    last = count == number + 1
    out[at], out[at + 1], out[at + 2] = last, fulfilled, last and not fulfilled


@kernel("float32[:,::1](float32[::1], int64[::1], int64[:,:,::1], int64[:,:,:,::1], int64)")
def intra_features(common: Floats, positions: Array, tokens: Array, layers: Array, many: int) -> Floats:
    """`many` features of raster positions [n]: of the `tokens` of the layer so far, and `layers` below."""
    out = np.zeros((len(positions), many), np.float32)
    columns = tokens.shape[2]
    around = np.empty(_ALL, np.int64)
    for n in range(len(positions)):
        row, column = positions[n] // columns, positions[n] % columns
        own = out[n]
        own[:COMMON] = common
        own[COMMON] = row % 2
        at = COMMON + 1
        at = _own_layer(tokens, 0, row, column, _ALL, around, own, at)
        _below(layers, 0, row, column, around, own, at)
    return out


@kernel(
    "float32[:,::1](float32[::1], int64[::1], int64[:,:,::1], int64[:,:,:,::1], int64, int64[:,:,::1], "
    "int64[:,:,::1], float32[:,:,:,::1], int64[::1], int64[:,:,::1], int64[:,:,:,::1])"
)
def anchor_features(
    common: Floats,
    positions: Array,
    tokens: Array,
    layers: Array,
    many: int,
    choices: Array,
    counts: Array,
    moved: Floats,
    least: Array,
    past: Array,
    field: Array,
) -> Floats:
    """The same for anchors.

    `choices` [1, h/2, w/2] and `counts` [1, h, w] of depth; `moved` [1, h/2, w/2, 12]; `least` number of
    layers by choice; `past` [k, h, w], the anchor before, of which `field` [1, h/2, w/2, 2] says where; k may
    be 0.
    """
    out = np.zeros((len(positions), many), np.float32)
    _, rows, columns = tokens.shape
    around, number = np.empty(_ALL, np.int64), len(layers)
    for n in range(len(positions)):
        row, column = positions[n] // columns, positions[n] % columns
        own = out[n]
        own[:COMMON] = common
        own[COMMON] = row % 2
        at = COMMON + 1
        at = _own_layer(tokens, 0, row, column, _NEAR, around, own, at)
        at = _below(layers, 0, row, column, around, own, at)
        at = _depth_and_motion(choices, counts, moved, 0, row, column, own, at)
        if len(past):
            y, x = _fetched(field, row, column, rows, columns)
            for layer in range(len(past)):
                _look(past, layer, y, x, around)
                _add_sizes(past[layer, y, x], own, at)
                near, across = 0, 0
                for k in range(_NEAR):
                    near += _bits_set(around[k])
                    across += _bits_set(around[_NEAR + k])
                own[at + VALUES] = min(near, FEATURE_LIMIT)
                own[at + VALUES + 1] = min(across, FEATURE_LIMIT)
                at += VALUES + 2
            _values(past[number, y, x], own, at)
            own[at + VALUES] = 1
        choice = choices[0, row // 2, column // 2]
        _due(layers, tokens, 0, row, column, least[choice], counts[0, row, column], own, many - 3)
    return out


@part
def _fetched(field: Any, row: int, column: int, rows: int, columns: int) -> tuple[int, int]:
    """Where in the anchor before the motion points to, by whole positions."""
    y = row + ((field[0, row // 2, column // 2, 1] + 16) >> 5)
    x = column + ((field[0, row // 2, column // 2, 0] + 16) >> 5)
    return min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)


@kernel(
    "float32[:,::1](float32[::1], int64[::1], int64[:,:,::1], int64[:,:,:,::1], int64, int64[:,:,::1], "
    "int64[:,:,::1], float32[:,:,:,::1], int64[::1], int64[:,:,:,::1])"
)
def between_features(
    common: Floats,
    positions: Array,
    tokens: Array,
    layers: Array,
    many: int,
    choices: Array,
    counts: Array,
    moved: Floats,
    least: Array,
    known: Array,
) -> Floats:
    """The same for pictures between, of which there may be two.

    `known` [k, 1, h, w] are the layers of the anchor and those of the middle picture that are known.
    """
    out = np.zeros((len(positions), many), np.float32)
    _, rows, columns = tokens.shape
    around = np.empty(_ALL, np.int64)
    for n in range(len(positions)):
        plane, inside = positions[n] // (rows * columns), positions[n] % (rows * columns)
        row, column = inside // columns, inside % columns
        own = out[n]
        own[:COMMON] = common
        own[COMMON] = row % 2
        at = COMMON + 1
        at = _own_layer(tokens, plane, row, column, _NEAR, around, own, at)
        at = _below(layers, plane, row, column, around, own, at)
        at = _depth_and_motion(choices, counts, moved, plane, row, column, own, at)
        for layer in range(len(known)):
            _look(known[layer], 0, row, column, around)
            _values(known[layer, 0, row, column], own, at)
            _add_sizes(known[layer, 0, row, column], own, at + VALUES)
            for k in range(_NEAR):
                _add_sizes(around[k], own, at + 2 * VALUES)
            at += 3 * VALUES
        choice = choices[plane, row // 2, column // 2]
        _due(layers, tokens, plane, row, column, least[choice], counts[plane, row, column], own, many - 3)
    return out


# Features of blocks


@part
def _bits(value: int) -> int:
    """Number of bits of a magnitude, at most 9."""
    size, count = abs(value), 0
    while count < VALUES and size >> count:
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
    "int64[:,::1], int64[:,:,:,::1])"
)
def depth_features(
    common: Floats,
    positions: Array,
    tokens: Array,
    many: int,
    moved: Floats,
    known: Array,
    used: Array,
    field: Array,
) -> Floats:
    """`many` features of raster positions [n]: of `tokens` of the layer so far, and what is known of others.

    `known` [k, 1, rows, columns] are depth tokens of other parts, `used` [h, w] how many layers positions of
    the anchor before have tokens in, to which `field` [1, h/2, w/2, 2] points; both may be empty.
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
                _used_of(used, field, 2 * row + block // 2, 2 * column + block % 2, own, at)
                at += 5
    return out


@part
def _used_of(used: Array, field: Any, row: int, column: int, out: Any, at: int) -> None:
    """Of a block, where its motion points to in the anchor before: most layers, and positions in use."""
    if row >= field.shape[1] or column >= field.shape[2]:
        return
    most, count = 0, 0
    for y in range(2 * row, 2 * row + 2):
        for x in range(2 * column, 2 * column + 2):
            layers = used[_fetched(field, y, x, used.shape[0], used.shape[1])]
            most, count = max(most, layers), count + (layers > 0)
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
