"""What training minimises: distortion and bits of first pictures, and of groups in chains.

The Lagrangian of a picture is lambda(q) * D + R. D is the squared error in 8-bit steps, with LPIPS and with
what keeps latents near their rounded places; R is in bits a pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.encode.lagrangian import BASE, WEIGHT
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.motion.model.networks import Chain, Coded, GroupModel, IntraModel
from lfqcodec.train.motion.model.search import constant

PERCEPTUAL = 2000.0
"""LPIPS in the distortion: 0.1 weighs as much as 200 squared steps."""
STRAY = 1.3
"""Of the squared error that rounding makes: holds numbers at what they measure."""
SHARES = {1: (1.0,), 2: (0.95, 1.1), 4: (0.95, 0.95, 0.95, 1.25)}
"""Weights of the pictures of groups of 1, 2 and 4, in display order."""
_MIDDLE = 1.5
_SHIFT = 8


class Measured(NamedTuple):
    """`loss` without dimension. Then, for every picture, [B], or picture of a group, [B, groups, n]: `error`,
    squared, in 8-bit steps; `perceptual`, LPIPS, or 0 without it; and `bpp`, bits a pixel by layer,
    [B, layers] or [B, groups, layers].
    """

    loss: Tensor
    error: Tensor
    perceptual: Tensor
    bpp: Tensor


def weights(q: Tensor) -> tuple[Tensor, Tensor]:
    """lambda(q), and what the Lagrangian is multiplied by so that gradients are of one size for all q."""
    lam = WEIGHT * BASE**q
    return lam, (WEIGHT * BASE**_MIDDLE / lam) ** 0.5


def intra_loss(
    model: IntraModel,
    lpips: LPIPS | None,
    pictures: Tensor,
    q: Tensor,
    rate_weight: Tensor,
    dtype: torch.dtype,
) -> Measured:
    """Of first pictures float32 [B, 3, S, S]. `rate_weight` multiplies the rate; networks use `dtype`."""
    with _autocast(pictures.device, dtype):
        coded = model.code(pictures, q)
    lam, weight = weights(q)
    area = pictures.shape[2] * pictures.shape[3]
    error = _squared(coded.decoded - pictures).mean((1, 2, 3))
    perceptual = _perceptual(lpips, coded.decoded, pictures, dtype)
    distortion = error + STRAY * coded.stray + PERCEPTUAL * perceptual
    loss = (weight * (lam * distortion + _rate(coded, area) * rate_weight)).mean()
    return Measured(loss, error, perceptual, coded.bits / area)


def groups_loss(
    model: GroupModel,
    lpips: LPIPS | None,
    pictures: Tensor,
    chain: Chain,
    q: Tensor,
    rate_weight: Tensor,
    dtype: torch.dtype,
    size: int,
) -> tuple[Measured, Chain]:
    """Of groups of `size` in a chain, float32 [B, size * groups, 3, S, S]; gradients run through all."""
    lam, weight = weights(q)
    shares = constant(SHARES[size], pictures.device)
    area = pictures.shape[3] * pictures.shape[4]
    losses, errors, distances, bits = [], [], [], []
    for group in torch.split(pictures, size, 1):
        with _autocast(pictures.device, dtype):
            coded, chain = model.code(group, chain, q)
        error = _squared(coded.decoded - group).mean((2, 3, 4))
        distance = _perceptual(lpips, coded.decoded.flatten(0, 1), group.flatten(0, 1), dtype)
        perceptual = distance.reshape(error.shape)
        distortion = ((error + STRAY * coded.stray + PERCEPTUAL * perceptual) * shares).sum(1)
        losses.append((weight * (lam * distortion + _rate(coded, area) * rate_weight)).mean() / size)
        errors.append(error)
        distances.append(perceptual)
        bits.append(coded.bits / (size * area))
    stacked = (torch.stack(each, 1) for each in (errors, distances, bits))
    return Measured(torch.stack(losses).mean(), *stacked), chain


def psnr(error: Tensor) -> Tensor:
    """dB of squared errors in 8-bit steps, at most 53."""
    return 10 * torch.log10(255.0**2 / error.clamp(min=0.3))


def _rate(coded: Coded, area: int) -> Tensor:
    return (coded.bits.sum(1) + coded.pull) / area


def _squared(difference: Tensor) -> Tensor:
    return difference.square() * 255.0**2


def _perceptual(lpips: LPIPS | None, decoded: Tensor, pictures: Tensor, dtype: torch.dtype) -> Tensor:
    """LPIPS of one random crop of all pictures, up to 7 pixels off the grid of blocks.

    AlexNet strides by 4 pixels and does not see a pattern that lies on its grid.
    """
    if lpips is None:
        return decoded.new_zeros(len(decoded))
    device = decoded.device
    rows, columns = (
        torch.arange(size - _SHIFT, device=device) + torch.randint(0, _SHIFT, (1,), device=device)
        for size in decoded.shape[2:]
    )
    crops = (x.index_select(2, rows).index_select(3, columns) * 2 for x in (decoded, pictures))
    with _autocast(device, dtype):
        distance: Tensor = lpips(*(each.contiguous(memory_format=torch.channels_last) for each in crops))
    return distance


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    # Without a cache of casts, whose tensors would not outlive the capture of a CUDA graph.
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)
