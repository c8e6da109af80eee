"""What changes from step to step of decoding: how many units stay unknown, guidance, temperature.

Formulas after MaskGIT, MAGVIT and MDT (docs/generation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "cosine": lambda r, units: math.cos(math.pi * r / 2),
    "linear": lambda r, units: 1 - r,
    "square": lambda r, units: 1 - r * r,
    "arccos": lambda r, units: 2 / math.pi * math.acos(r),
    "exp": lambda r, units: 1 - 2 ** (-(1 - r) * math.log2(units)),
}
"""By name, the part of `units` units that is unknown once the part r of the steps is done."""


def unknown_counts(units: int, steps: int, schedule: str = "cosine") -> list[int]:
    """How many of `units` are unknown after each of `steps` steps; they fall strictly, to 0 at the last.

    `ValueError` unless 1 <= steps <= units.
    """
    if not 1 <= steps <= units:
        raise ValueError(f"{steps} steps for {units} units")
    counts, before = [], units
    for step in range(steps):
        part = SCHEDULES[schedule]((step + 1) / steps, units)
        # At least a unit for every step that is left; 1e-9 keeps the floor from falling short by rounding.
        before = max(steps - 1 - step, min(math.floor(units * part + 1e-9), before - 1))
        counts.append(before)
    return counts


def guidance_weight(step: int, steps: int, scale: float, power: float) -> float:
    """Weight of classifier-free guidance at `step` (from 0) of `steps`: logits = uncond + w (cond - uncond).

    MDT's (`forward_with_cfg`): 1 + (scale - 1) (1 - cos(pi (step / steps)^power)) / 2.
    """
    return 1 + (scale - 1) * (1 - math.cos(math.pi * (step / steps) ** power)) / 2


def softmax_temperature(step: int, steps: int, first: float, last: float) -> float:
    """What logits are divided by at `step` (from 0): it falls in a line to `last` at the last step."""
    return last + (first - last) * (1 - (step + 1) / steps)
