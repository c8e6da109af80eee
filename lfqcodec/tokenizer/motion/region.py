"""Positions of a picture's grid, of which networks compute what they need as rows [n, C].

What lies outside counts as zero, as it does beyond the border of a picture.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.motion import region_kernels

_TILE = 2
"""Positions of a square that is convolved by itself, in each direction."""
_FULL = 0.9
"""Where squares cover so much of a grid, all of it is one square."""
SLOPE = 0.1
"""Of a leaky ReLU below 0."""


def compiled(tensor: Tensor) -> bool:
    """Whether kernels can have this tensor: GPUs, and training in bfloat16, do the same by PyTorch."""
    return tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16


class Region:
    """Positions of one picture's grid: `mask` bool [h, w]."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.positions = mask.flatten().nonzero()[:, 0]
        self._whole = len(self.positions) == mask.numel()
        self._tiles: dict[tuple[int, Region | None], _Tiles] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def grown(self) -> Region:
        """With the eight neighbours of every position."""
        return Region(F.max_pool2d(self.mask[None].float(), 3, 1, 1)[0] > 0)

    def rows(self, x: Tensor) -> Tensor:
        """Those of the region [n, C] out of the rows of all positions [h * w, C]."""
        return x if self._whole else x.index_select(0, self.positions)

    def convolve(self, conv: nn.Conv2d, rows: Tensor, scale: int = 1, wanted: Region | None = None) -> Tensor:
        """A 3x3 convolution with zeros outside: rows [n * scale^2, C] to those of a `wanted` region inside.

        A position has `scale`^2 rows, its parts in raster order.
        """
        if self._whole and scale == 1 and wanted is None:
            grid = rows.view(1, *self.mask.shape, -1).permute(0, 3, 1, 2)
            whole: Tensor = conv(grid)
            return whole.permute(0, 2, 3, 1).flatten(0, 2)
        tiles = self._tiles.get((scale, wanted))
        if tiles is None:
            tiles = self._tiles[scale, wanted] = _Tiles(self, wanted or self, scale)
        return tiles.convolve(conv, rows)

    def depthwise(self, conv: nn.Conv2d, rows: Tensor) -> Tensor:
        """A leaky ReLU of rows [n, C], perhaps in place, and a depthwise 3x3 with zeros outside."""
        if not compiled(rows):
            return self.convolve(conv, F.leaky_relu(rows, SLOPE))
        weight, bias, out = conv.weight.flatten(1).T.contiguous(), conv.bias, torch.empty_like(rows)
        assert bias is not None
        arrays = (each.detach().numpy() for each in (rows, weight, bias, out))
        given, weights, biases, made = arrays
        region_kernels.depthwise(given, self._near, weights, biases, SLOPE, made)
        return out

    @cached_property
    def _near(self) -> NDArray[np.int64]:
        return region_kernels.neighbours(self.positions.numpy(), *self.mask.shape)

    def within(self, other: Region) -> Tensor:
        """Where this region's positions are among those of `other`, which holds them all: int64 [n]."""
        return torch.searchsorted(other.positions, self.positions)


class _Tiles:
    """Squares of a grid that hold all the positions of a `wanted` region, to be convolved by themselves.

    Where a region is small this takes a fraction of what convolving the grid does; the sums are the same.
    """

    def __init__(self, known: Region, wanted: Region, scale: int) -> None:
        given, needed = (region.positions.cpu().numpy() for region in (known, wanted))
        h, w = known.mask.shape
        inputs, outputs, *shape = region_kernels.squares(given, needed, h, w, scale, _TILE, _FULL)
        self._inputs, self._outputs = (
            torch.from_numpy(each).to(known.positions.device) for each in (inputs, outputs)
        )
        self._count, self._high, self._wide = shape

    def convolve(self, conv: nn.Conv2d, rows: Tensor) -> Tensor:
        """Rows of the known places to rows of the wanted ones."""
        shape = self._count, self._high + 2, self._wide + 2, rows.shape[1]
        squares = _gathered(rows, self._inputs).view(shape).permute(0, 3, 1, 2)
        mixed = F.conv2d(squares, conv.weight, conv.bias, groups=conv.groups)
        return mixed.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, self._outputs)


def _gathered(rows: Tensor, numbers: Tensor) -> Tensor:
    """The rows with these numbers, zeros for -1."""
    if not compiled(rows):
        return F.pad(rows, (0, 0, 0, 1)).index_select(0, numbers % (len(rows) + 1))
    return torch.from_numpy(region_kernels.gather(rows.detach().contiguous().numpy(), numbers.numpy()))
