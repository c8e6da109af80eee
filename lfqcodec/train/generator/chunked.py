"""Cross-entropy over a vocabulary too large for all logits at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 256
"""Positions whose logits are in memory together: 268 MB of 2^18 words in float32."""


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.0,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """Sums of the cross-entropy of hidden [M, D] with weight [W, D], bias [W] and target int64 [M].

    The first is with label smoothing and gradients, the second without either; both in nats, 0-dimensional.
    Logits are made `chunk` positions at a time, and made again for the gradients. Targets of -1 count as 0.
    """
    smoothed = hidden.new_zeros((), dtype=torch.float32)
    plain = hidden.new_zeros((), dtype=torch.float32)
    for begin in range(0, len(hidden), chunk):
        part = slice(begin, begin + chunk)
        both = checkpoint(_sums, hidden[part], weight, bias, target[part], smoothing, use_reentrant=False)
        smoothed, plain = smoothed + both[0], plain + both[1].detach()
    return smoothed, plain


def _sums(
    hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    logs = torch.nn.functional.linear(hidden, weight, bias).float().log_softmax(-1)
    known = target >= 0
    plain = -logs.gather(-1, target.clamp(min=0)[:, None])[:, 0]
    smoothed = (1 - smoothing) * plain - smoothing * logs.mean(-1)
    return (smoothed * known).sum(), (plain * known).sum()
