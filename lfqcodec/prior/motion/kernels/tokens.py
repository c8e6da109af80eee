"""Kernels of the learned rate model: what the networks for tokens see.

Values are whole numbers, or multiples of a power of two, that their type holds exactly, so the order of sums
does not matter. `lfqcodec.prior.motion.features` says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.prior.motion.config import (
    COMMON,
    DEPTH_CHOICES,
    DIAGONAL,
    DIRECT,
    FEATURE_LIMIT,
    THRESHOLDS,
    VALUES,
)

Array = NDArray[np.int64]
Floats = NDArray[np.float32]
_AROUND = np.array((*DIRECT, *DIAGONAL))
_NEAR, _ALL = len(DIRECT), len(DIRECT) + len(DIAGONAL)
_MOVED = 2 * len(THRESHOLDS) + 2


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
    "int64[:,:,::1], float32[:,:,:,::1], int64[::1], int64[:,:,::1], int64[:,::1])"
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
    fetched: Array,
) -> Floats:
    """The same for anchors.

    `choices` [1, h/2, w/2] and `counts` [1, h, w] of depth; `moved` [1, h/2, w/2, 12]; `least` number of
    layers by choice; `past` [k, h, w], the anchor before, and `fetched` [h, w], which of its positions each
    sees. k may be 0.
    """
    out = np.zeros((len(positions), many), np.float32)
    columns = tokens.shape[2]
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
            y, x = fetched[row, column] // columns, fetched[row, column] % columns
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
