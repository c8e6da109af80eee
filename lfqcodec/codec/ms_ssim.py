"""Multi-scale SSIM (Wang et al. 2003)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_WEIGHTS, _WINDOW = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), 11
MS_SSIM_SIDE = (_WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1
"""Smallest side that it is defined for: 161 pixels."""


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Multi-scale SSIM of two 8-bit pictures [H, W, 3], mean over the channels.

    Gaussian window 11, sigma 1.5, five scales. Raises `ValueError` where a side is below 161 pixels.
    """
    if min(a.shape[:2]) < MS_SSIM_SIDE:
        raise ValueError(f"MS-SSIM needs at least {MS_SSIM_SIDE} pixels a side")
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (a, b))
    score = torch.ones(3)
    for scale, weight in enumerate(_WEIGHTS):
        luminance, contrast = _ssim_parts(x, y)
        last = scale == len(_WEIGHTS) - 1
        term = (luminance * contrast if last else contrast).flatten(2).mean(2)[0]
        score = score * term.clamp_min(0) ** weight
        if not last:
            padding = (x.shape[2] % 2, x.shape[3] % 2)
            x, y = (F.avg_pool2d(p, 2, padding=padding, count_include_pad=True) for p in (x, y))
    return float(score.mean())


def _ssim_parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my, mxx, myy, mxy = (_blur(p) for p in (x, y, x * x, y * y, x * y))
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    contrast = (2 * (mxy - mx * my) + c2) / (mxx - mx * mx + myy - my * my + c2)
    return luminance, contrast


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=x.dtype) - _WINDOW // 2
    kernel = torch.exp(-offsets.square() / (2 * 1.5**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = F.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])
    return F.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])
