"""Losses of pictures, float32 [N, 3, H, W] in [-1, 1], and of what the quantizer takes signs of.

Each gives a 0-dimensional float32 tensor unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS

_C1 = (0.01 * 2) ** 2
_C2 = (0.03 * 2) ** 2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity over 8x8 uniform windows at stride 4 (Wang et al. 2004, eq. 13)."""
    size = a.shape[-2:]
    if min(size) < 8:
        raise ValueError(f"SSIM needs frames of at least 8x8, not {size[1]}x{size[0]}")
    moments = F.avg_pool2d(torch.cat([a, b, a * a, b * b, a * b], 1), 8, 4)
    ma, mb, maa, mbb, mab = moments.chunk(5, 1)
    va, vb, cov = maa - ma * ma, mbb - mb * mb, mab - ma * mb
    score = (2 * ma * mb + _C1) * (2 * cov + _C2) / ((ma * ma + mb * mb + _C1) * (va + vb + _C2))
    return torch.mean(score)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each item over all but the first dimension: [N, ...] -> [N]."""
    mse = (a.clamp(-1, 1) - b).square().flatten(1).mean(1)
    return torch.log10(4.0 / mse.clamp_min(1e-10)).mul(10)


def commitment(scores: Tensor, signs: Tensor) -> Tensor:
    """Mean squared distance of the scores to their signs, -1 and +1, which get no gradient."""
    return F.mse_loss(scores.float(), signs.detach().float())


def lfq_entropy(
    scores: Tensor, *, temperature: float = 1.0, mean: Callable[[Tensor], Tensor] = lambda x: x
) -> tuple[Tensor, Tensor]:
    """Entropy of a token and of the batch's tokens in nats (MAGVIT-v2 section 3.2, eq. 5).

    `scores` float [N, bits, h, w]. A code c of signs has the probability softmax(-|z - c|^2 / temperature);
    as |z - c|^2 is a sum over bits, so are the logarithms: bits are independent, each +1 with the
    probability sigmoid(4 z / temperature), and the entropy of a token is the exact sum of theirs. The
    entropy of the batch's mean is taken subtoken by subtoken, over the 2^9 codes of each, which bounds that
    over all 2^bits codes from above. Bit by bit it would not see bits that are always equal. `mean` makes the
    means over this process those over all. In float32, whatever autocast says.
    """
    with torch.autocast(scores.device.type, enabled=False):
        p = torch.sigmoid(scores.float() * (4 / temperature))
        each = _bit_entropy(p).sum(1).mean()
        batch = p.new_zeros(())
        for part in torch.split(p.movedim(1, -1).flatten(0, -2), SUBTOKEN_BITS, 1):
            joint = torch.ones_like(part[:, :1])
            for bit in part[..., None].unbind(1):
                joint = torch.cat((joint * (1 - bit), joint * bit), 1)
            shares = mean(joint.mean(0)).clamp(min=1e-12)
            batch = batch - (shares * shares.log()).sum()
        return each, batch


def _bit_entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def entropy_weight_at(step: int, weight: float, anneal_steps: int, anneal_factor: float) -> float:
    """The annealed weight of the entropy (appendix A.2): from `anneal_factor` times as much, in a line."""
    left = max(0.0, 1 - step / anneal_steps) if anneal_steps else 0.0
    return weight * (1 + (anneal_factor - 1) * left)
