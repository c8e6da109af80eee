"""Integer arithmetic in float32 tensors, exact in any order of summation (docs/prior.md).

Every value is an integer, or an integer times a power of two, below 2^24 (2^53 where float64 is used), and
every operation is one that IEEE 754 rounds correctly.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Linear:
    """`y[o] = round(2^-shift[o] * (bias[o] + sum over i of weight[o, i] x[i]))`, ties to even.

    The shift is part of the float32 weights: multiples of a power of two are as exact as integers.
    """

    def __init__(self, weight: NDArray[np.int64], shift: NDArray[np.int64], bias: NDArray[np.int64]) -> None:
        scale = torch.from_numpy(0.5**shift).to(torch.float32)
        self._weight = torch.from_numpy(weight.T.copy()).to(torch.float32).mul_(scale)
        self._bias = torch.from_numpy(bias).to(torch.float32).mul_(scale)

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [n, in] -> float32 [n, out]."""
        return torch.addmm(self._bias, x, self._weight).round_()
