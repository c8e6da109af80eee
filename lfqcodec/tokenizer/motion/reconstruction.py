"""What encoder and decoder must do alike: predict pictures, and add what the tokens say.

Predictions are whole numbers (`compensation`): a block without tokens, and with no neighbour that has any, is
its prediction exactly. Residuals come out of networks in floats and are rounded to 1/64 steps before they are
added. Pictures are patches here, rows [H/8 * W/8, 192] (`blocks.patch_rows`), until they are complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.beside import together
from lfqcodec.tokenizer.motion.compensation import ReferencePicture
from lfqcodec.tokenizer.motion.interpolation import FRACTION, MIDDLE
from lfqcodec.tokenizer.motion.network.blocks import Part
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Context, Intra
from lfqcodec.tokenizer.motion.network.region import Region
from lfqcodec.tokenizer.motion.samples import apart, blend, finish, half_way

_UNIT = 1 / (FRACTION * 255)
"""What networks see of a 1/64 step: samples lie in [-0.5, 0.5] for them."""
_ZERO = MIDDLE / 255 - 0.5
_COLOURLESS = 4
"""Chroma one or two steps off the middle, as coding leaves it in films without colour."""


@dataclass(frozen=True)
class Prediction:
    """What a picture is predicted to be, and what networks see of it.

    `values` float32 [H/8 * W/8, 192], whole numbers in 1/64 steps less 128.
    """

    values: Tensor
    context: Context

    def missed(self, patches: Tensor) -> Part:
        """What there is besides in a picture, patches uint8 of the same shape."""
        return Part(patches.float().sub_(MIDDLE).mul_(FRACTION).sub_(self.values), _UNIT)


def quality(q: float, device: torch.device) -> Tensor:
    """q as networks take it: float32 [1]."""
    return torch.tensor([q], dtype=torch.float32, device=device)


def predict_anchor(reference: ReferencePicture, field: Tensor, q: Tensor) -> Prediction:
    """An anchor from the one before; `field` int64 [H/16, W/16, 2]."""
    values = reference.predict(field)
    return Prediction(values, Context((Part(values, _UNIT, _ZERO),), q))


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
    first, second = together([partial(earlier.predict, field), partial(later.predict, -field)])
    difference, differs = apart(first, second)
    # Where both are the same, weights do not matter.
    region = Region(differs.reshape(2 * field.shape[0], 2 * field.shape[1]))
    if len(region):
        own, middle = half_way(difference, second, region)
        weight = network.weigh_rows(Part(middle, _UNIT, _ZERO), Part(own, _UNIT), region)
        blend(second, own, weight, region)
    seen = Part(second, _UNIT, _ZERO), Part(difference, _UNIT)
    return Prediction(second, Context(seen, torch.cat([q, torch.full_like(q, level)])))


def reconstruct(
    network: Anchor | Between, prediction: Prediction, values: Tensor, q: Tensor, *, monochrome: bool
) -> Tensor:
    """A decoded picture, uint8 [3, H, W], of ternary values float32 [9 * layers, H/8, W/8]."""
    gate, residuals = network.decode_open(values, q, prediction.context)
    picture = finish(prediction.values, gate, residuals)
    return without_colour(picture) if monochrome else picture


def without_colour(picture: Tensor) -> Tensor:
    """Luma in all three channels of a picture uint8 [3, H, W], in whole numbers (BT.601 weights)."""
    red, green, blue = picture.to(torch.int32)
    luma: Tensor = (77 * red + 150 * green + 29 * blue + 128) >> 8
    return luma.to(torch.uint8).expand(3, -1, -1).contiguous()


def is_monochrome(pictures: Tensor) -> bool:
    """Whether the channels of pictures uint8 [n, 3, H, W] differ so little that nobody sees a colour."""
    apart = pictures.amax(1) - pictures.amin(1)
    return int(apart.max()) <= _COLOURLESS


def reconstruct_intra(network: Intra, values: Tensor, q: Tensor, *, monochrome: bool) -> Tensor:
    """A decoded first picture, uint8 [3, H, W], of ternary values float32 [9 * layers, H/8, W/8]."""
    decoded = network.quantizer.numbers(values[None]) / network.quantizer.gains(q)
    samples = network.synthesise(decoded, q)[0]
    picture = ((samples + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
    return without_colour(picture) if monochrome else picture
