"""Multi-scale SSIM (Wang et al. 2003)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.kernels import kernel

Floats = NDArray[np.float32]

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
    mx, my, mxx, myy, mxy = _blur(torch.cat([x, y, x * x, y * y, x * y]))[:, None]
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    contrast = (2 * (mxy - mx * my) + c2) / (mxx - mx * mx + myy - my * my + c2)
    return luminance, contrast


def _blur(x: Tensor) -> Tensor:
    offsets = np.arange(_WINDOW, dtype=np.float32) - _WINDOW // 2
    weights = np.exp(-np.square(offsets) / np.float32(2 * 1.5**2))
    planes: Floats = x.flatten(0, 1).contiguous().numpy()
    out = np.empty((len(planes), *(side - _WINDOW + 1 for side in planes.shape[1:])), np.float32)
    _convolve(planes, weights / weights.sum(), out)
    return torch.from_numpy(out).view(*x.shape[:2], *out.shape[1:])


@kernel("void(float32[:,:,::1], float32[::1], float32[:,:,::1])", fused=True)
def _convolve(planes: Floats, weights: Floats, out: Floats) -> None:
    """Each plane with the weights down its columns, then along its rows, where they fit."""
    columns = np.empty(planes.shape[2], np.float32)
    for plane in range(planes.shape[0]):
        for row in range(out.shape[1]):
            columns[:] = 0
            for tap in range(len(weights)):
                for x in range(len(columns)):
                    columns[x] += weights[tap] * planes[plane, row + tap, x]
            out[plane, row] = 0
            for tap in range(len(weights)):
                for x in range(out.shape[2]):
                    out[plane, row, x] += weights[tap] * columns[x + tap]
