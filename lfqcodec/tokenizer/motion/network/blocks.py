"""Building blocks of the networks: pointwise layers and depthwise 3x3 at 1/8 of the size.

Tensors are channels_last batches [B, C, h, w]. When a picture is coded the networks need not act everywhere:
`Region` names the positions that matter, and layers compute those alone, as rows [n, C]. What lies outside
counts as zero there, as it does beyond the border of a picture.

The short names of layers are those in weights files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.beside import by_halves
from lfqcodec.tokenizer.motion.network import kernels
from lfqcodec.tokenizer.motion.network.patches import PATCH, SAMPLES, enlarge, from_patches
from lfqcodec.tokenizer.motion.network.region import Region, array, everywhere, kernel_for, on_cpu

SLOPE = 0.1
"""Of a leaky ReLU below 0."""
_LIMIT, _DECODER_LIMIT = 20.0, 3.0
"""Of what blocks gate (docs/decisions/0010). Ordinary pictures seldom reach that of decoders."""


@dataclass(frozen=True)
class Part:
    """Some inputs of a layer, in units of their own: they are rows [n, C] * scale + offset."""

    rows: Tensor
    scale: float = 1.0
    offset: float = 0.0

    def at(self, region: Region) -> Part:
        """The rows of a region, out of those of all positions."""
        return Part(region.rows(self.rows), self.scale, self.offset)


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

    def parts(self, parts: Sequence[Part], constants: Tensor, padded: int | None = None) -> Tensor:
        """Rows [n, outputs] of inputs given in parts; the last inputs, [k], are alike everywhere.

        With `padded` there are so many rows; those at the end mean nothing.
        """
        sizes = [*(part.rows.shape[1] for part in parts), len(constants)]
        *weights, last = torch.split(self.weight, sizes, 1)
        bias: Tensor = last @ constants if self.bias is None else self.bias + last @ constants
        # Units are the affair of the weights: to change rows would take a copy of them.
        for part, weight in zip(parts, weights, strict=True):
            bias = bias + part.offset * weight.sum(1)
        count = len(parts[0].rows)
        outputs: Tensor = bias.expand(padded or count, -1).contiguous()
        scaled = [(weight * part.scale).T for part, weight in zip(parts, weights, strict=True)]

        def add(at: slice) -> None:
            for part, weight in zip(parts, scaled, strict=True):
                outputs[at].addmm_(part.rows[at], weight)

        by_halves(add, outputs[:count])
        return outputs


class Block(nn.Module):
    """Two residual branches: a depthwise 3x3 between pointwise layers, then a gated pointwise layer."""

    def __init__(self, width: int, limit: float = _LIMIT) -> None:
        super().__init__()
        self._limit = limit
        hidden = max(8, int(width * 1.5) // 8 * 8)
        self.a, self.b = Pointwise(width, width), Pointwise(width, width, scale=0.3)
        self.d = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.u, self.v = Pointwise(width, 2 * hidden), Pointwise(hidden, width, scale=0.3)

    @property
    def dtype(self) -> torch.dtype:
        """What pointwise layers multiply: float32, or bfloat16. What branches are added to is float32."""
        return self.u.weight.dtype

    def multiply_in(self, dtype: torch.dtype) -> None:
        """Change that, for good: weights are rounded."""
        for layer in (self.a, self.b, self.u, self.v):
            layer.to(dtype)

    def forward(self, x: Tensor, within: Tensor | None = None) -> Tensor:
        """[B, width, h, w] -> the same shape; `within` as `Stack` has it."""
        if within is None and not self.u.weight.requires_grad and len(x) == 1:
            return _Fixed.apply(x, self)  # type: ignore[no-untyped-call, no-any-return]
        x = x + self.b(self.d(_inside(F.leaky_relu(self.a(x), SLOPE), within)))
        return torch.add(x, self.v(_gated(*self.u(x).chunk(2, 1), limit=self._limit)))

    def rows(self, x: Tensor, region: Region, kept: _Kept | None = None) -> Tensor:
        """The same for rows of a region, [n or `padded`, width], in place; `kept` is for their gradient."""
        inner = torch.empty_like(x, dtype=torch.float32)

        def enter(at: slice) -> None:
            rows = self.a.rows(x[at].to(self.dtype))
            if kept is not None:
                torch.gt(rows, 0, out=kept.positive[at])
            _leaky(rows, inner[at])

        def leave(at: slice) -> None:
            own = x[at]
            own += self.b.rows(region.depthwise(self.d.weight, self.d.bias, inner, at, self.dtype))
            both = self.u.rows(own.to(self.dtype))
            if kept is not None:
                kept.both[at] = both
            own += self.v.rows(_gated_rows(both, self._limit))

        by_halves(enter, x)
        by_halves(leave, x)
        return x

    def gradient(self, rows: Tensor, region: Region, kept: _Kept) -> Tensor:
        """The gradient of what went in, given that of what came out [n, width], in place."""
        inner, flipped = torch.empty_like(rows, dtype=torch.float32), self.d.weight.flip(2, 3)

        def leave(at: slice) -> None:
            own = rows[at]
            gated = own.to(self.dtype) @ self.v.weight
            own += _gradient_of_gated(kept.both[at], gated, self._limit) @ self.u.weight
            inner[at] = own.to(self.dtype) @ self.b.weight

        def enter(at: slice) -> None:
            mixed = region.depthwise(flipped, None, inner, at, self.dtype)
            own = rows[at]
            own += torch.where(kept.positive[at], mixed, mixed * SLOPE) @ self.a.weight

        by_halves(leave, rows)
        by_halves(enter, rows)
        return rows


@dataclass(frozen=True)
class _Kept:
    """What the gradient of a block's inputs needs: where a leaky ReLU does nothing, and what was gated."""

    positive: Tensor
    both: Tensor


class _Fixed(torch.autograd.Function):
    """A block whose weights are fixed, for one picture [1, width, h, w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: Block) -> Tensor:
        ctx.block, ctx.region = block, everywhere(*x.shape[2:], x.device)
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)
        positive = torch.empty_like(rows, dtype=torch.bool)
        both = rows.new_empty(len(rows), len(block.u.weight), dtype=block.dtype)
        ctx.save_for_backward(positive, both)
        made = block.rows(rows.clone(), ctx.region, _Kept(positive, both))
        return made.view(1, *x.shape[2:], -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows = gradients[0].permute(0, 2, 3, 1)
        found = ctx.block.gradient(rows.flatten(0, 2).clone(), ctx.region, _Kept(*ctx.saved_tensors))
        return found.view(rows.shape).permute(0, 3, 1, 2), None


def _inside(x: Tensor, within: Tensor | None) -> Tensor:
    """Zeros where `within` is 0."""
    return x if within is None else x * within.to(x.dtype)


def _gated(value: Tensor, gate: Tensor, *, limit: float) -> Tensor:
    """Gated linear units; without a limit products grow from block to block where pictures are unusual."""
    # The gradient of hardtanh is one kernel, that of clamp four.
    return F.hardtanh(value, -limit, limit) * F.silu(F.hardtanh(gate, -limit, limit))


def _leaky(rows: Tensor, out: Tensor) -> None:
    """A leaky ReLU of rows, float32 or bfloat16, to float32."""
    if not on_cpu(rows):
        out.copy_(F.leaky_relu(rows, SLOPE))
        return
    kernel = kernel_for(rows, kernels.leaky, kernels.leaky_bfloat16)
    kernel(array(rows), SLOPE, array(out))


def _gated_rows(both: Tensor, limit: float) -> Tensor:
    """`_gated` for rows [n, 2 * hidden] that hold value and gate."""
    if not on_cpu(both):
        return _gated(*both.chunk(2, -1), limit=limit)
    out = both.new_empty(len(both), both.shape[1] // 2)
    kernel = kernel_for(both, kernels.gate, kernels.gate_bfloat16)
    kernel(array(both), limit, array(out))
    return out


def _gradient_of_gated(both: Tensor, gradient: Tensor, limit: float) -> Tensor:
    """The gradient [n, 2 * hidden] of what `_gated_rows` makes, whose gradient is [n, hidden]."""
    out = torch.empty_like(both)
    if on_cpu(both):
        kernel = kernel_for(both, kernels.gate_gradient, kernels.gate_gradient_bfloat16)
        kernel(array(both), array(gradient), limit, array(out))
        return out
    value, gate = both.chunk(2, -1)
    held, open_ = value.clamp(-limit, limit), gate.clamp(-limit, limit)
    out[:, : value.shape[1]] = gradient * F.silu(open_) * (value.abs() <= limit)
    out[:, value.shape[1] :] = torch.ops.aten.silu_backward(gradient * held, open_) * (gate.abs() <= limit)
    return out


class Stack(nn.Sequential):
    """A pointwise layer, residual blocks, and a pointwise layer if `outputs` are given.

    With an output layer it is an encoder, whose output starts near zero, and else a decoder.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int | None = None) -> None:
        last = [] if outputs is None else [Pointwise(width, outputs, scale=0.05)]
        limit = _DECODER_LIMIT if outputs is None else _LIMIT
        super().__init__(Pointwise(inputs, width), *(Block(width, limit) for _ in range(blocks)), *last)

    def multiply_in(self, dtype: torch.dtype) -> None:
        """As `Block.multiply_in`; the layers at both ends stay as they are."""
        for layer in self:
            if isinstance(layer, Block):
                layer.multiply_in(dtype)

    def forward(self, x: Tensor, within: Tensor | None = None) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w].

        `within`, 0 or 1 [B, 1, h, w], tells what is seen; what comes out elsewhere means nothing.
        """
        for layer in self:
            x = layer(x, within) if isinstance(layer, Block) else layer(x)
        return x

    def rows(self, parts: Sequence[Part], constants: Tensor, region: Region) -> Tensor:
        """The same in a region alone, with inputs as `Pointwise.parts` takes them: rows [n, outputs]."""
        enter, *rest = self
        assert isinstance(enter, Pointwise)
        rows = enter.parts(parts, constants, region.padded)
        for layer in rest:
            rows = layer.rows(rows, region) if isinstance(layer, Block) else layer.rows(rows)  # type: ignore[operator]
        return rows[: len(region)]


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

    def multiply_in(self, dtype: torch.dtype) -> None:
        """As `Block.multiply_in`, with what lies between its layers."""
        self.to(dtype)

    def forward(self, x: Tensor, within: Tensor | None = None) -> Tensor:
        """[B, width, h, w] -> [B, 3, 8 * h, 8 * w]; `within` as `Stack` has it."""
        x = x.to(self.h.weight.dtype)
        quarters = None if within is None else F.interpolate(within, scale_factor=2, mode="nearest")
        coarse = enlarge(self.h(x), 2)
        hidden = F.leaky_relu(self.k(_inside(coarse, quarters)) + enlarge(self.f(x), 2), SLOPE)
        return from_patches(coarse + self.o(_inside(hidden, quarters)), PATCH // 2)

    def rows(self, x: Tensor, region: Region) -> Tensor:
        """Rows of a region [n, width] -> patches [n, 192]."""
        x = x.to(self.h.weight.dtype)
        # Rows of four quarters each: [n * 4, 48].
        coarse, fine = _quarters(self.h, x), _quarters(self.f, x)
        hidden = F.leaky_relu_(region.convolve(self.k.weight, self.k.bias, coarse, 2).add_(fine), SLOPE)
        refined = region.convolve(self.o.weight, self.o.bias, hidden, 2)
        return _whole_patches(refined.float(), coarse.float())


def _quarters(layer: Pointwise, x: Tensor) -> Tensor:
    """A layer [n, inputs] -> [n, C * 4] as rows [n * 4, C]: the parts of a position in raster order."""
    weight, bias = layer.weight.unflatten(0, (-1, 4)), layer.bias  # type: ignore[no-untyped-call]
    assert bias is not None
    # To have outputs in this order costs next to nothing.
    outputs = F.linear(x, weight.transpose(0, 1).flatten(0, 1), bias.view(-1, 4).T.flatten())
    return outputs.view(4 * len(x), -1)


def _whole_patches(refined: Tensor, coarse: Tensor) -> Tensor:
    """Patches [n, 192]: the sum of both, given as rows of four quarters each, [n * 4, 48]."""
    if on_cpu(refined):
        out = torch.empty(len(refined) // 4, SAMPLES)
        kernels.whole_patches(refined.numpy(), coarse.detach().numpy(), out.numpy())
        return out
    quarters = (refined + coarse).view(-1, 2, 2, 3, PATCH // 2, PATCH // 2)
    return quarters.permute(0, 3, 1, 4, 2, 5).flatten(1)
