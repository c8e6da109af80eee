"""What is done to every sample of predictions: on CPUs by kernels, on GPUs by PyTorch, with the same numbers.

Predictions are patches float32 [n, 192] of whole numbers, in 1/64 steps of a sample less 128. All sums stay
below 2^24, so they are exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lfqcodec.tokenizer.motion import kernels
from lfqcodec.tokenizer.motion.compensation import to_samples
from lfqcodec.tokenizer.motion.interpolation import FRACTION
from lfqcodec.tokenizer.motion.network.patches import PATCH, SAMPLES, from_patch_rows
from lfqcodec.tokenizer.motion.network.region import Region, compiled

WEIGHTS = 256
"""Steps of the weight of one prediction against another."""
_LIMIT = 2.0
"""Of residuals; samples lie in [-0.5, 0.5] there."""


def apart(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The difference of two predictions, and at which positions there is any: bool [n]."""
    if not compiled(first):
        difference = first - second
        return difference, difference.abs().amax(1) > 0
    differs = np.empty(len(first), np.bool_)
    difference = torch.from_numpy(kernels.apart(first.numpy(), second.numpy(), differs))
    return difference, torch.from_numpy(differs)


def half_way(difference: Tensor, second: Tensor, region: Region) -> tuple[Tensor, Tensor]:
    """In a region: the difference to the `second` of two predictions, and what lies half way: [m, 192]."""
    if not compiled(second):
        own = region.rows(difference)
        return own, region.rows(second).add(own, alpha=0.5)
    own, middle = torch.empty(2, len(region), SAMPLES)
    positions = region.positions.numpy()
    kernels.between(difference.numpy(), second.numpy(), positions, own.numpy(), middle.numpy())
    return own, middle


def blend(second: Tensor, own: Tensor, weight: Tensor, region: Region) -> None:
    """Go from the `second` prediction so far to the other, in place, as weights [m, 64] in [0, 1] say.

    With the weight w / 256, rounded, and the difference d that is s + ((w * d + 128) >> 8).
    """
    if not compiled(second):
        steps = weight.mul(WEIGHTS).round_()
        change = own.view(len(own), -1, weight.shape[1]) * steps[:, None]
        change = change.add_(WEIGHTS // 2).mul_(1 / WEIGHTS).floor_().view(-1, SAMPLES)
        second.index_add_(0, region.positions, change)
        return
    kernels.blend(second.numpy(), own.numpy(), weight.contiguous().numpy(), region.positions.numpy(), WEIGHTS)


def finish(prediction: Tensor, gate: Region, residuals: Tensor) -> Tensor:
    """A picture uint8 [3, H, W]: a prediction, and residuals of samples in [-0.5, 0.5] in the `gate`."""
    if compiled(prediction):
        h, w = gate.mask.shape
        picture = np.empty((3, PATCH * h, PATCH * w), np.uint8)
        kernels.finish(prediction.numpy(), gate.positions.numpy(), residuals.contiguous().numpy(), picture)
        return torch.from_numpy(picture)
    samples = to_samples(prediction)
    if len(gate):
        steps = residuals.clamp(-_LIMIT, _LIMIT).mul_(255 * FRACTION).round_()
        samples[gate.positions] = to_samples(steps.add_(gate.rows(prediction)))
    return from_patch_rows(samples, gate.mask.shape)
