"""Latent numbers of a first picture, refined by gradient descent. Encoders alone do this.

The networks of an encoder give numbers that are good for most pictures. A few steps of Adam on the Lagrangian
of the picture itself, where rounding passes the gradient, find better ones (Campos et al. 2019, arXiv
1906.01223). What a value costs is taken from how often its slot is used in this picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.encode.lagrangian import error_of_bit
from lfqcodec.tokenizer.motion.network.networks import Intra
from lfqcodec.tokenizer.motion.network.patches import PATCH

_RATE = 0.03
"""How far a step may move a number, at first; it falls to zero in a line."""
_BETAS, _EPSILON = (0.8, 0.95), 1e-8
_BAND = 1 << 14
"""Positions that are refined at once, about, which bounds the memory that gradients take."""
_REACH = 9
"""So many positions away the decoder sees what a number says."""


def refined(network: Intra, picture: Tensor, scaled: Tensor, q: Tensor, steps: int) -> Tensor:
    """Numbers float32 [1, dim, h, w], in steps of the quantizer, of lower cost than `scaled` has.

    `picture` float32 [1, 3, 8 * h, 8 * w] in [-0.5, 0.5]; q float32 [1].
    """
    h, w = scaled.shape[2:]
    cost = _cost(network.quantizer.plain(scaled)) * error_of_bit(q.item())
    found = scaled.clone()
    high = -(-h // max(1, round(h * w / _BAND)))
    for first in range(0, h, high):
        top, bottom = max(0, first - _REACH), min(h, first + high + _REACH)
        seen = picture[:, :, PATCH * top : PATCH * bottom]
        band = _descend(network, seen, scaled[:, :, top:bottom], q, cost, steps)
        found[:, :, first : first + high] = band[:, :, first - top : first - top + high]
    return found


def _cost(values: Tensor) -> Tensor:
    """Bits that a ternary value costs above a zero, by slot: [1, slots, 1, 1]."""
    chance = ((values != 0).float().sum((0, 2, 3), keepdim=True) + 0.5) / (values[:, 0].numel() + 1)
    return torch.log2((1 - chance) / chance) + 1


def _descend(network: Intra, picture: Tensor, scaled: Tensor, q: Tensor, cost: Tensor, steps: int) -> Tensor:
    quantizer, numbers = network.quantizer, scaled.clone()
    gains, mean, square = quantizer.gains(q), torch.zeros_like(scaled), torch.zeros_like(scaled)
    for step in range(steps):
        with torch.enable_grad():
            given = numbers.detach().requires_grad_()
            whole = quantizer.rounded(given)
            error = (network.synthesise(whole / gains, q) - picture).square().sum() * 255**2
            costly = (quantizer.values(whole.detach()) != 0) | (quantizer.towards(given) != 0)
            loss = error + quantizer.pressure(given, cost * costly).sum()
            (gradient,) = torch.autograd.grad(loss, given)
        # Adam. To import that of PyTorch takes as long as half of the steps.
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        mean_share, square_share = (1 - beta ** (step + 1) for beta in _BETAS)
        deviation = square.sqrt().div_(square_share**0.5).add_(_EPSILON)
        numbers.addcdiv_(mean, deviation, value=-_RATE * (1 - step / steps) / mean_share)
    return numbers
