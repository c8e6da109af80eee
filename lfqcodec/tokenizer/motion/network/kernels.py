"""Kernels of networks that act in a region: rows [n, C] of its positions, as `blocks` has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.motion.interpolation import BLOCK

Floats = NDArray[np.float32]
Halves = NDArray[np.uint16]
"""bfloat16, by their bits."""
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
    "Tuple((int64[::1], int64[::1], int64, int64, int64))(int64[::1], int64, int64, int64, int64, float64)"
)
def squares(
    positions: Integers, h: int, w: int, scale: int, tile: int, full: float
) -> tuple[Integers, Integers, int, int, int]:
    """Squares of a grid that hold all `positions`, as `region` convolves them.

    Positions of a grid of (h, w) have scale^2 rows each. Gives the row in each place of the squares and of a
    ring around them, -1 where there is none; the place of each row; how many squares there are, and their
    height and width: `tile` positions, or the whole grid where squares cover more than the share `full` of
    it.
    """
    numbers = np.full((-(-h // tile), -(-w // tile)), -1)
    for position in positions:
        numbers[position // w // tile, position % w // tile] = 0
    count = (numbers == 0).sum()
    high, wide = tile, tile
    if count * tile**2 > full * h * w:
        high, wide = h, w
        numbers, count = np.zeros((1, 1), np.int64), min(len(positions), 1)
    grid = np.full((numbers.shape[0] * high * scale + 2, numbers.shape[1] * wide * scale + 2), -1)
    for n in range(len(positions)):
        y, x = positions[n] // w * scale + 1, positions[n] % w * scale + 1
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
    outputs = np.empty(len(positions) * scale**2, np.int64)
    for n in range(len(positions)):
        y, x = positions[n] // w, positions[n] % w
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


@kernel("void(float32[:,::1], float32[:,::1], float32[:,::1])")
def whole_patches(refined: Floats, coarse: Floats, out: Floats) -> None:
    """Add two pictures whose patches [n, 192] are rows of four quarters [n * 4, 48]."""
    side = _SIDE
    for n in range(len(out)):
        for quarter in range(4):
            a, b = refined[4 * n + quarter], coarse[4 * n + quarter]
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
def _widen(row: Halves, out: Floats) -> None:
    """bfloat16 to float32."""
    bits = out.view(np.uint32)
    for k in range(len(row)):
        bits[k] = np.uint32(row[k]) << np.uint32(16)


@part
def _narrow(row: Floats, out: Halves) -> None:
    """float32 to the nearest bfloat16, of two the even one."""
    bits = row.view(np.uint32)
    for k in range(len(row)):
        even = (bits[k] >> np.uint32(16)) & np.uint32(1)
        out[k] = np.uint16((bits[k] + np.uint32(0x7FFF) + even) >> np.uint32(16))


@kernel("void(float32[:,::1], float32, float32[:,::1])")
def leaky(rows: Floats, slope: float, out: Floats) -> None:
    """A leaky ReLU."""
    for n in range(len(rows)):
        own, made = rows[n], out[n]
        for k in range(len(own)):
            made[k] = max(own[k], own[k] * slope)


@kernel("void(uint16[:,::1], float32, float32[:,::1])")
def leaky_bfloat16(rows: Halves, slope: float, out: Floats) -> None:
    """The same for bfloat16."""
    for n in range(len(rows)):
        made = out[n]
        _widen(rows[n], made)
        for k in range(len(made)):
            made[k] = max(made[k], made[k] * slope)


@part
def _depthwise(rows: Floats, near: Integers, weights: Floats, bias: Floats, sums: Floats) -> None:
    """The sum of the nine rows that are `near` [9], weighted [9, C], in their order."""
    width = len(sums)
    outside = np.zeros(width, np.float32)
    sums[:] = 0
    for first in range(0, 9, 3):
        a, b, c = near[first], near[first + 1], near[first + 2]
        left = rows[a] if a >= 0 else outside
        middle = rows[b] if b >= 0 else outside
        right = rows[c] if c >= 0 else outside
        u, v, w = weights[first], weights[first + 1], weights[first + 2]
        for k in range(width):
            total = sums[k] + u[k] * left[k]
            total = total + v[k] * middle[k]
            sums[k] = total + w[k] * right[k]
    for k in range(width):
        sums[k] += bias[k]


@kernel("void(float32[:,::1], int64[:,::1], float32[:,::1], float32[::1], float32[:,::1])", fused=True)
def depthwise(rows: Floats, near: Integers, weights: Floats, bias: Floats, out: Floats) -> None:
    """A depthwise 3x3 convolution of weights [9, C]: of the `rows` that are `near` [n, 9]."""
    for n in range(len(out)):
        _depthwise(rows, near[n], weights, bias, out[n])


@kernel("void(float32[:,::1], int64[:,::1], float32[:,::1], float32[::1], uint16[:,::1])", fused=True)
def depthwise_bfloat16(rows: Floats, near: Integers, weights: Floats, bias: Floats, out: Halves) -> None:
    """The same, rounded to bfloat16."""
    sums = np.empty(rows.shape[1], np.float32)
    for n in range(len(out)):
        _depthwise(rows, near[n], weights, bias, sums)
        _narrow(sums, out[n])


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


@part
def _gate(both: Floats, limit: float, scratch: Floats, out: Floats) -> None:
    width = len(out)
    value, gates, inverse = both[:width], both[width:], scratch[3]
    _inverse_sigmoids(gates, limit, scratch, inverse)
    for k in range(width):
        out[k] = min(max(gates[k], -limit), limit) / inverse[k] * min(max(value[k], -limit), limit)


@kernel("void(float32[:,::1], float32, float32[:,::1])", fused=True)
def gate(both: Floats, limit: float, out: Floats) -> None:
    """Gated linear units: value * gate / (1 + exp(-gate)) of values and gates [n, 2 * C] within +-`limit`."""
    scratch = np.empty((4, out.shape[1]), np.float32)
    for n in range(len(out)):
        _gate(both[n], limit, scratch, out[n])


@kernel("void(uint16[:,::1], float32, uint16[:,::1])", fused=True)
def gate_bfloat16(both: Halves, limit: float, out: Halves) -> None:
    """The same for bfloat16, in float32."""
    width = out.shape[1]
    scratch = np.empty((4, width), np.float32)
    wide, own = np.empty(2 * width, np.float32), np.empty(width, np.float32)
    for n in range(len(out)):
        _widen(both[n], wide)
        _gate(wide, limit, scratch, own)
        _narrow(own, out[n])


@part
def _gate_gradient(both: Floats, gradient: Floats, limit: float, scratch: Floats, out: Floats) -> None:
    width = len(gradient)
    value, gates, inverse = both[:width], both[width:], scratch[3]
    to_value, to_gate = out[:width], out[width:]
    zero, one = np.float32(0), np.float32(1)
    _inverse_sigmoids(gates, limit, scratch, inverse)
    for k in range(width):
        x, sigmoid = min(max(gates[k], -limit), limit), one / inverse[k]
        change = gradient[k] * (x / inverse[k])
        to_value[k] = change if abs(value[k]) <= limit else zero
        change = gradient[k] * min(max(value[k], -limit), limit) * sigmoid * (one + x * (one - sigmoid))
        to_gate[k] = change if abs(gates[k]) <= limit else zero


@kernel("void(float32[:,::1], float32[:,::1], float32, float32[:,::1])", fused=True)
def gate_gradient(both: Floats, gradient: Floats, limit: float, out: Floats) -> None:
    """The gradient of values and gates [n, 2 * C], given that of what `gate` makes of them [n, C]."""
    scratch = np.empty((4, gradient.shape[1]), np.float32)
    for n in range(len(out)):
        _gate_gradient(both[n], gradient[n], limit, scratch, out[n])


@kernel("void(uint16[:,::1], uint16[:,::1], float32, uint16[:,::1])", fused=True)
def gate_gradient_bfloat16(both: Halves, gradient: Halves, limit: float, out: Halves) -> None:
    """The same for bfloat16, in float32."""
    width = gradient.shape[1]
    scratch, own = np.empty((4, width), np.float32), np.empty(width, np.float32)
    wide, made = np.empty(2 * width, np.float32), np.empty(2 * width, np.float32)
    for n in range(len(out)):
        _widen(both[n], wide)
        _widen(gradient[n], own)
        _gate_gradient(wide, own, limit, scratch, made)
        _narrow(made, out[n])
