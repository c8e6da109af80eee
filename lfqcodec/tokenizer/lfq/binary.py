"""Residual lookup-free quantization (MAGVIT-v2 section 3.2, with residual stages).

Stage k projects what stages < k left of the latent vector to 18 numbers z and keeps only their signs:
bit i of the token is 1 where z_i > 0 (zero counts as negative; spec: tokens). Its own linear map turns the
signs back into a latent vector, which is subtracted before the next stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def pack_signs(positive: Tensor) -> Tensor:
    """Which signs are positive, bool [..., bits, h, w], to tokens int64 [..., h, w] in [0, 2^bits)."""
    bits = torch.arange(positive.shape[-3], device=positive.device).view(-1, 1, 1)
    return (positive.to(torch.int64) << bits).sum(-3)


def unpack_signs(tokens: Tensor, bits: int) -> Tensor:
    """Tokens int64 [..., h, w] to float32 [..., bits, h, w] of -1 and +1."""
    shifts = torch.arange(bits, device=tokens.device).view(-1, 1, 1)
    return (tokens.unsqueeze(-3) >> shifts & 1).to(torch.float32) * 2 - 1


@dataclass
class Quantized:
    """Result of quantizing with straight-through gradients; N = B * T'.

    `latents` float [N, D, h, w] has the stages that each clip keeps. Of all stages there are `scores`, which
    the signs are taken of, and `signs`, -1 and +1, float [stages, N, bits, h, w].
    """

    latents: Tensor
    scores: Tensor
    signs: Tensor


class ResidualLFQ(nn.Module):
    """`stages` steps of lookup-free quantization of a `channels`-vector, `bits` signs each."""

    def __init__(self, channels: int, bits: int, stages: int) -> None:
        super().__init__()
        self.channels = channels
        self.bits = bits
        self.stages = stages
        self.project = nn.ModuleList([nn.Conv2d(channels, bits, 1) for _ in range(stages)])
        self.expand = nn.ModuleList([nn.Conv2d(bits, channels, 1) for _ in range(stages)])

    def signs_to_tokens(self, positive: Tensor) -> Tensor:
        """bool [N, bits, h, w] -> int64 [N, h, w] in [0, 2^bits)."""
        return pack_signs(positive)

    def tokens_to_signs(self, tokens: Tensor) -> Tensor:
        """int64 [N, h, w] -> float32 [N, bits, h, w] of -1 and +1."""
        return unpack_signs(tokens, self.bits)

    def part(self, tokens: Tensor, stage: int) -> Tensor:
        """What the tokens of a stage stand for: int64 [N, h, w] -> float32 [N, D, h, w]."""
        return self.expand[stage](_channels_last(self.tokens_to_signs(tokens)))  # type: ignore[no-any-return]

    def quantize(self, latents: Tensor, stages: int) -> Tensor:
        """float [N, D, h, w] -> int64 [stages, N, h, w]."""
        residual, tokens = latents, []
        for stage in range(stages):
            tokens.append(self.signs_to_tokens(self.scores(residual, stage) > 0))
            if stage + 1 < stages:
                residual = residual - self.part(tokens[-1], stage)
        return torch.stack(tokens)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """int64 [stages, N, h, w] -> float [N, D, h, w]."""
        total = self.part(tokens[0], 0)
        for stage, each in enumerate(tokens[1:], 1):
            total = total + self.part(each, stage)
        return total

    def scores(self, residual: Tensor, stage: int) -> Tensor:
        """What the signs of a stage are taken of: float [N, D, h, w] -> [N, bits, h, w]."""
        return self.project[stage](residual)  # type: ignore[no-any-return]

    def forward(self, latents: Tensor, kept: Tensor) -> Quantized:
        """Quantize for training: `latents` [N, D, h, w]; `kept` int [N], the stages each item keeps."""
        total = torch.zeros_like(latents)
        residual = latents
        scores, all_signs = [], []
        for stage in range(self.stages):
            z = self.scores(residual, stage)
            signs = torch.where(z > 0, 1.0, -1.0).to(z.dtype)
            # The gradient of tanh stands in for that of the sign: it fades where a sign is settled.
            soft = torch.tanh(z)
            through = soft + (signs - soft).detach()
            part = self.expand[stage](through)
            residual = residual - part
            alive = (kept > stage).to(z.dtype).view(-1, 1, 1, 1)
            total = total + part * alive
            scores.append(z)
            all_signs.append(through)
        return Quantized(total, torch.stack(scores), torch.stack(all_signs))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
