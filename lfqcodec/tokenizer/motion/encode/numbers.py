"""What may be chosen for a layer of a group: depth, and the digits of latent numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.interface import Options
from lfqcodec.tokenizer.lfq.ternary import (
    VALUES,
    TernaryQuantizer,
    round_numbers,
    tokens_to_values,
    values_to_tokens,
)
from lfqcodec.tokenizer.motion.encode.number_kernels import FIXED, choices
from lfqcodec.tokenizer.motion.layout import Grid, coded_layers, depth_choices, pack_depth
from lfqcodec.tokenizer.motion.network.blocks import Pointwise
from lfqcodec.tokenizer.motion.network.region import compiled


@dataclass(frozen=True)
class Numbers:
    """Latent numbers on their way to layers of tokens. Immutable.

    `scaled` float32 [planes, dim, h, w] in steps; `counts` int64 [planes, h, w], how many layers are coded
    where; `values` float32 [planes, 9 * taken, h, w], the ternary values of the layers taken.
    """

    quantizer: TernaryQuantizer
    scaled: Tensor
    weight: Tensor
    counts: Tensor
    values: Tensor

    @classmethod
    def of(cls, quantizer: TernaryQuantizer, out: Pointwise, latents: Tensor, q: Tensor) -> Numbers:
        """Of latents float32 [planes, dim, h, w] that the linear path `out` turns back to samples."""
        gains = quantizer.gains(q).detach()
        norm = out.weight.detach().square().sum(0)
        counts = torch.full_like(latents[:, 0], quantizer.layers, dtype=torch.int64)
        weight = norm * (255.0 / gains[0, :, 0, 0]) ** 2
        return cls(quantizer, latents * gains, weight, counts, latents[:, :0])

    @cached_property
    def plain(self) -> Tensor:
        """The ternary values of all layers by rounding alone, float32 [planes, 9 * layers, h, w]."""
        return self.quantizer.plain(self.scaled)

    def depth(self, skipped: Tensor | None = None) -> Options:
        """What may be chosen as depth; `skipped` bool [planes, H/16, W/16]: blocks without tokens."""
        values = self.plain
        used = values.abs().reshape(len(values), -1, VALUES, *values.shape[2:]).amax(2)
        layers = torch.arange(1, self.quantizer.layers + 1, device=used.device)[:, None, None]
        needed = F.max_pool2d((used * layers).amax(1, keepdim=True).float(), 2)[:, 0]
        if skipped is not None:
            needed = needed.masked_fill(skipped, 0)
        choice = torch.bucketize(
            needed, torch.tensor(depth_choices(self.quantizer.layers), device=used.device).float()
        )
        return Options(pack_depth(choice.cpu().numpy().astype(np.int32)))

    def with_depth(self, tokens: Grid) -> Numbers:
        """With these depth tokens."""
        h, w = self.scaled.shape[2:]
        layers = coded_layers(tokens, h // 2, w // 2, self.quantizer.layers).astype(np.int64)
        counts = torch.from_numpy(layers).to(self.scaled.device)
        return Numbers(self.quantizer, self.scaled, self.weight, counts, self.values)

    def options(self) -> Options:
        """What may be chosen for the next layer."""
        if compiled(self.scaled):
            return self._compiled_options()
        planned = self._planned()
        layer = self.values.shape[1] // VALUES
        slots = slice(VALUES * layer, VALUES * (layer + 1))
        coded = self.counts > layer
        values = self.quantizer.values(planned)[:, slots] * coded[:, None]
        plain = values_to_tokens(values).cpu().numpy()
        return Options(plain, self._gains(planned, values, slots, coded))

    def _compiled_options(self) -> Options:
        quantizer, (planes, dim, h, w) = self.quantizer, self.scaled.shape
        digits = self._digits()
        fixed = digits[self.values.shape[1] // VALUES]
        tokens, gains = torch.empty(planes, h, w, dtype=torch.int32), torch.empty(planes * h * w, 2, VALUES)
        choices(
            self.scaled.permute(0, 2, 3, 1).reshape(-1, dim).contiguous().numpy(),
            self.weight.numpy(),
            self.counts.flatten().numpy(),
            self.values.contiguous().flatten(2).numpy(),
            quantizer.channel.numpy(),
            (3.0**quantizer.digit).numpy(),
            _limits(digits).numpy(),
            _limits((digits - fixed).clamp(min=0)).numpy(),
            (3.0**fixed).numpy(),
            quantizer.rounding,
            tokens.flatten().numpy(),
            gains.numpy(),
        )
        return Options(tokens.numpy(), gains.flatten(0, 1))

    def _gains(self, planned: Tensor, values: Tensor, slots: slice, coded: Tensor) -> Tensor:
        """Squared error that a bit of a subtoken saves when it is set, float32 [2 n, 9].

        Of the significance map: what the better of +1 and -1 saves against 0. Of the signs: what +1 saves
        against -1. A digit may change those above it where all layers are coded.
        """
        channel, digit = self.quantizer.channel[slots], self.quantizer.digit[slots]
        scaled, numbers, step = self.scaled[:, channel], planned[:, channel], (3.0**digit)[:, None, None]
        above = (self.quantizer.limit[channel, None, None] > (3 * step - 1) / 2) & (
            self.counts == self.quantizer.layers
        )[:, None]
        errors = []
        for value in (-1, 0, 1):
            left = scaled - numbers - (value - values) * step
            left = left - 3 * step * (left / (3 * step)).round() * above
            errors.append(left.square() * self.weight[channel, None, None])
        minus, zero, plus = errors
        significant, sign = zero - torch.minimum(minus, plus), minus - plus
        # Two digits of one number in a layer cannot be chosen one by one: they stay as planned.
        fixed = ((channel[:, None] == channel).sum(1) > 1)[:, None, None] | ~coded[:, None]
        significant = torch.where(fixed, (2 * values.abs() - 1) * FIXED, significant)
        sign = torch.where(fixed, values * FIXED, sign)
        return torch.stack([significant, sign], -1).permute(0, 2, 3, 4, 1).reshape(-1, VALUES)

    def take(self, tokens: Grid) -> Numbers:
        """With these tokens for the next layer."""
        values = tokens_to_values(torch.from_numpy(tokens).to(self.scaled.device))
        return Numbers(
            self.quantizer, self.scaled, self.weight, self.counts, torch.cat([self.values, values], 1)
        )

    def _digits(self) -> Tensor:
        """How many digits of each number the first layers hold: float32 [layers + 1, dim]."""
        quantizer = self.quantizer
        slots = F.one_hot(quantizer.channel, quantizer.dim).reshape(-1, VALUES, quantizer.dim).sum(1)
        return F.pad(slots.cumsum(0), (0, 0, 1, 0)).float()

    def _planned(self) -> Tensor:
        """Whole numbers whose digits are those of the layers taken, as near as the layers left allow."""
        digits, quantizer = self._digits(), self.quantizer
        held = digits[self.counts].permute(0, 3, 1, 2)
        target = round_numbers(self.scaled, _limits(held), quantizer.rounding)
        taken = self.values.shape[1]
        if not taken:
            return target
        rest = self.values.new_zeros(len(target), VALUES * quantizer.layers - taken, *target.shape[2:])
        known = quantizer.numbers(torch.cat([self.values, rest], 1))
        fixed = digits[taken // VALUES][:, None, None]
        # Never a tie: powers of 3 are odd.
        steps = ((target - known) / 3.0**fixed).round()
        limit = _limits((held - fixed).clamp(min=0))
        return known + steps.clamp(-limit, limit) * 3.0**fixed


def _limits(digits: Tensor) -> Tensor:
    """The largest numbers that so many digits hold."""
    return (3.0**digits - 1) / 2
