"""Kernels of motion compensation and reconstruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.motion.interpolation import (
    AFTER,
    BEFORE,
    BLOCK,
    FRACTION,
    MIDDLE,
    REACH,
    TAPS,
    WINDOW,
)

Samples = NDArray[np.uint8]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_TAPS = np.array(TAPS, np.float32)
_HIGH = BEFORE + WINDOW + AFTER
_RAMP = np.array([*range(1, 16, 2), *[16] * (WINDOW - 16), *range(15, 0, -2)], np.float32) / 16
_PATCH = BLOCK // 2
_ROUNDING = np.float32(1.5 * (1 << 23))
"""What makes a float32 below 2^22 whole, to the nearest, ties to even, when it is added and taken away."""


@kernel("void(uint8[:,:,::1], int64[:,:,::1], float32[:,::1])")
def compensate(picture: Samples, field: Integers, out: Floats) -> None:
    """The prediction of `lfqcodec.tokenizer.motion.compensation` by a field, as patches [H/8 * W/8, 192].

    Blocks beside each other that have the same vector go together: their weights add up to 16 between them.
    """
    channels, _, width = picture.shape
    rows, columns, _ = field.shape
    # Sums of the 24 rows that a row of blocks predicts, from four above it.
    band = np.zeros((channels, WINDOW, width + 2 * REACH), np.float32)
    # What lies in here has rows of the length at hand, one behind the other: so loops are long.
    source = np.empty(_HIGH * (width + 2 * REACH + BEFORE + AFTER), np.float32)
    down, windows = np.empty_like(source), np.empty_like(source)
    high, wide = np.empty(WINDOW, np.float32), np.empty(width + 2 * REACH, np.float32)
    for row in range(rows):
        _weigh(high, row == 0, row == rows - 1)
        column = 0
        while column < columns:
            dx, dy = field[row, column, 0], field[row, column, 1]
            end = column + 1
            while end < columns and field[row, end, 0] == dx and field[row, end, 1] == dy:
                end += 1
            count = (end - column) * BLOCK + 2 * REACH
            _weigh(wide[:count], column == 0, end == columns)
            y = row * BLOCK + (dy >> 2) - REACH - BEFORE
            x = column * BLOCK + (dx >> 2) - REACH - BEFORE
            long = count + BEFORE + AFTER
            for channel in range(channels):
                _copy(picture[channel], y, x, long, source)
                _filter(source, dy & 3, long, WINDOW * long, down)
                if dx & 3:
                    _filter(down, dx & 3, 1, WINDOW * long - BEFORE - AFTER, windows)
                    _round(windows[: WINDOW * long])
                for i in range(WINDOW):
                    sums = band[channel, i, column * BLOCK : column * BLOCK + count]
                    first = i * long
                    own = windows[first : first + count]
                    if dx & 3 == 0:
                        own = down[first + BEFORE : first + BEFORE + count]
                    for j in range(count):
                        sums[j] += own[j] * (high[i] * wide[j])
            column = end
        for channel in range(channels):
            for i in range(BLOCK):
                if row * BLOCK + i >= REACH:
                    _emit(band[channel, i], row * BLOCK + i - REACH, channel, out)
            for i in range(WINDOW):
                if i < 2 * REACH:
                    band[channel, i] = band[channel, i + BLOCK]
                else:
                    band[channel, i] = 0
    for channel in range(channels):
        for i in range(REACH):
            _emit(band[channel, i], rows * BLOCK + i - REACH, channel, out)


@part
def _weigh(weights: Floats, first: bool, last: bool) -> None:
    """Weights of windows along an axis, where blocks begin and end; full up to the border of a picture."""
    weights[:] = 1
    for i in range(2 * REACH):
        if not first:
            weights[i] = _RAMP[i]
        if not last:
            weights[len(weights) - 1 - i] = _RAMP[i]


@part
def _copy(samples: Samples, y: int, x: int, long: int, out: Floats) -> None:
    """Rows of a channel that begin at (y, x), less 128, for windows; they may lie outside."""
    height, width = samples.shape
    for i in range(_HIGH):
        line, own = samples[min(max(y + i, 0), height - 1)], out[i * long : (i + 1) * long]
        if x >= 0 and x + long <= width:
            near = line[x : x + long]
            for j in range(long):
                own[j] = np.float32(near[j]) - np.float32(MIDDLE)
        else:
            for j in range(long):
                own[j] = np.float32(line[min(max(x + j, 0), width - 1)]) - np.float32(MIDDLE)


@part
def _filter(source: Floats, phase: int, apart: int, count: int, out: Floats) -> None:
    """The filter of a phase over samples that lie so far `apart`, at `count` places."""
    out = out[:count]
    if phase == 0:
        near = source[BEFORE * apart :]
        for k in range(count):
            out[k] = near[k] * np.float32(FRACTION)
        return
    s0, s1, s2, s3 = source, source[apart:], source[2 * apart :], source[3 * apart :]
    s4, s5, s6, s7 = source[4 * apart :], source[5 * apart :], source[6 * apart :], source[7 * apart :]
    c0, c1, c2, c3 = _TAPS[phase, 0], _TAPS[phase, 1], _TAPS[phase, 2], _TAPS[phase, 3]
    c4, c5, c6, c7 = _TAPS[phase, 4], _TAPS[phase, 5], _TAPS[phase, 6], _TAPS[phase, 7]
    for k in range(count):
        near = c0 * s0[k] + c1 * s1[k] + c2 * s2[k] + c3 * s3[k]
        out[k] = near + (c4 * s4[k] + c5 * s5[k] + c6 * s6[k] + c7 * s7[k])


@part
def _round(sums: Floats) -> None:
    for k in range(len(sums)):
        sums[k] = np.floor((sums[k] + np.float32(FRACTION // 2)) * np.float32(1 / FRACTION))


@part
def _emit(sums: Floats, y: int, channel: int, out: Floats) -> None:
    """Put a row of complete sums into patches."""
    across = (len(sums) - 2 * REACH) // _PATCH
    first = (channel * _PATCH + y % _PATCH) * _PATCH
    for patch in range(across):
        own = out[y // _PATCH * across + patch]
        for j in range(_PATCH):
            own[first + j] = np.floor(sums[REACH + patch * _PATCH + j] + np.float32(0.5))


# Samples


@kernel("float32[:,::1](float32[:,::1], float32[:,::1], boolean[::1])")
def apart(first: Floats, second: Floats, differs: NDArray[np.bool_]) -> Floats:
    """The difference of two predictions [n, 192], and where there `differs` any of it."""
    out = np.empty_like(first)
    for n in range(len(first)):
        a, b, own = first[n], second[n], out[n]
        for k in range(len(own)):
            own[k] = a[k] - b[k]
        differs[n] = (own != 0).any()
    return out


@kernel("void(float32[:,::1], float32[:,::1], int64[::1], float32[:,::1], float32[:,::1])")
def between(difference: Floats, second: Floats, positions: Integers, own: Floats, middle: Floats) -> None:
    """Of some positions: the difference to the `second` of two predictions, and what lies half way."""
    for n in range(len(positions)):
        apart, base, out, half = difference[positions[n]], second[positions[n]], own[n], middle[n]
        for k in range(len(out)):
            out[k] = apart[k]
            half[k] = base[k] + np.float32(0.5) * apart[k]


@kernel("void(float32[:,::1], float32[:,::1], float32[:,::1], int64[::1], float32)")
def blend(second: Floats, own: Floats, weights: Floats, positions: Integers, unit: float) -> None:
    """Add so much of the differences [n, 192] to a prediction as weights [n, 64] in 0..1 say.

    Weights are rounded to steps of 1 / `unit`, and so is the sum, to whole numbers.
    """
    count = weights.shape[1]
    steps = np.empty(count, np.float32)
    for n in range(len(positions)):
        weight = weights[n]
        for k in range(count):
            steps[k] = weight[k] * unit + _ROUNDING - _ROUNDING
        for first in range(0, own.shape[1], count):
            change, out = own[n, first : first + count], second[positions[n], first : first + count]
            for k in range(count):
                out[k] += np.floor((change[k] * steps[k] + unit * np.float32(0.5)) * (np.float32(1) / unit))


@kernel("void(float32[:,::1], int64[::1], float32[:,::1], uint8[:,:,::1])")
def finish(prediction: Floats, positions: Integers, residuals: Floats, picture: Samples) -> None:
    """Add residuals [n, 192] of some positions to a prediction, and make a picture uint8 [3, H, W] of it."""
    channels, _, width = picture.shape
    sums = np.empty(prediction.shape[1], np.float32)
    line, following = np.empty(prediction.shape[1], np.uint8), 0
    for patch in range(len(prediction)):
        own = prediction[patch]
        if following < len(positions) and positions[following] == patch:
            missed = residuals[following]
            for k in range(len(sums)):
                step = min(max(missed[k], np.float32(-2)), np.float32(2)) * np.float32(255 * FRACTION)
                sums[k] = own[k] + (step + _ROUNDING - _ROUNDING)
            own = sums
            following += 1
        for k in range(len(line)):
            sample = own[k] * np.float32(1 / FRACTION) + np.float32(MIDDLE + 0.5)
            line[k] = np.uint8(np.int32(min(max(sample, np.float32(0)), np.float32(255))))
        y, x = patch // (width // _PATCH) * _PATCH, patch % (width // _PATCH) * _PATCH
        for channel in range(channels):
            for i in range(_PATCH):
                first = (channel * _PATCH + i) * _PATCH
                for j in range(_PATCH):
                    picture[channel, y + i, x + j] = line[first + j]


# Fields


@part
def _median(a: int, b: int, c: int) -> int:
    return max(min(a, b), min(max(a, b), c))


@kernel("int64[:,:,::1](int64[:,:,::1], int64[:,:,::1], int64)")
def follow(differences: Integers, before: Integers, limit: int) -> Integers:
    """Differences to predictors, which `lfqcodec.tokenizer.motion.fields` tells, to vectors in +-`limit`."""
    rows, columns, _ = differences.shape
    out = np.empty_like(differences)
    for y in range(rows):
        for x in range(columns):
            for axis in range(2):
                own = before[y, x, axis]
                left = out[y, x - 1, axis] if x else own
                above = out[y - 1, x, axis] if y else own
                corner = out[y - 1, x + 1, axis] if y and x < columns - 1 else own
                guess = _median(_median(left, above, corner), own, left)
                out[y, x, axis] = (differences[y, x, axis] + guess + limit) % (2 * limit) - limit
    return out
