"""Kernels of motion compensation, reconstruction and motion search, for pictures in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.motion.compensation import AFTER, BEFORE, BLOCK, FRACTION, MIDDLE, REACH, TAPS, WINDOW

Samples = NDArray[np.uint8]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_TAPS = np.array(TAPS, np.float32)
_HIGH = BEFORE + WINDOW + AFTER
_RAMP = np.array([*range(1, 16, 2), *[16] * (WINDOW - 16), *range(15, 0, -2)], np.float32) / 16
_PATCH = BLOCK // 2


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
    for half in range(0, 8, 4):
        a, b, c, d = (
            _TAPS[phase, half],
            _TAPS[phase, half + 1],
            _TAPS[phase, half + 2],
            _TAPS[phase, half + 3],
        )
        first, second = source[half * apart :], source[(half + 1) * apart :]
        third, fourth = source[(half + 2) * apart :], source[(half + 3) * apart :]
        if half:
            for k in range(count):
                out[k] += a * first[k] + b * second[k] + c * third[k] + d * fourth[k]
        else:
            for k in range(count):
                out[k] = a * first[k] + b * second[k] + c * third[k] + d * fourth[k]


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
