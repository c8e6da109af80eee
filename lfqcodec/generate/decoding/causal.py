"""Autoregressive decoding: a token after the other, each drawn from what the model expects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfqcodec.generate.decoding.masked import draw
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.config import SamplingConfig


@torch.no_grad()
def decode_causal(
    model: CausalModel, labels: Sequence[int], sampling: SamplingConfig, noise: SampleNoise
) -> Tensor:
    """Tokens of one sample for each label: int64 [B, T', h, w], on the model's device.

    Of `sampling` the temperature, which divides the logits, `top_k` and `top_p` are used.
    """
    config, device = model.config, next(model.parameters()).device
    caches = model.caches(len(labels))
    last = torch.tensor(labels, device=device)
    drawn = []
    for place in range(config.positions):
        logits = model.following(last, place, caches, first=place == 0).float()
        q = narrowed(logits, sampling)
        last = draw(q, torch.from_numpy(noise.uniforms(())).to(device))
        drawn.append(last)
    return model.tokens(torch.stack(drawn, 1)).view(len(labels), *config.grid)


def narrowed(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Probabilities float [B, W] of what may be drawn; they need not add up to 1.

    Softmax of logits / temperature (0: the likeliest alone). `top_k` above 0 keeps so many of the likeliest;
    `top_p` below 1 the fewest likeliest that reach this probability together.
    """
    if sampling.temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    q = (logits / sampling.temperature).softmax(-1)
    if sampling.top_k and sampling.top_k < q.shape[-1]:
        q = q.where(q >= q.topk(sampling.top_k).values[:, -1:], 0.0)
    if sampling.top_p < 1:
        ordered, order = q.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        kept = before < sampling.top_p * ordered.sum(-1, keepdim=True)
        q = torch.zeros_like(q).scatter(-1, order, ordered.where(kept, 0.0))
    return q
