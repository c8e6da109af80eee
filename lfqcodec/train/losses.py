"""Reconstruction losses, for float32 frames [N, 3, H, W] in [-1, 1]; each gives a 0-dimensional tensor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
