"""What tokens cost, as far as training needs to know: small networks that stand in for the prior.

They see what the prior sees, not more: tokens of layers below, motion, the tokens of the group before fetched
from where the motion points, and half of a layer's own tokens (a checkerboard in two steps).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.lfq.ternary import VALUES
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.network.blocks import Block, Pointwise

CL = torch.channels_last
_FIELD_FEATURES = 6


class Rate(nn.Module):
    """Bits of one layer's ternary values, given `inputs` channels of context."""

    def __init__(self, inputs: int, width: int = 64) -> None:
        super().__init__()
        self.i, self.t = Pointwise(inputs, width), nn.Conv2d(VALUES + 1, width, 3, padding=1)
        self.n, self.o = nn.Sequential(Block(width), Block(width)), Pointwise(width, 2 * VALUES, scale=0.3)
        with torch.no_grad():
            assert self.o.bias is not None
            self.o.bias[:VALUES] = -1.0

    def forward(self, values: Tensor, context: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
        """values [B, 9, h, w] and context [B, inputs, h, w] -> bits and excess, both [B, 9, h, w].

        Excess is without gradient: what a value costs above a zero, and for a zero what the value would cost
        whose sign is in `towards` [B, 9, h, w].
        """
        batch, _, h, w = values.shape
        rows, columns = torch.arange(h, device=values.device)[:, None], torch.arange(w, device=values.device)
        board = ((rows + columns) % 2).float().expand(batch, 1, h, w)
        seen = torch.cat([torch.zeros_like(board), torch.ones_like(board)])
        known = torch.cat([torch.cat([values * 0, values * board]), seen], 1).contiguous(memory_format=CL)
        logits = self.o(self.n(self.i(context).repeat(2, 1, 1, 1) + self.t(known))).float()
        logits = logits[:batch] * board + logits[batch:] * (1 - board)
        significance, sign = logits[:, :VALUES], logits[:, VALUES:]
        zero, other = F.softplus(significance), F.softplus(-significance)
        plus, minus = other + F.softplus(-sign), other + F.softplus(sign)
        value = torch.where(values > 0, plus, torch.where(values < 0, minus, zero))
        would = (torch.where(towards > 0, plus, minus) - zero) * (towards != 0)
        excess = torch.where(values != 0, value - zero, would)
        return value / math.log(2), (excess / math.log(2)).detach()


class Rates(nn.Module):
    """A network for each layer, which sees the context and the layers below."""

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        self.rates = nn.ModuleList([Rate(inputs + VALUES * layer) for layer in range(layers)])

    def forward(self, values: Tensor, context: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
        """values [B, 9 * layers, h, w], context [B, inputs, h, w] -> bits [B, layers], excess like values."""
        parts = []
        for layer, rate in enumerate(self.rates):
            below, own = VALUES * layer, slice(VALUES * layer, VALUES * (layer + 1))
            seen = torch.cat([context, values[:, :below]], 1)
            parts.append(rate(values[:, own], seen, towards[:, own]))
        bits = torch.stack([bits.sum((1, 2, 3)) for bits, _ in parts], 1)
        return bits, torch.cat([excess for _, excess in parts], 1)


def intra_rates(config: MotionConfig) -> Rates:
    """For first pictures; the context is q."""
    return Rates(1, config.intra_layers)


def anchor_rates(config: MotionConfig) -> Rates:
    """For anchors; the context is fetched tokens, features of the field, and q."""
    return Rates(VALUES * config.anchor_layers + _FIELD_FEATURES + 1, config.anchor_layers)


def between_rates(config: MotionConfig) -> Rates:
    """For pictures between; the context is the anchor's tokens, features of the field, q, and the level."""
    return Rates(VALUES * config.anchor_layers + _FIELD_FEATURES + 2, config.between_layers)


def field_features(field: Tensor, h: int, w: int) -> Tensor:
    """A field [B, H/16, W/16, 2] in quarter-pels -> float [B, 6, h, w] at 1/8: itself, and how it changes."""
    scaled = (field.float() / 64).permute(0, 3, 1, 2)
    vectors = F.interpolate(scaled, scale_factor=2, mode="nearest")[:, :, :h, :w]
    left = F.pad(vectors, (1, 0, 0, 0), mode="replicate")[:, :, :, :-1]
    above = F.pad(vectors, (0, 0, 1, 0), mode="replicate")[:, :, :-1]
    return torch.cat([vectors, (vectors - left) * 16, (vectors - above) * 16], 1)


def fetch_values(values: Tensor, field: Tensor) -> Tensor:
    """Values of the group before [B, C, h, w] from where a field [B, h/2, w/2, 2] points, by whole blocks."""
    batch, channels, h, w = values.shape
    spread = field.repeat_interleave(2, 1).repeat_interleave(2, 2) + 16
    blocks = spread >> 5
    y = (torch.arange(h, device=values.device)[:, None] + blocks[..., 1]).clamp(0, h - 1)
    x = (torch.arange(w, device=values.device) + blocks[..., 0]).clamp(0, w - 1)
    index = (y * w + x).reshape(batch, 1, h * w).expand(-1, channels, -1)
    return values.reshape(batch, channels, h * w).gather(2, index).reshape(batch, channels, h, w)
