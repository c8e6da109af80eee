"""Triton kernels for what PyTorch does slowly on a GPU: depthwise 3x3 in channels_last, quarter-pel planes.

`check` compares them with PyTorch. With TRITON_INTERPRET=1 they run on a CPU.
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

from lfqcodec.tokenizer.motion.blocks import Block
from lfqcodec.tokenizer.motion.compensation import AFTER, BEFORE, TAPS
from lfqcodec.tokenizer.motion.training import compensation
from lfqcodec.train.motion.model.search import constant

_MARGIN = 4
_ROWS, _CHANNELS = 32, 64
_COLUMNS = 64
_TOLERANCE = 1e-3


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


@triton.jit
def _planes(x, taps, out, h, w, BX: tl.constexpr):
    """x [N, h + 7, w + 7] -> out [N, 16, h, w]."""
    n, y = tl.program_id(1).to(tl.int64), tl.program_id(2)
    column = tl.program_id(0) * BX + tl.arange(0, BX)
    phase = tl.arange(0, 16)
    total = tl.zeros((16, BX), tl.float32)
    for ty in tl.static_range(8):
        across = tl.zeros((16, BX), tl.float32)
        for tx in tl.static_range(8):
            place = n * (h + 7) * (w + 7) + (y + ty) * (w + 7) + column + tx
            value = tl.load(x + place, mask=column < w, other=0.0)
            across += tl.load(taps + (phase % 4) * 8 + tx)[:, None] * value[None, :]
        total += tl.load(taps + (phase // 4) * 8 + ty)[:, None] * across
    place = n * 16 * h * w + phase[:, None] * h * w + y * w + column[None, :]
    tl.store(out + place, total, mask=(column < w)[None, :])


@triton.jit
def _planes_back_down(g, taps, out, h, w, BX: tl.constexpr):
    """g [N, 16, h, w] -> out [N, 4 (fx), h + 7, w]."""
    n, row = tl.program_id(1).to(tl.int64), tl.program_id(2)
    column = tl.program_id(0) * BX + tl.arange(0, BX)
    fx = tl.arange(0, 4)
    total = tl.zeros((4, BX), tl.float32)
    for ty in tl.static_range(8):
        y = row - ty
        inside = (y >= 0) & (y < h) & (column < w)
        for fy in tl.static_range(4):
            place = n * 16 * h * w + (fy * 4 + fx)[:, None] * h * w + y * w + column[None, :]
            value = tl.load(g + place, mask=inside[None, :], other=0.0)
            total += tl.load(taps + fy * 8 + ty) * value
    place = (n * 4 + fx[:, None]) * (h + 7) * w + row * w + column[None, :]
    tl.store(out + place, total, mask=(column < w)[None, :])


@triton.jit
def _planes_back_across(u, taps, out, h, w, BX: tl.constexpr):
    """u [N, 4, h + 7, w] -> out [N, h + 7, w + 7]."""
    n, row = tl.program_id(1).to(tl.int64), tl.program_id(2)
    column = tl.program_id(0) * BX + tl.arange(0, BX)
    total = tl.zeros((BX,), tl.float32)
    for tx in tl.static_range(8):
        x = column - tx
        for fx in tl.static_range(4):
            place = (n * 4 + fx) * (h + 7) * w + row * w + x
            value = tl.load(u + place, mask=(x >= 0) & (x < w), other=0.0)
            total += tl.load(taps + fx * 8 + tx) * value
    tl.store(out + n * (h + 7) * (w + 7) + row * (w + 7) + column, total, mask=column < w + 7)


class _PlanesFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: int, w: int) -> Tensor:
        x, taps = x.contiguous(), _taps(x.device)
        out = torch.empty(len(x), 16, h, w, device=x.device)
        _planes[(triton.cdiv(w, _COLUMNS), len(x), h)](x, taps, out, h, w, BX=_COLUMNS)
        ctx.save_for_backward(taps)
        ctx.size = h, w
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (taps,), (h, w) = ctx.saved_tensors, ctx.size
        g = gradients[0].contiguous()
        u = torch.empty(len(g), 4, h + 7, w, device=g.device)
        _planes_back_down[(triton.cdiv(w, _COLUMNS), len(g), h + 7)](g, taps, u, h, w, BX=_COLUMNS)
        gx = torch.empty(len(g), h + 7, w + 7, device=g.device)
        _planes_back_across[(triton.cdiv(w + 7, _COLUMNS), len(g), h + 7)](u, taps, gx, h, w, BX=_COLUMNS)
        return gx, None, None


def _taps(device: torch.device) -> Tensor:
    return constant(tuple(tap / 64 for row in TAPS for tap in row), device)


def quarter_pel_planes(pictures: Tensor) -> Tensor:
    """The same as `lfqcodec.tokenizer.motion.training.compensation.quarter_pel_planes`, in float32."""
    batch, channels, h, w = pictures.shape
    border = (_MARGIN + BEFORE, _MARGIN + AFTER)
    padded = F.pad(pictures.float(), border * 2, mode="replicate").flatten(0, 1)
    h, w = h + 2 * _MARGIN, w + 2 * _MARGIN
    planes: Tensor = _PlanesFunction.apply(padded, h, w)
    return planes.reshape(batch, channels, 16, h, w)


def use_depthwise(model: nn.Module) -> None:
    """Replace the depthwise layers of all blocks; parameters and their names stay."""
    for block in model.modules():
        if isinstance(block, Block):
            block.d = Depthwise(block.d)


def check(device: torch.device) -> dict[str, float]:
    """The largest relative error of a result or a gradient, against PyTorch: `depthwise`, `planes`."""
    x, g = (torch.randn(2, 20, 5, 6, device=device) for _ in range(2))
    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(20, 1, 3, 3, device=device), torch.randn(20, device=device)
    picture, slope = torch.randn(1, 2, 10, 12, device=device), torch.randn(1, 2, 16, 18, 20, device=device)
    return {
        "depthwise": _compare(_DepthwiseFunction.apply, _exact_depthwise, (x, weight, bias), g),
        "planes": _compare(quarter_pel_planes, _exact_planes, (picture,), slope),
    }


def accurate(errors: dict[str, float], name: str) -> bool:
    """Whether what `check` found is good enough."""
    return errors[name] < _TOLERANCE


def _exact_depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x.double(), weight.double(), bias.double(), padding=1, groups=len(weight)).float()


def _exact_planes(pictures: Tensor) -> Tensor:
    return compensation.quarter_pel_planes(pictures.double()).float()


def _compare(ours: Any, theirs: Any, inputs: tuple[Tensor, ...], gradient: Tensor) -> float:
    results = []
    for function in (ours, theirs):
        leaves = [each.clone().requires_grad_() for each in inputs]
        out = function(*leaves)
        out.backward(gradient)
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    return max(float((a - b).norm() / b.norm()) for a, b in zip(*results, strict=True))
