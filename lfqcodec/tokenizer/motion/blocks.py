"""Building blocks of the networks: pointwise layers and depthwise 3x3 at 1/8 of the size.

Tensors are channels_last batches [B, C, h, w]. A decoder need not act everywhere: `Region` names the
positions that matter, and layers compute those alone, with the same result there.

The short names of layers are those in weights files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 8
"""Pixels of a block, in each direction."""
SAMPLES = 3 * PATCH**2


def to_patches(pictures: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 64 * C, H/8, W/8], channels_last; channels in the order of `pixel_unshuffle`."""
    batch, channels, high, wide = pictures.shape
    h, w = high // PATCH, wide // PATCH
    split = pictures.reshape(batch, channels, h, PATCH, w, PATCH).permute(0, 2, 4, 1, 3, 5)
    # One copy, where `pixel_unshuffle` and a change of layout would make two.
    return split.reshape(batch, h, w, channels * PATCH**2).permute(0, 3, 1, 2)


def from_patches(patches: Tensor, size: int = PATCH) -> Tensor:
    """[B, C * size^2, h, w] -> [B, C, size * h, size * w], contiguous."""
    return _split(patches, size).permute(0, 3, 1, 4, 2, 5).reshape(*_unfolded(patches, size))


def enlarge(x: Tensor, size: int) -> Tensor:
    """The same, channels_last."""
    batch, channels, high, wide = _unfolded(x, size)
    rows = _split(x, size).permute(0, 1, 4, 2, 5, 3).reshape(batch, high, wide, channels)
    return rows.permute(0, 3, 1, 2)


def _split(x: Tensor, size: int) -> Tensor:
    """[B, C * size^2, h, w] -> [B, h, w, C, size, size]."""
    return x.permute(0, 2, 3, 1).unflatten(3, (-1, size, size))  # type: ignore[no-untyped-call, no-any-return]


def _unfolded(x: Tensor, size: int) -> tuple[int, int, int, int]:
    batch, channels, h, w = x.shape
    return batch, channels // size**2, h * size, w * size


def plane(values: Tensor, like: Tensor) -> Tensor:
    """One value for all positions of a picture: [B] -> [B, 1, h, w]."""
    return values[:, None, None, None].expand(-1, 1, *like.shape[2:])


_LIMIT = 20.0
"""Of what blocks gate; ordinary pictures reach half of it."""


class Pointwise(nn.Module):
    """A linear layer at every position."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        # Uniform, of variance scale^2 / inputs.
        bound = scale * (3 / inputs) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w]."""
        return self.rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def rows(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        outputs: Tensor = F.linear(x, self.weight, self.bias)
        return outputs


class Block(nn.Module):
    """Two residual branches: a depthwise 3x3 between pointwise layers, then a gated pointwise layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(8, int(width * 1.5) // 8 * 8)
        self.a, self.b = Pointwise(width, width), Pointwise(width, width, scale=0.3)
        self.d = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.u, self.v = Pointwise(width, 2 * hidden), Pointwise(hidden, width, scale=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] -> the same shape."""
        x = x + self.b(self.d(F.leaky_relu(self.a(x), 0.1)))
        return torch.add(x, self.v(_gated(*self.u(x).chunk(2, 1))))

    def rows(self, x: Tensor, before: Region, after: Region) -> Tensor:
        """The same for positions alone: rows of `before` [n, width] -> rows of `after` [m, width].

        Every neighbour of a position in `after` that lies in the picture must be in `before`.
        """
        mixed = self.d(before.spread(F.leaky_relu(self.a.rows(x), 0.1)))
        x = x[after.within(before)] + self.b.rows(after.rows(mixed))
        return x + self.v.rows(_gated(*self.u.rows(x).chunk(2, -1)))


def _gated(value: Tensor, gate: Tensor) -> Tensor:
    """Gated linear units; without a limit products grow from block to block where pictures are unusual."""
    return value.clamp(-_LIMIT, _LIMIT) * F.silu(gate.clamp(-_LIMIT, _LIMIT))


class Stack(nn.Sequential):
    """A pointwise layer, residual blocks, and a pointwise layer if `outputs` are given.

    With an output layer it is an encoder, whose output starts near zero.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int | None = None) -> None:
        last = [] if outputs is None else [Pointwise(width, outputs, scale=0.05)]
        super().__init__(Pointwise(inputs, width), *(Block(width) for _ in range(blocks)), *last)

    def rows(self, x: Tensor, region: Region, *, exact: bool = True) -> Tensor:
        """The same in a region alone: [1, inputs, h, w] -> rows [n, outputs].

        Where not `exact`, what lies outside the region counts as zero.
        """
        enter, *blocks = self
        assert isinstance(enter, Pointwise)
        last = blocks[-1] if isinstance(blocks[-1], Pointwise) else None
        blocks = blocks if last is None else blocks[:-1]
        regions = [region]
        for _ in blocks:
            regions.append(regions[-1].grown() if exact else region)
        before = regions.pop()
        rows = enter.rows(before.rows(x))
        for block in blocks:
            assert isinstance(block, Block)
            after = regions.pop()
            rows = block.rows(rows, before, after)
            before = after
        return rows if last is None else last.rows(rows)


class Head(nn.Module):
    """Features at 1/8 of the size to a picture, with a pair of 3x3 at 1/4 against block borders.

    Its output starts near zero.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.h, self.f = Pointwise(width, SAMPLES, scale=0.02), Pointwise(width, 4 * channels)
        self.k = nn.Conv2d(SAMPLES // 4, channels, 3, padding=1)
        self.o = nn.Conv2d(channels, SAMPLES // 4, 3, padding=1)
        nn.init.zeros_(self.o.weight)
        if self.o.bias is not None:
            nn.init.zeros_(self.o.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] -> [B, 3, 8 * h, 8 * w]."""
        return self._refine(self.h(x), self.f(x))

    def rows(self, x: Tensor, region: Region) -> Tensor:
        """Rows of a region [n, width] -> [1, 3, 8 * h, 8 * w]; right where all neighbours are in it."""
        return self._refine(region.spread(self.h.rows(x)), region.spread(self.f.rows(x)))

    def _refine(self, coarse: Tensor, fine: Tensor) -> Tensor:
        coarse = enlarge(coarse, 2)
        refined = self.o(F.leaky_relu(self.k(coarse) + enlarge(fine, 2), 0.1))
        return from_patches(coarse + refined, PATCH // 2)


class Region:
    """Positions of one picture's grid: `mask` bool [h, w]."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.positions = mask.flatten().nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.positions)

    def grown(self) -> Region:
        """With the eight neighbours of every position."""
        return Region(F.max_pool2d(self.mask[None].float(), 3, 1, 1)[0] > 0)

    def rows(self, x: Tensor) -> Tensor:
        """[1, C, h, w] -> the positions' vectors [n, C]."""
        return x.permute(0, 2, 3, 1).flatten(0, 2)[self.positions]

    def spread(self, rows: Tensor) -> Tensor:
        """Vectors [n, C] to their places: [1, C, h, w], channels_last, zero elsewhere."""
        h, w = self.mask.shape
        grid = rows.new_zeros(h * w, rows.shape[1])
        grid[self.positions] = rows
        return grid.reshape(1, h, w, -1).permute(0, 3, 1, 2)

    def within(self, other: Region) -> Tensor:
        """Where this region's positions are among those of `other`, which holds them all: int64 [n]."""
        return torch.searchsorted(other.positions, self.positions)


def near_tokens(values: Tensor) -> Tensor:
    """Where a block or one of its eight neighbours has a value: [B, C, h, w] -> bool [B, h, w]."""
    some = (values.detach() != 0).any(1, keepdim=True)
    return F.max_pool2d(some.float(), 3, 1, 1)[:, 0] > 0


def to_pixels(mask: Tensor) -> Tensor:
    """bool [B, h, w] for blocks -> float32 [B, 1, 8 * h, 8 * w] for pixels."""
    return F.interpolate(mask[:, None].float(), scale_factor=PATCH, mode="nearest")
