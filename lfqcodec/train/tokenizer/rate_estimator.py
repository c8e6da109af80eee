"""A small stand-in for the prior, to put the rate of the tokens into the tokenizer's loss (D + lambda R).

Like the prior it is a masked model: it sees a random part of a stage's tokens in a latent frame, the lower
stages there and the latent frame before, and predicts the bits of the others, one by one. It is trained
along with the tokenizer and thrown away: the real prior is trained on the finished tokenizer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.lfq.binary import Quantized


class RateEstimator(nn.Module):
    """Probabilities of the bits of every stage, from a neighbourhood of 3x3 positions."""

    def __init__(self, channels: int, bits: int, stages: int, width: int = 128) -> None:
        super().__init__()
        # Two more channels say where a token is known and whether there is a latent frame before.
        self.enter = nn.ModuleList([nn.Conv2d(2 * channels + bits + 2, width, 1) for _ in range(stages)])
        self.around = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.leave = nn.ModuleList([nn.Conv2d(width, bits, 1) for _ in range(stages)])
        for layer in self.leave:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, quantized: Quantized, known: Tensor) -> Tensor:
        """Mean bits of the tokens that are not known, float32 [stages, B, T'].

        `known` bool [stages, B, T', h, w]. Gradients reach the signs that are coded, not their context.
        """
        stages, batch, frames, h, w = known.shape
        total = quantized.latents.detach()
        clips = total.view(batch, frames, -1, h, w)
        before = torch.cat([torch.zeros_like(clips[:, :1]), clips[:, :-1]], 1).flatten(0, 1)
        inside = torch.ones_like(clips[:, :, :1])
        inside[:, 0] = 0
        lower = torch.zeros_like(total)
        rows = []
        for stage in range(stages):
            signs = quantized.signs[stage]
            mask = known[stage].reshape(-1, 1, h, w).to(signs.dtype)
            seen = signs.detach() * mask
            x = F.silu(self.enter[stage](torch.cat([before, lower, seen, mask, inside.flatten(0, 1)], 1)))
            x = x + F.silu(self.around(x))
            x = x + F.silu(self.mix(x))
            nats = F.softplus(-self.leave[stage](x).float() * signs.float()).sum(1, keepdim=True)
            hidden = 1 - mask.float()
            rows.append((nats * hidden).sum((1, 2, 3)) / hidden.sum((1, 2, 3)).clamp_min(1) / math.log(2))
            lower = lower + quantized.parts[stage].detach()
        return torch.stack(rows).view(stages, batch, frames)


def draw_known(shape: tuple[int, int, int, int, int], generator: torch.Generator) -> Tensor:
    """Which tokens are known: bool [stages, B, T', h, w], any share of each latent frame's stage."""
    share = torch.rand((*shape[:3], 1, 1), generator=generator)
    return torch.rand(shape, generator=generator) < share


def rate_of(bits: Tensor, kept: Tensor) -> Tensor:
    """Bits of a latent position, over the stages that its clip keeps: [stages, B, T'], int [B] -> [B, T']."""
    alive = torch.arange(len(bits), device=bits.device)[:, None] < kept
    return (bits * alive[:, :, None]).sum(0)
