"""What encoder and decoder must do alike: predict pictures, and add what the tokens say.

Predictions are integers (`compensation`): a block without tokens, and with no neighbour that has any, is its
prediction exactly. Residuals come out of networks in floats and are rounded to 1/64 steps before they are
added.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.blocks import to_patches
from lfqcodec.tokenizer.motion.compensation import FRACTION, ReferencePicture, to_samples, to_unit
from lfqcodec.tokenizer.motion.networks import Anchor, Between, Intra

_WEIGHTS = 256


@dataclass(frozen=True)
class Prediction:
    """What a picture is predicted to be, and what networks see of it.

    `values` int32 [3, H, W] in 1/64 steps less 128, `context` float32 [1, C, H/8, W/8].
    """

    values: Tensor
    context: Tensor


def quality(q: float, device: torch.device) -> Tensor:
    """q as networks take it: float32 [1]."""
    return torch.tensor([q], dtype=torch.float32, device=device)


def predict_anchor(network: Anchor, reference: ReferencePicture, field: Tensor, q: Tensor) -> Prediction:
    """An anchor from the one before; `field` int64 [H/16, W/16, 2]."""
    values = reference.predict(field)
    return Prediction(values.int(), network.context(_patches(values), q))


def predict_between(
    network: Between,
    earlier: ReferencePicture,
    later: ReferencePicture,
    field: Tensor,
    q: Tensor,
    level: float,
) -> Prediction:
    """A picture from two: `field` points to the earlier, its negative to the later reference.

    The weight of the earlier prediction p against the later one r comes from a network and is rounded to
    w / 256; the prediction is (w * p + (256 - w) * r + 128) >> 8.
    """
    first, second = earlier.predict(field), later.predict(-field)
    first_seen, second_seen = _patches(first), _patches(second)
    weight = (network.weigh(first_seen, second_seen)[0] * _WEIGHTS).round().int()
    values = (weight * first + (_WEIGHTS - weight) * second + _WEIGHTS // 2) >> 8
    level_each = torch.full_like(q, level)
    context = network.context(_patches(values), first_seen - second_seen, q, level_each)
    return Prediction(values, context)


def reconstruct(network: Anchor | Between, prediction: Prediction, values: Tensor, q: Tensor) -> Tensor:
    """A decoded picture, uint8 [3, H, W], of ternary values float32 [9 * layers, H/8, W/8]."""
    quantizer, each = network.quantizer, values[None]
    decoded = quantizer.numbers(each) / quantizer.gains(q)
    residual = network.decode_open(decoded, each, prediction.context)[0].clamp(-2, 2)
    return to_samples(prediction.values + (residual * (255 * FRACTION)).round().int())


def reconstruct_intra(network: Intra, values: Tensor, q: Tensor) -> Tensor:
    """A decoded first picture, uint8 [3, H, W], of ternary values float32 [9 * layers, H/8, W/8]."""
    decoded = network.quantizer.numbers(values[None]) / network.quantizer.gains(q)
    picture = network.synthesise(decoded, q)[0]
    return ((picture + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)


def _patches(values: Tensor) -> Tensor:
    """A prediction [3, H, W] as networks see it."""
    return to_patches(to_unit(values)[None])
