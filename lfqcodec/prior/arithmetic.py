"""Integer arithmetic in float32 tensors, exact in any order of summation, on any device (docs/prior.md).

Every value is an integer, or an integer times a power of two, below 2^24 (2^53 where float64 is used), and
every operation is one that IEEE 754 rounds correctly. A quotient a / b that is then rounded down is exact
where (|a| + b) stays below 2^24: the nearest integer that it misses lies at least 1 / b away.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.config import LIMIT, LOGIT_TABLE, RESIDUAL_LIMIT, SCORE_SHIFT, SCORE_TABLE


class Linear:
    """`y[o] = round(2^-shift[o] * (bias[o] + sum over i of weight[o, i] x[i]))`, ties to even."""

    def __init__(
        self,
        weight: NDArray[np.int64],
        shift: NDArray[np.int64],
        bias: NDArray[np.int64] | None,
        device: torch.device,
        *,
        int8: bool,
    ) -> None:
        matrix = torch.from_numpy(weight.T.copy()).to(device)
        self.weight = matrix.float()
        self.scale = torch.from_numpy(0.5**shift).to(device, torch.float32)
        self.bias = None if bias is None else torch.from_numpy(bias).to(device, torch.float32)
        # The kernels want multiples of 8, on CUDA more than 16 rows too.
        usable = int8 and weight.shape[0] % 8 == 0 and weight.shape[1] % 8 == 0
        self._narrow = matrix.to(torch.int8) if usable else None

    def __call__(self, x: Tensor, inputs: int | None = None) -> Tensor:
        """float32 [n, in] -> float32 [n, out]. `inputs`: x has only the first ones, the others are 0."""
        weight = self.weight if inputs is None else self.weight[:inputs]
        if self._narrow is not None and inputs is None and len(x) > 16:
            y = torch._int_mm(x.to(torch.int8), self._narrow).to(torch.float32)
            if self.bias is not None:
                y += self.bias
        elif self.bias is not None:
            y = torch.addmm(self.bias, x, weight)
        else:
            y = torch.mm(x, weight)
        return y.mul_(self.scale).round_()


@lru_cache(maxsize=4)
def int8_product_is_exact(device: str) -> bool:
    """Whether `torch._int_mm` gives right answers here, also where 16-bit sums of pairs would saturate."""
    random = torch.Generator().manual_seed(1)
    for rows, inner, columns in ((32, 64, 64), (40, 192, 384), (77, 384, 192), (130, 192, 512)):
        for fill in (LIMIT, -LIMIT, None):
            a = torch.full((rows, inner), LIMIT)
            b = torch.full((inner, columns), fill or 0)
            if fill is None:
                a = torch.randint(0, 2, a.shape, generator=random) * 2 * LIMIT - LIMIT
                b = torch.randint(-LIMIT, LIMIT + 1, b.shape, generator=random)
            try:
                narrow = torch._int_mm(a.to(device, torch.int8), b.to(device, torch.int8))
            except RuntimeError:
                return False
            if not torch.equal(narrow.cpu().long(), a @ b):
                return False
    return True


def add_residual(x: Tensor, update: Tensor) -> Tensor:
    """The sum of two integer tensors, cut to +-32767; overwrites and returns `update`."""
    return update.add_(x).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)


def normalise(x: Tensor) -> Tensor:
    """Root-mean-square normalisation to 32, of integers up to +-32767: float32 [n, d] -> [n, d] in +-127.

    r = max(1, isqrt(16 * sum of squares div d)), four times the root mean square; then
    floor((256 x + r) / (2 r)), cut to +-127. The square root is taken in float64, where its floor is exact.
    """
    squares = x.double().square().sum(-1, keepdim=True)
    four_rms = squares.mul_(16).div_(x.shape[-1]).floor_().sqrt_().floor_().clamp_(min=1)
    half = (four_rms / 256).to(torch.float32)
    return (x + half).div_(2 * half).floor_().clamp_(-LIMIT, LIMIT)


def squared_relu(a: Tensor) -> Tensor:
    """round(min(max(a, 0), 127)^2 / 128), ties to even, in 0..126; overwrites `a`."""
    a.clamp_(0, LIMIT)
    return a.mul_(a).mul_(1 / 128).round_()


def attend(query: Tensor, key: Tensor, value: Tensor, place: Tensor, none: Tensor, table: Tensor) -> Tensor:
    """Integer attention: float32 [g, q, c], [g, k, c], [g, k, c] -> [g, q, c] in +-127; k is not 0.

    `place` [g, q, k] and `none` [g, 1, 1] are integers to add to products and to stand for the empty key,
    times 2^-7; `query` comes times 2^-7 too. `table` float32 [256]: weight by distance from the maximum.
    """
    score = torch.baddbmm(place, query, key.mT)
    top = torch.maximum(score.amax(-1, keepdim=True), none)
    weight = _look_up(table, torch.sub(top, score), SCORE_TABLE)
    total = weight.sum(-1, keepdim=True) + _look_up(table, top - none, SCORE_TABLE)
    mixed = torch.bmm(weight, value)
    return mixed.mul_(2).add_(total).div_(2 * total).floor_()


def _look_up(table: Tensor, distance: Tensor, size: int) -> Tensor:
    """table[min(floor(distance), size - 1)]; overwrites `distance`, which is not negative."""
    index = distance.clamp_(max=size - 1).to(torch.int32)
    return table.index_select(0, index.view(-1)).view(index.shape)


def scale_scores(values: Tensor) -> Tensor:
    """Integers times 2^-7, the unit that `attend` works in."""
    return values * (0.5**SCORE_SHIFT)


def frequencies(logits: Tensor, table: Tensor) -> NDArray[np.uint32]:
    """Integer logits float32 [n, 512] to frequency rows uint32 [n, 512], each summing to 2^24, all above 0.

    e = table[min(max - logit, 1023)]; f = 1 + floor(e (2^24 - 512) / sum of e); what is then missing of
    2^24 goes to the first symbol with the largest logit.
    """
    distance = logits.amax(-1, keepdim=True) - logits
    raised = _look_up(table, distance, LOGIT_TABLE).double()
    # Below 2^40, so the quotient in float64 rounds down to the true integer.
    rows = raised.mul(ROW_SUM - SYMBOLS).div_(raised.sum(-1, keepdim=True)).floor_().add_(1)
    result = rows.to(torch.int32).cpu().numpy().astype(np.uint32)
    missing = ROW_SUM - result.sum(-1, dtype=np.int64)
    best = logits.cpu().numpy().argmax(-1)
    result[np.arange(len(result)), best] += missing.astype(np.uint32)
    return result
