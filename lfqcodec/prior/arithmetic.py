"""Integer arithmetic in float32 tensors, exact in any order of summation, on any device (docs/prior.md).

Every value is an integer, or an integer times a power of two, below 2^24 (2^53 where float64 is used), and
every operation is one that IEEE 754 rounds correctly. A quotient a / b that is then rounded down is exact
where (|a| + b) stays below 2^24: the nearest integer that it misses lies at least 1 / b away.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.config import LIMIT, RESIDUAL_LIMIT, SCORE_LIMIT, SCORE_SHIFT

UNIT = 0.5**SCORE_SHIFT
"""Scores times this are distances in the attention table."""
OUTSIDE = 4 * SCORE_LIMIT
"""Far below every score: the table gives keys that lie so far down the weight 0."""
_LONGEST_TABLE = 1 << 18
_SHARED = ROW_SUM - SYMBOLS


class Linear:
    """`y[o] = round(2^-shift[o] * (bias[o] + sum over i of weight[o, i] x[i]))`, ties to even.

    The shift is part of the float32 weights: multiples of a power of two are as exact as integers.
    """

    def __init__(
        self,
        weight: NDArray[np.int64],
        shift: NDArray[np.int64],
        bias: NDArray[np.int64] | None,
        device: torch.device,
        *,
        int8: bool = False,
    ) -> None:
        matrix = torch.from_numpy(weight.T.copy()).to(device)
        self.scale = torch.from_numpy(0.5**shift).to(device, torch.float32)
        self.weight = matrix.float().mul_(self.scale)
        self.bias = None
        if bias is not None:
            self.bias = torch.from_numpy(bias).to(device, torch.float32).mul_(self.scale)
        # The kernels want multiples of 8, on CUDA more than 16 rows too.
        usable = int8 and weight.shape[0] % 8 == 0 and weight.shape[1] % 8 == 0
        self._narrow = matrix.to(torch.int8) if usable and _int8_product_is_right(matrix) else None

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """float32 [n, in] -> float32 [n, out], in `out` if it is given."""
        if self._narrow is not None and len(x) > 16:
            y = torch._int_mm(x.to(torch.int8), self._narrow).to(torch.float32).mul_(self.scale)
            if self.bias is not None:
                y += self.bias
            return torch.round(y, out=out)
        if self.bias is not None:
            y = torch.addmm(self.bias, x, self.weight, out=out)
        else:
            y = torch.mm(x, self.weight, out=out)
        return torch.round_(y)


def _int8_product_is_right(matrix: Tensor) -> bool:
    """Whether `torch._int_mm` is right for these weights, int64 [in, out], where sums are largest, too."""
    random = torch.Generator().manual_seed(1)
    mixed = torch.randint(0, 2, (24, len(matrix)), generator=random).to(matrix.device) * 2 - 1
    return _agree(torch.cat([mixed, matrix[:, :16].T.sign()]) * LIMIT, matrix)


def _agree(x: Tensor, matrix: Tensor) -> bool:
    """Whether the 8-bit product of two integer matrices is there and is that of float64."""
    try:
        narrow = torch._int_mm(x.to(torch.int8), matrix.to(torch.int8))
    except RuntimeError:
        return False
    return torch.equal(narrow.double(), x.double() @ matrix.double())


class Table:
    """table[min(floor(distance), size - 1)] for distances from 0 to `reach`."""

    def __init__(self, values: Tensor, reach: int) -> None:
        self._last = len(values) - 1 if reach >= _LONGEST_TABLE else None
        if self._last is None:
            # The last value again and again spares cutting the distances.
            values = torch.cat((values, values[-1:].expand(max(0, reach + 1 - len(values)))))
        self._values = values

    def __call__(self, distance: Tensor) -> Tensor:
        """Entries at `distance`, float32 [...]; may overwrite it."""
        if self._last is not None:
            distance = distance.clamp_(max=self._last)
        # Converting to int32 rounds down and is the cheapest index there is.
        index = distance.to(torch.int32)
        return self._values.index_select(0, index.view(-1)).view(index.shape)


@lru_cache(maxsize=4)
def int8_product_is_exact(device: str) -> bool:
    """Whether `torch._int_mm` gives right answers here, also where 16-bit sums of pairs would saturate."""
    random = torch.Generator().manual_seed(1)
    for rows, inner, columns in ((32, 64, 64), (40, 192, 384), (77, 384, 192), (130, 192, 512)):
        for fill in (LIMIT, -LIMIT, None):
            x = torch.full((rows, inner), LIMIT)
            matrix = torch.full((inner, columns), fill or 0)
            if fill is None:
                x = torch.randint(0, 2, x.shape, generator=random) * 2 * LIMIT - LIMIT
                matrix = torch.randint(-LIMIT, LIMIT + 1, matrix.shape, generator=random)
            if not _agree(x.to(device), matrix.to(device)):
                return False
    return True


@lru_cache(maxsize=4)
def int8_product_is_faster(device: str) -> bool:
    """Whether 8-bit products, with what they need around them, take less time here than those in float32.

    On CUDA they do. CPUs with VNNI or the like are several times as fast, others many times as slow. How it
    comes out, and whether it does every time, changes nothing but speed.
    """
    if device == "cuda":
        return True
    x = torch.ones(48, 160, device=device)  # small enough for memory to be at hand
    weight, shift = np.ones((320, 160), np.int64), np.zeros(320, np.int64)
    seconds = []
    for int8 in (False, True):
        layer = Linear(weight, shift, None, x.device, int8=int8)
        runs = []
        for _ in range(8):
            start = time.perf_counter()
            layer(x)
            runs.append(time.perf_counter() - start)
        seconds.append(min(runs))
    return seconds[1] < seconds[0]


def takes_int8_product(device: str, wanted: bool | None = None) -> bool:
    """Whether 8-bit products are to be used: where they are right, and wanted or, without a wish, faster."""
    if wanted is False or not int8_product_is_exact(device):
        return False
    return wanted is True or int8_product_is_faster(device)


def add_residual(x: Tensor, update: Tensor) -> Tensor:
    """The sum of two integer tensors, cut to +-32767; overwrites and returns `x`."""
    return x.add_(update).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)


def normalise(x: Tensor) -> Tensor:
    """Root-mean-square normalisation to 32, of integers up to +-32767: float32 [n, d] -> [n, d] in +-127.

    r = max(1, isqrt(16 * sum of squares div d)), four times the root mean square; then
    floor((256 x + r) / (2 r)), cut to +-127. The sum and its root are float64.
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float64)
    # Below 2^17, and either an integer or 1 / (2 * 2^17 * d) >= 2^-27 away from the next one above: more than
    # what is added here, and that is more than the errors of rounding, below 2^17 * 2^-51.
    four_rms = norm.mul_(4 / math.sqrt(x.shape[-1])).add_(2.0**-29).floor_().clamp_(min=1)
    r = four_rms.to(torch.float32).mul_(1 / 256)
    return torch.add(x, r).div_(r.mul_(2)).floor_().clamp_(-LIMIT, LIMIT)


def squared_relu(a: Tensor) -> Tensor:
    """round(min(max(a, 0), 127)^2 / 128), ties to even, in 0..126; overwrites `a`."""
    a.clamp_(0, LIMIT)
    return a.mul_(a).mul_(1 / 128).round_()


def attend(
    query: Tensor, key: Tensor, value: Tensor, place: Tensor, outside: Tensor, none: Tensor, table: Table
) -> None:
    """Integer attention of one head: float32 [g, q, c], [g, k, c], [g, k, c]; k is not 0.

    Overwrites `query` with the answers, in +-127.

    `place` [q, k] and `none`, a number, are integers times -2^-7: what to subtract from products of query
    and key for their places, and the score of the empty key, negative. `outside` [g, 1, k] is 0, or
    `OUTSIDE` * 2^-7 where there is no key. So what is formed here is the negative of the scores, and `table`,
    weights by distance from the highest score, takes it less its lowest value.
    """
    score = (place + outside).baddbmm_(query, key.mT, alpha=-UNIT)
    lowest = torch.minimum(score.amin(-1, keepdim=True), none)
    weight = table(score.sub_(lowest))
    total = weight.sum(-1, keepdim=True).add_(table(none - lowest))
    mixed = torch.bmm(weight, value)
    torch.floor(mixed.add_(total / 2).div_(total), out=query)


def score_table(values: NDArray[np.int64], head_width: int, device: torch.device) -> Table:
    """The table that `attend` needs: weights by distance between two scores, or a score and `OUTSIDE`."""
    reach = 2 * (head_width * LIMIT * LIMIT + SCORE_LIMIT) + OUTSIDE
    return Table(torch.from_numpy(values).to(device, torch.float32), int(reach * UNIT) + 1)


class RowMaker:
    """Integer logits to frequencies.

    e = table[min(max - logit, 1023)]; f = 1 + floor(e (2^24 - 512) / sum of e). What is then missing of 2^24
    goes to the first symbol with the largest logit.
    """

    def __init__(self, table: NDArray[np.int64], device: torch.device) -> None:
        # See `__call__`: numerators of the quotients, plus 1/2, below 2^40.
        numerators = torch.from_numpy(table).to(device, torch.float64).mul_(_SHARED).add_(0.5)
        self._table = Table(numerators, _LONGEST_TABLE)

    def __call__(self, logits: Tensor) -> NDArray[np.float64]:
        """float32 [n, 512] to f - 1: float64 [n, 512], integers from 0, each row summing to 2^24 - 512."""
        raised = self._table(logits.amax(-1, keepdim=True) - logits)
        total = raised.sum(-1, keepdim=True).sub_(SYMBOLS / 2).div_(_SHARED)
        # floor(a / b) = floor((a + 1/2) / b), and that is at least 1 / (2 b) >= 2^-26 away from an integer:
        # more than the errors of multiplying by a rounded 1 / b, below 2^24 * 2^-52. So the floor is right.
        rows = raised.mul_(total.reciprocal_()).floor_()
        missing = (_SHARED - rows.sum(-1)).cpu().numpy()
        result = rows.cpu().numpy()
        result[np.arange(len(result)), logits.cpu().numpy().argmax(-1)] += missing
        return result
