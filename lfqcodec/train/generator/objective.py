"""What is masked in training, and the loss (MAGVIT-v2 appendix A.1; docs/generation.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.generate.model.config import GeneratorConfig


def chosen_units(config: GeneratorConfig, ratios: Tensor, scores: Tensor) -> Tensor:
    """Which subtokens are masked: bool [B, N, 2].

    Of M units ceil(M cos(pi u / 2)) with the lowest scores; u is `ratios` float64 [B]. `scores` are float64
    [B, N, 2]. What the condition holds is never masked.
    """
    gamma = torch.cos(math.pi / 2 * ratios).clamp(1e-6, 1)
    free = scores[:, config.given :, : 2 if config.mask_unit == "subtoken" else 1]
    flat = free.flatten(1)
    # Rounded up: decoding begins with all units masked, and rounded down training would never show that.
    count = (flat.shape[1] * gamma - 1e-9).ceil()
    masked = (flat.argsort(1).argsort(1) < count[:, None]).view(free.shape).expand(-1, -1, 2)
    return F.pad(masked, (0, 0, config.given, 0))


def masked_loss(
    config: GeneratorConfig, logits: Tensor, target: Tensor, masked: Tensor, *, smoothing: float, on: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and of what is masked the loss without smoothing in nats, `accuracy`, and `bits` of a token.

    `logits` float [B, N, 2, 512], `target` int64 [B, N, 2], `masked` bool [B, N, 2]. `on` "all" is the mean
    over all units outside of the condition, "masked" that over the masked ones of each sample.
    """
    logs = logits.float().log_softmax(-1)
    plain = -logs.gather(-1, target[..., None])[..., 0]
    smoothed = (1 - smoothing) * plain - smoothing * logs.mean(-1)
    weights = (masked.float() if on == "masked" else torch.ones_like(plain))[:, config.given :].flatten(1)
    loss = ((smoothed[:, config.given :].flatten(1) * weights).sum(1) / weights.sum(1)).mean()
    with torch.no_grad():
        right = (logits.argmax(-1) == target)[masked].float().mean()
        nats = plain[masked].mean()
    return loss, {"masked": nats, "accuracy": right, "bits": 2 * nats / math.log(2)}
