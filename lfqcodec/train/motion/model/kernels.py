"""A Triton kernel for what PyTorch does slowly on a GPU: depthwise 3x3 in channels_last.

`relative_error` compares it with PyTorch. With TRITON_INTERPRET=1 it runs on a CPU.
"""

# Triton reads the types of kernels' arguments from their annotations, so these have none.
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.network.blocks import Block

_ROWS, _CHANNELS = 32, 64
TOLERANCE = 1e-3
"""A larger relative error is a fault of the kernel."""


@triton.jit
def _depthwise(
    x, weight, bias, out, positions, h, w, channels, FLIP: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
):
    """x [B * h * w, channels] -> out like it; `FLIP` turns the kernel round and leaves the bias out."""
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    column, row = p % w, (p // w) % h
    inside = (p < positions)[:, None] & (c < channels)[None, :]
    total = tl.zeros((BP, BC), tl.float32)
    for k in tl.static_range(9):
        dy, dx = k // 3 - 1, k % 3 - 1
        near = (row + dy >= 0) & (row + dy < h) & (column + dx >= 0) & (column + dx < w)
        place = (p + dy * w + dx)[:, None] * channels + c[None, :]
        value = tl.load(x + place, mask=inside & near[:, None], other=0.0).to(tl.float32)
        tap = 8 - k if FLIP else k
        factor = tl.load(weight + c * 9 + tap, mask=c < channels, other=0.0).to(tl.float32)
        total += value * factor[None, :]
    if not FLIP:
        total += tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)[None, :]
    tl.store(out + p[:, None] * channels + c[None, :], total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _depthwise_weights(
    x, gradient, parts, positions, h, w, channels, STEPS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
):
    """The gradient of the weights, in parts [programs, 9, channels] to add up."""
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    for k in tl.static_range(9):
        dy, dx = k // 3 - 1, k % 3 - 1
        total = tl.zeros((BC,), tl.float32)
        for step in range(STEPS):
            p = (tl.program_id(0) * STEPS + step) * BP + tl.arange(0, BP)
            column, row = p % w, (p // w) % h
            near = (row + dy >= 0) & (row + dy < h) & (column + dx >= 0) & (column + dx < w)
            mask = ((p < positions) & near)[:, None] & (c < channels)[None, :]
            place = (p + dy * w + dx)[:, None] * channels + c[None, :]
            value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
            own = p[:, None] * channels + c[None, :]
            slope = tl.load(gradient + own, mask=mask, other=0.0).to(tl.float32)
            total += tl.sum(value * slope, 0)
        tl.store(parts + (tl.program_id(0) * 9 + k) * channels + c, total, mask=c < channels)


class _DepthwiseFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, h, w = x.shape
        out, positions = torch.empty_like(x), batch * h * w
        taps = weight.reshape(channels, 9).to(x.dtype)
        grid = triton.cdiv(positions, _ROWS), triton.cdiv(channels, _CHANNELS)
        _depthwise[grid](x, taps, bias, out, positions, h, w, channels, FLIP=False, BP=_ROWS, BC=_CHANNELS)
        ctx.save_for_backward(x, taps)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, taps = ctx.saved_tensors
        g = gradients[0].contiguous(memory_format=torch.channels_last)
        batch, channels, h, w = x.shape
        positions, gx = batch * h * w, torch.empty_like(x)
        grid = triton.cdiv(positions, _ROWS), triton.cdiv(channels, _CHANNELS)
        _depthwise[grid](g, taps, taps, gx, positions, h, w, channels, FLIP=True, BP=_ROWS, BC=_CHANNELS)
        rows, steps = 64, 2
        programs = triton.cdiv(positions, rows * steps)
        parts = torch.empty(programs, 9, channels, device=x.device)
        _depthwise_weights[(programs, grid[1])](
            x, g, parts, positions, h, w, channels, STEPS=steps, BP=rows, BC=_CHANNELS
        )
        return gx, parts.sum(0).t().reshape(channels, 1, 3, 3), g.float().sum((0, 2, 3))


class Depthwise(nn.Conv2d):
    """A depthwise 3x3 with padding 1 by Triton; it takes over the parameters of `layer`."""

    def __init__(self, layer: nn.Conv2d) -> None:
        channels = layer.in_channels
        super().__init__(channels, channels, 3, padding=1, groups=channels, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape, channels_last."""
        result: Tensor = _DepthwiseFunction.apply(x, self.weight, self.bias)
        return result


def use_depthwise(model: nn.Module) -> None:
    """Replace the depthwise layers of all blocks; parameters and their names stay."""
    for block in model.modules():
        if isinstance(block, Block):
            block.d = Depthwise(block.d)


def relative_error(device: torch.device) -> float:
    """The largest relative error of the result or a gradient, against PyTorch."""
    x, g = (torch.randn(2, 20, 5, 6, device=device) for _ in range(2))
    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(20, 1, 3, 3, device=device), torch.randn(20, device=device)
    return _compare(_DepthwiseFunction.apply, _exact_depthwise, (x, weight, bias), g)


def _exact_depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x.double(), weight.double(), bias.double(), padding=1, groups=len(weight)).float()


def _compare(ours: Any, theirs: Any, inputs: tuple[Tensor, ...], gradient: Tensor) -> float:
    results = []
    for function in (ours, theirs):
        leaves = [each.clone().requires_grad_() for each in inputs]
        out = function(*leaves)
        out.backward(gradient)
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    return max(float((a - b).norm() / b.norm()) for a, b in zip(*results, strict=True))
