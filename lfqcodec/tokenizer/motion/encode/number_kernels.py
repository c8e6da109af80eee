"""The kernel of what may be chosen for a layer of tokens, as `numbers` says it in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.kernels import kernel, part
from lfqcodec.tokenizer.lfq.ternary import VALUES

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

FIXED = 1e12
"""More than any token can gain or cost."""


@kernel(
    "void(float32[:,::1], float32[::1], int64[::1], float32[:,:,::1], int64[::1], float32[::1], "
    "float32[:,::1], float32[:,::1], float32[::1], float32, int32[::1], float32[:,:,::1])"
)
def choices(
    scaled: Floats,
    weight: Floats,
    counts: Integers,
    taken: Floats,
    channels: Integers,
    powers: Floats,
    limits: Floats,
    rests: Floats,
    units: Floats,
    rounding: float,
    tokens: NDArray[np.int32],
    gains: Floats,
) -> None:
    """Plain tokens [n] of the next layer, and what its bits gain [n, 2, 9].

    `scaled` [n, dim] are numbers in steps, `weight` [dim] what their squares are in samples, `counts` [n] how
    many layers are coded where; `taken` [planes, 9 * layers, positions] the values of the layers before;
    `channels` and `powers` of 3 [slots] are those of all digits. By how many layers are coded numbers have
    `limits`, and what the layers left can change, in `units` [dim], has `rests` [layers + 1, dim].
    """
    _, before, positions = taken.shape
    layer, most = before // VALUES, len(limits) - 1
    one, half, three = np.float32(1), np.float32(0.5), np.float32(3)
    for position in range(len(scaled)):
        tokens[position] = 0
        count, plane = counts[position], position // positions
        for slot in range(VALUES):
            channel, power = channels[before + slot], powers[before + slot]
            alone = True
            for other in range(VALUES):
                alone &= other == slot or channels[before + other] != channel
            if count <= layer:
                gains[position, 0, slot], gains[position, 1, slot] = -FIXED, 0
                continue
            own = scaled[position, channel]
            target = min(np.floor(abs(own) + rounding), limits[count, channel]) * np.sign(own)
            known = np.float32(0)
            for other in range(before):
                if channels[other] == channel:
                    known += taken[plane, other, position % positions] * powers[other]
            steps, rest, unit = (target - known) / units[channel], rests[count, channel], units[channel]
            planned = known + min(max(np.rint(steps), -rest), rest) * unit
            left, step = planned, one
            while step < power:
                left, step = np.rint(left / three), step * three
            value = left - three * np.rint(left / three)
            if value != 0:
                tokens[position] |= 1 << slot
            if value > 0:
                tokens[position] |= 1 << VALUES + slot
            if not alone:
                gains[position, 0, slot] = (np.float32(2) * abs(value) - one) * np.float32(FIXED)
                gains[position, 1, slot] = value * np.float32(FIXED)
                continue
            free = count == most and limits[most, channel] > (three * step - one) * half
            minus = _error(own - planned, -one - value, step, free) * weight[channel]
            zero = _error(own - planned, -value, step, free) * weight[channel]
            plus = _error(own - planned, one - value, step, free) * weight[channel]
            gains[position, 0, slot] = zero - min(minus, plus)
            gains[position, 1, slot] = minus - plus


@part
def _error(missed: Any, change: Any, step: Any, free: bool) -> Any:
    """The square of what is missed after a change by so many steps, if digits above are `free` to follow."""
    left = missed - change * step
    if free:
        whole = np.float32(3) * step
        left = left - whole * np.rint(left / whole)
    return left * left
