"""Kernels of networks that act in a region: rows [n, C] of its positions, as `blocks` has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.motion.interpolation import BLOCK

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_SIDE = BLOCK // 4
"""Samples of a quarter of a patch, in each direction."""
_WHOLE = np.float32(1.5 * (1 << 23))
"""Makes a float32 below 2^22 whole when it is added: the number is in its lowest bits then."""
_WHOLE_BITS = int(_WHOLE.view(np.int32))
_EXPONENT_BIAS, _EXPONENT_SHIFT = 127, 23
_LOG2_E = np.float32(1.442695040888963407)
_LN2_HIGH, _LN2_LOW = np.float32(0.693145751953125), np.float32(1.428606765330187045e-06)
_SERIES = np.array(
    [
        1.98527617612853646e-4,
        1.39304355252534151e-3,
        8.33336077630519867e-3,
        4.16664853692054749e-2,
        0.166666671633720398,
        0.5,
    ],
    np.float32,
)
"""Of (exp(s) - 1 - s) / s^2, highest power first, as in Sleef, which PyTorch takes its exponentials from."""


@kernel(
    "Tuple((int64[::1], int64[::1], int64, int64, int64))"
    "(int64[::1], int64[::1], int64, int64, int64, int64, float64)"
)
def squares(
    known: Integers, wanted: Integers, h: int, w: int, scale: int, tile: int, full: float
) -> tuple[Integers, Integers, int, int, int]:
    """Squares of a grid that hold `wanted` positions, as `lfqcodec.tokenizer.motion.blocks` convolves them.

    Positions of a grid of (h, w) have scale^2 rows each. Gives the row in each place of the squares and of a
    ring around them, -1 where it is not `known`; the place of each wanted row; how many squares there are,
    and their height and width: `tile` positions, or the whole grid where squares cover more than the share
    `full` of it.
    """
    numbers = np.full((-(-h // tile), -(-w // tile)), -1)
    for position in wanted:
        numbers[position // w // tile, position % w // tile] = 0
    count = (numbers == 0).sum()
    high, wide = tile, tile
    if count * tile**2 > full * h * w:
        high, wide = h, w
        numbers, count = np.zeros((1, 1), np.int64), min(len(wanted), 1)
    grid = np.full((numbers.shape[0] * high * scale + 2, numbers.shape[1] * wide * scale + 2), -1)
    for n in range(len(known)):
        y, x = known[n] // w * scale + 1, known[n] % w * scale + 1
        for part_y in range(scale):
            for part_x in range(scale):
                grid[y + part_y, x + part_x] = (n * scale + part_y) * scale + part_x
    down, across = high * scale, wide * scale
    inputs = np.empty(count * (down + 2) * (across + 2), np.int64)
    at = 0
    for row in range(numbers.shape[0]):
        for column in range(numbers.shape[1]):
            if numbers[row, column] < 0 or not count:
                continue
            numbers[row, column] = at // ((down + 2) * (across + 2))
            for y in range(row * down, (row + 1) * down + 2):
                inputs[at : at + across + 2] = grid[y, column * across : (column + 1) * across + 2]
                at += across + 2
    outputs = np.empty(len(wanted) * scale**2, np.int64)
    for n in range(len(wanted)):
        y, x = wanted[n] // w, wanted[n] % w
        first = numbers[y // high, x // wide] * down * across
        for part_y in range(scale):
            line = first + (y % high * scale + part_y) * across + x % wide * scale
            for part_x in range(scale):
                outputs[(n * scale + part_y) * scale + part_x] = line + part_x
    return inputs, outputs, count, down, across


@kernel("float32[:,::1](float32[:,::1], int64[::1])")
def gather(rows: Floats, numbers: Integers) -> Floats:
    """The rows with these numbers, zeros for -1."""
    out = np.zeros((len(numbers), rows.shape[1]), np.float32)
    for n in range(len(numbers)):
        if numbers[n] >= 0:
            own, given = out[n], rows[numbers[n]]
            for k in range(len(own)):
                own[k] = given[k]
    return out


@kernel("void(float32[:,::1], float32[:,::1], int64[::1], float32[:,::1])")
def whole_patches(refined: Floats, coarse: Floats, within: Integers, out: Floats) -> None:
    """Add two pictures whose patches [n, 192] are rows of four quarters [n * 4, 48].

    The second has more patches, of which those `within` count.
    """
    side = _SIDE
    for n in range(len(within)):
        for quarter in range(4):
            a, b = refined[4 * n + quarter], coarse[4 * within[n] + quarter]
            first = quarter // 2 * side * 2 * side + quarter % 2 * side
            for line in range(len(a) // side):
                # Channels of 4x4 samples become those of 8x8.
                at = first + (line // side * 2 * side + line % side) * 2 * side
                for k in range(side):
                    out[n, at + k] = a[side * line + k] + b[side * line + k]


@kernel("int64[:,::1](int64[::1], int64, int64)")
def neighbours(positions: Integers, h: int, w: int) -> Integers:
    """Which rows of a region are at 3x3 places around each of its positions: [n, 9], -1 outside."""
    grid = np.full((h + 2, w + 2), -1)
    for n in range(len(positions)):
        grid[positions[n] // w + 1, positions[n] % w + 1] = n
    near = np.empty((len(positions), 9), np.int64)
    for n in range(len(positions)):
        y, x = positions[n] // w, positions[n] % w
        for i in range(3):
            near[n, 3 * i : 3 * i + 3] = grid[y + i, x : x + 3]
    return near


@part
def _depthwise(rows: Floats, near: Integers, weights: Floats, out: Floats) -> None:
    """Sums over the nine rows `near` each, weighted [9, C], in their order."""
    width = out.shape[1]
    outside = np.zeros(width, np.float32)
    for n in range(len(out)):
        sums = out[n]
        sums[:] = 0
        for first in range(0, 9, 3):
            a, b, c = near[n, first], near[n, first + 1], near[n, first + 2]
            left = rows[a] if a >= 0 else outside
            middle = rows[b] if b >= 0 else outside
            right = rows[c] if c >= 0 else outside
            u, v, w = weights[first], weights[first + 1], weights[first + 2]
            for k in range(width):
                total = sums[k] + u[k] * left[k]
                total = total + v[k] * middle[k]
                sums[k] = total + w[k] * right[k]


@kernel(
    "void(float32[:,::1], int64[:,::1], float32[:,::1], float32[::1], float32, float32[:,::1])", fused=True
)
def depthwise(rows: Floats, near: Integers, weights: Floats, bias: Floats, slope: float, out: Floats) -> None:
    """A leaky ReLU, which is done to `rows` in place, and a depthwise 3x3 convolution of weights [9, C]."""
    for n in range(len(rows)):
        own = rows[n]
        for k in range(len(own)):
            own[k] = max(own[k], own[k] * slope)
    _depthwise(rows, near, weights, out)
    for n in range(len(out)):
        own = out[n]
        for k in range(len(own)):
            own[k] += bias[k]


@part
def _inverse_sigmoids(gates: Floats, limit: float, scratch: Floats, out: Floats) -> None:
    """1 + exp(-x) of gates within +-`limit`; `scratch` [3, n] is overwritten."""
    exponent, whole, power = scratch[0], scratch[1], scratch[2]
    whole_bits, power_bits = whole.view(np.int32), power.view(np.int32)
    # Loops of their own, as what is rounded here must not become part of a fused operation.
    for k in range(len(gates)):
        exponent[k] = min(max(gates[k], -limit), limit) * -_LOG2_E
    for k in range(len(gates)):
        whole[k] = exponent[k] + _WHOLE
    for k in range(len(gates)):
        power_bits[k] = (whole_bits[k] - _WHOLE_BITS + _EXPONENT_BIAS) << _EXPONENT_SHIFT
    for k in range(len(gates)):
        steps = whole[k] - _WHOLE
        rest = steps * -_LN2_HIGH - min(max(gates[k], -limit), limit)
        rest = steps * -_LN2_LOW + rest
        series = _SERIES[0] * rest + _SERIES[1]
        series = series * rest + _SERIES[2]
        series = series * rest + _SERIES[3]
        series = series * rest + _SERIES[4]
        series = series * rest + _SERIES[5]
        above = np.float32(1) + ((rest * rest) * series + rest)
        out[k] = np.float32(1) + above * power[k]


@kernel("void(float32[:,::1], float32, float32[:,::1])", fused=True)
def gate(both: Floats, limit: float, out: Floats) -> None:
    """Gated linear units: value * gate / (1 + exp(-gate)) of values and gates [n, 2 * C] within +-`limit`."""
    width = out.shape[1]
    scratch, inverse = np.empty((3, width), np.float32), np.empty(width, np.float32)
    for n in range(len(out)):
        value, gates, own = both[n, :width], both[n, width:], out[n]
        _inverse_sigmoids(gates, limit, scratch, inverse)
        for k in range(width):
            own[k] = min(max(gates[k], -limit), limit) / inverse[k] * min(max(value[k], -limit), limit)


@kernel("void(float32[:,::1], float32[:,::1], float32, float32[:,::1])", fused=True)
def gate_gradient(both: Floats, gradient: Floats, limit: float, out: Floats) -> None:
    """The gradient of values and gates [n, 2 * C], given that of what `gate` makes of them [n, C]."""
    width = gradient.shape[1]
    scratch, inverse = np.empty((3, width), np.float32), np.empty(width, np.float32)
    zero, one = np.float32(0), np.float32(1)
    for n in range(len(out)):
        value, gates, own = both[n, :width], both[n, width:], gradient[n]
        to_value, to_gate = out[n, :width], out[n, width:]
        _inverse_sigmoids(gates, limit, scratch, inverse)
        for k in range(width):
            x, sigmoid = min(max(gates[k], -limit), limit), one / inverse[k]
            change = own[k] * (x / inverse[k])
            to_value[k] = change if abs(value[k]) <= limit else zero
            change = own[k] * min(max(value[k], -limit), limit) * sigmoid * (one + x * (one - sigmoid))
            to_gate[k] = change if abs(gates[k]) <= limit else zero
