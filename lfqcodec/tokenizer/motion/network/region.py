"""Positions of a picture's grid, of which networks compute what they need as rows [n, C].

What lies outside counts as zero, as it does beyond the border of a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.network import kernels

Kernel = Callable[..., None]
_TILE = 2
"""Positions of a square that is convolved by itself, in each direction."""
_FULL = 0.9
"""Where squares cover so much of a grid, all of it is one square."""
_STEP, _SQUARES_STEP = 64, 16
"""Rows and squares come in multiples of these, or of more where there are many (`in_steps`)."""
_FEW = 8


def on_cpu(tensor: Tensor) -> bool:
    """Whether kernels can have this tensor, if they take its type; on a GPU PyTorch does the same."""
    return tensor.device.type == "cpu"


def compiled(tensor: Tensor) -> bool:
    """The same for kernels that do not take bfloat16, which training may give them."""
    return on_cpu(tensor) and tensor.dtype != torch.bfloat16


def array(rows: Tensor) -> NDArray[Any]:
    """Rows on the CPU as kernels have them: float32, or the bits of bfloat16."""
    rows = rows.detach().contiguous()
    if rows.dtype != torch.bfloat16:
        return rows.numpy()
    return rows.view(torch.int16).numpy().view(np.uint16)


def kernel_for(rows: Tensor, of_float32: Kernel, of_bfloat16: Kernel) -> Kernel:
    """The one that takes rows of this type."""
    return of_bfloat16 if rows.dtype == torch.bfloat16 else of_float32


def in_steps(count: int, step: int) -> int:
    """The least multiple of `step` that is `count` or more; where it is large, that of a larger step.

    PyTorch compiles a product for each number of rows, in 0.3 ms, and keeps it in 0.7 MB. So there are few:
    1 to 8 times `step`, and 5 to 8 times each of its doubles.
    """
    while count > _FEW * step:
        step *= 2
    return -(-count // step) * step


class Region:
    """Positions of one picture's grid: `mask` bool [h, w]."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.positions = mask.flatten().nonzero()[:, 0]
        self._whole = len(self.positions) == mask.numel()
        self._tiles: dict[int, _Tiles] = {}

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def padded(self) -> int:
        """How many rows to compute; those at the end are of no position."""
        return in_steps(len(self), _STEP)

    def rows(self, x: Tensor) -> Tensor:
        """Those of the region [n, C] out of the rows of all positions [h * w, C]."""
        return x if self._whole else x.index_select(0, self.positions)

    def convolve(self, weight: Tensor, bias: Tensor | None, rows: Tensor, scale: int = 1) -> Tensor:
        """A 3x3 convolution with zeros outside: rows [n * scale^2, C] -> [n * scale^2, D].

        A position has `scale`^2 rows, its parts in raster order. `weight` [D, C / groups, 3, 3].
        """
        if self._whole and scale == 1:
            grid = rows.view(1, *self.mask.shape, -1).permute(0, 3, 1, 2)
            whole = F.conv2d(grid, weight, bias, padding=1, groups=grid.shape[1] // weight.shape[1])
            return whole.permute(0, 2, 3, 1).flatten(0, 2)
        if scale not in self._tiles:
            self._tiles[scale] = _Tiles(self, scale)
        return self._tiles[scale].convolve(weight, bias, rows)

    def depthwise(
        self, weight: Tensor, bias: Tensor | None, rows: Tensor, at: slice, dtype: torch.dtype
    ) -> Tensor:
        """A depthwise 3x3 of rows float32 [n or `padded`, C] with zeros outside: rows `at`, of type `dtype`.

        `weight` [C, 1, 3, 3]; sums are in float32. GPUs do all rows.
        """
        if not on_cpu(rows):
            made = self.convolve(weight, bias, rows[: len(self)])
            return F.pad(made, (0, 0, 0, len(rows) - len(made)))[at].to(dtype)
        near = self._near[at]
        out = torch.empty(len(near), rows.shape[1], dtype=dtype)
        kernel = kernel_for(out, kernels.depthwise, kernels.depthwise_bfloat16)
        weights, biases = weight.flatten(1).T, weight.new_zeros(len(weight)) if bias is None else bias
        kernel(array(rows), near, array(weights), array(biases), array(out))
        return out

    @cached_property
    def _near(self) -> NDArray[np.int64]:
        near = kernels.neighbours(self.positions.numpy(), *self.mask.shape)
        return np.pad(near, [(0, self.padded - len(self)), (0, 0)], constant_values=-1)


@lru_cache(maxsize=4)
def everywhere(h: int, w: int, device: torch.device) -> Region:
    """All positions of a grid."""
    return Region(torch.ones(h, w, dtype=torch.bool, device=device))


class _Tiles:
    """Squares of a grid that hold all the positions of a region, to be convolved by themselves.

    Where a region is small this takes a fraction of what convolving the grid does; the sums are the same.
    """

    def __init__(self, region: Region, scale: int) -> None:
        positions, (h, w) = region.positions, region.mask.shape
        inputs, outputs, *shape = kernels.squares(positions.cpu().numpy(), h, w, scale, _TILE, _FULL)
        self._inputs, self._outputs = (
            torch.from_numpy(each).to(positions.device) for each in (inputs, outputs)
        )
        count, self._high, self._wide = shape
        # The whole grid stays one square.
        self._count = count if count < 2 else in_steps(count, _SQUARES_STEP)
        more = (self._count - count) * (self._high + 2) * (self._wide + 2)
        self._inputs = F.pad(self._inputs, (0, more), value=-1)

    def convolve(self, weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
        """As `Region.convolve`."""
        shape = self._count, self._high + 2, self._wide + 2, rows.shape[1]
        squares = _gathered(rows, self._inputs).view(shape).permute(0, 3, 1, 2)
        mixed = F.conv2d(squares, weight, bias, groups=squares.shape[1] // weight.shape[1])
        return mixed.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, self._outputs)


def _gathered(rows: Tensor, numbers: Tensor) -> Tensor:
    """The rows with these numbers, zeros for -1. Those of bfloat16 have an even number of values."""
    if not on_cpu(rows):
        return F.pad(rows, (0, 0, 0, 1)).index_select(0, numbers % (len(rows) + 1))
    # Two of bfloat16 are moved as one of float32.
    given = rows.detach().contiguous().view(torch.float32).numpy()
    return torch.from_numpy(kernels.gather(given, numbers.numpy())).view(rows.dtype)
