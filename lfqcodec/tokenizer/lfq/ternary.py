"""Ternary lookup-free quantization: whole numbers in balanced ternary, nine digits to a token.

LFQ is a product of one-dimensional codebooks (MAGVIT-v2 section 3.2). Here each codebook is {-1, 0, +1}. A
token has 18 bits: subtoken 0 (bits 0..8) is the significance map, bit j set where value j is not zero;
subtoken 1 (bits 9..17) the signs, bit j set where value j is +1, and never where value j is 0. Token 0 says
that there is nothing.

A latent number is a whole number of one to `digits` balanced ternary digits. Each digit has a slot: one of
the nine values of one of the layers. Slots are ordered by how often they are not zero, so that the last
layers are the emptiest.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lfqcodec.errors import WeightsError

VALUES = 9
"""Ternary values in a token."""
STEPS = (1.0, 0.62, 0.38, 0.23, 0.142, 0.088)
"""Steps of an untrained quantizer by level, for samples in [-0.5, 0.5] in an orthonormal basis."""
_SIGNS = (1 << VALUES) - 1

Tokens = TypeVar("Tokens")


def values_to_tokens(values: Tensor) -> Tensor:
    """Ternary values [..., 9, h, w] in {-1, 0, 1} to tokens int32 [..., h, w] in [0, 2^18)."""
    shifts = torch.arange(VALUES, dtype=torch.int32, device=values.device).view(-1, 1, 1)
    bits = (values != 0).to(torch.int32) + ((values > 0).to(torch.int32) << VALUES)
    return (bits << shifts).sum(-3, dtype=torch.int32)


def tokens_to_values(tokens: Tensor) -> Tensor:
    """Valid tokens, integers [..., h, w], to float32 [..., 9, h, w] in {-1, 0, 1}."""
    shifts = torch.arange(VALUES, dtype=tokens.dtype, device=tokens.device).view(-1, 1, 1)
    each = tokens.unsqueeze(-3)
    significant, positive = each >> shifts & 1, each >> (shifts + VALUES) & 1
    return (2 * positive - significant).to(torch.float32)


def tokens_valid(tokens: Any) -> Any:
    """Where tokens (integers, torch or numpy) are valid: 18 bits, with no sign where the value is zero."""
    return (tokens >= 0) & (tokens < 1 << 2 * VALUES) & ((tokens >> VALUES) & ~tokens & _SIGNS == 0)


class Quantized(NamedTuple):
    """Numbers after quantization, for training.

    `values` float [B, 9 * layers, h, w], the ternary values; `decoded` float [B, dim, h, w], what they stand
    for, with gradient; `scaled` float [B, dim, h, w], the numbers before rounding, in steps; `stray` float
    [B], the mean squared rounding error of a sample in 8-bit steps, with a gradient to the numbers alone.
    """

    values: Tensor
    decoded: Tensor
    scaled: Tensor
    stray: Tensor


class _Round(torch.autograd.Function):
    """To integers within +-limit. A gradient passes unless it pushes a number further out of range."""

    @staticmethod
    def forward(ctx: Any, scaled: Tensor, limit: Tensor, rounding: float) -> Tensor:
        ctx.save_for_backward(scaled, limit)
        return round_numbers(scaled, limit, rounding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scaled, limit = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * ((scaled.abs() <= limit + 0.5) | (gradient * scaled > 0)), None, None


def round_numbers(scaled: Tensor, limit: Tensor, rounding: float) -> Tensor:
    """Round magnitudes down after adding `rounding` (0.4: a dead zone of +-0.6), within +-limit."""
    return torch.minimum((scaled.abs() + rounding).floor(), limit) * scaled.sign()


class TernaryQuantizer(nn.Module):
    """Latent numbers to ternary values and back, for `levels` qualities with a learned step each per channel.

    The quality q goes from 0 (coarse) to levels - 1 (fine); between levels the logarithm of a step is linear.
    `rounding` is added to a magnitude before it is rounded down.
    """

    channel: Tensor
    digit: Tensor
    limit: Tensor

    def __init__(self, dim: int, layers: int, levels: int, digits: int, rounding: float = 0.4) -> None:
        super().__init__()
        self.dim, self.layers, self.levels, self.digits, self.rounding = dim, layers, levels, digits, rounding
        self.gain = nn.Parameter(torch.tensor([[-math.log(step)] * dim for step in STEPS[:levels]]))
        for name in ("channel", "digit"):
            self.register_buffer(name, torch.zeros(VALUES * layers, dtype=torch.int64))
        self.register_buffer("limit", torch.ones(dim))
        self.initialise_slots(torch.tensor([10 ** (-3 * n / dim) for n in range(dim)]), 0.45)
        self.register_load_state_dict_post_hook(_check_slots)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def initialise_slots(self, variance: Tensor, step: float) -> None:
        """Give slots to the digits that are most often not zero, for Laplacian numbers.

        `variance` [dim] is the numbers' variance before scaling, `step` the width of a step.
        """
        if variance.is_meta or self.channel.is_meta:
            return
        chances = [
            (math.exp(-math.sqrt(2) * step * (3**digit / 2 + 0.2) / deviation), -digit, channel)
            for channel, deviation in enumerate(variance.clamp(min=1e-9).sqrt().tolist())
            for digit in range(self.digits)
        ]
        slots = sorted(chances, reverse=True)[: VALUES * self.layers]
        self.channel.copy_(torch.tensor([channel for _, _, channel in slots]))
        self.digit.copy_(torch.tensor([-digit for _, digit, _ in slots]))
        self.limit.copy_((3.0 ** torch.bincount(self.channel, minlength=self.dim) - 1) / 2)

    def gains(self, q: Tensor) -> Tensor:
        """Steps in a unit, by channel: q float [B] -> [B, dim, 1, 1]."""
        level = torch.arange(self.levels, device=q.device)
        near = (1 - (q[:, None] - level).abs()).clamp(min=0)
        return torch.exp((near[:, :, None] * self.gain).sum(1))[:, :, None, None]

    def plain(self, scaled: Tensor) -> Tensor:
        """Ternary values by rounding alone: float [B, dim, h, w] in steps -> [B, 9 * layers, h, w]."""
        return self.values(round_numbers(scaled, self.limit[:, None, None], self.rounding))

    def values(self, numbers: Tensor) -> Tensor:
        """Whole numbers within the limits, float [B, dim, h, w] -> ternary values [B, 9 * layers, h, w]."""
        found, left = [], numbers
        for _ in range(self.digits):
            # Never a tie: the fractions are 0, 1/3 and 2/3.
            above = torch.round(left / 3)
            found.append(left - 3 * above)
            left = above
        return torch.cat(found, 1)[:, self.digit * self.dim + self.channel]

    def numbers(self, values: Tensor) -> Tensor:
        """Ternary values of all layers [B, 9 * layers, h, w] -> whole numbers, float [B, dim, h, w]."""
        total = values.new_zeros(values.shape[0], self.dim, *values.shape[2:])
        return total.index_add(1, self.channel, values * (3.0**self.digit)[:, None, None])

    def number_rows(self, values: Tensor) -> Tensor:
        """The same for rows: [n, 9 * layers] -> [n, dim]."""
        digits = values.new_zeros(len(self.channel), self.dim)
        digits[torch.arange(len(self.channel), device=values.device), self.channel] = 3.0**self.digit
        return values @ digits

    def rounded(self, scaled: Tensor) -> Tensor:
        """Numbers in steps, float [B, dim, h, w], to whole numbers; the gradient passes."""
        limit = self.limit[:, None, None].expand_as(scaled)
        return _Round.apply(scaled, limit, self.rounding)  # type: ignore[no-untyped-call, no-any-return]

    def forward(self, latents: Tensor, q: Tensor) -> Quantized:
        """Quantize for training: float32 [B, dim, h, w], q float [B]."""
        gains = self.gains(q)
        scaled = latents * gains
        numbers = self.rounded(scaled)
        with torch.no_grad():
            values = self.values(numbers)
        error = (scaled - numbers.detach()) / gains.detach()
        stray = error.square().sum(1).mean((1, 2)) * (255.0**2 / 192)
        return Quantized(values, numbers / gains, scaled, stray)

    def towards(self, scaled: Tensor) -> Tensor:
        """The sign that the last digit of a number would get that is zero, softened near 0; elsewhere 0.

        float [B, dim, h, w] in steps -> [B, 9 * layers, h, w].
        """
        signs = ((scaled / 0.3).clamp(-1, 1) * (scaled.abs() + self.rounding < 1)).detach()
        return signs[:, self.channel] * (self.digit == 0).float()[:, None, None]

    def pressure(self, scaled: Tensor, excess: Tensor) -> Tensor:
        """A term of value 0 whose gradient shrinks numbers by what they cost, as a penalty on |number| does.

        `excess` [B, 9 * layers, h, w]: bits that each digit costs above a zero, or would cost if it were not
        zero. Numbers below the threshold shrink too: else they gather just under it and flicker. Returns [B].
        """
        with torch.no_grad():
            cost = torch.zeros_like(scaled).index_add(1, self.channel, excess).clamp(min=0)
            cost = cost * (scaled / 0.3).clamp(-1, 1) / (scaled.abs() + self.rounding).floor().clamp(min=1)
        return (cost * (scaled - scaled.detach())).sum((1, 2, 3))


def _check_slots(quantizer: nn.Module, _: Any) -> None:
    """Weights are untrusted: slots must name digits that exist, lower ones first, and limits must fit."""
    assert isinstance(quantizer, TernaryQuantizer)
    channel, digit = quantizer.channel, quantizer.digit
    if channel.is_meta:
        return
    inside = (channel >= 0) & (channel < quantizer.dim) & (digit >= 0) & (digit < quantizer.digits)
    if not bool(inside.all()):
        raise WeightsError("a slot of the ternary quantizer is out of range")
    slots = len(channel)
    places = torch.full((quantizer.dim, quantizer.digits), slots, device=channel.device)
    places[channel, digit] = torch.arange(slots, device=channel.device)
    given = places < slots
    lower = places[:, :-1] < places[:, 1:]
    if int(given.sum()) < slots or not bool((lower | ~given[:, 1:]).all()):
        raise WeightsError("slots of the ternary quantizer are given twice or out of order")
    if not torch.equal(quantizer.limit, (3.0 ** given.sum(1) - 1) / 2):
        raise WeightsError("limits of the ternary quantizer do not fit its slots")
