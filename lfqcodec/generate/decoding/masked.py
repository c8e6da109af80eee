"""Non-autoregressive decoding (MaskGIT, MAGVIT): all unknown units are drawn, the surest are kept, and again.

docs/generation.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfqcodec.generate.decoding.noise import SampleNoise, gumbel
from lfqcodec.generate.decoding.schedule import guidance_weight, softmax_temperature, unknown_counts
from lfqcodec.generate.model.config import SamplingConfig
from lfqcodec.generate.model.embedding import MASK, join, split
from lfqcodec.generate.model.masked import MaskedModel


@torch.no_grad()
def decode_masked(
    model: MaskedModel,
    labels: Sequence[int],
    sampling: SamplingConfig,
    noise: SampleNoise,
    *,
    condition: Tensor | None = None,
    look: Tensor | None = None,
) -> Tensor:
    """Tokens of one sample for each label: int64 [B, T', h, w], on the model's device.

    `condition` int64 [B, t, h, w] are the first latent frames, as many as the model's `condition_frames`;
    they stay as they are. `look` int64 [B, N, 2] is what units are until they are known, for a model with a
    task (`commit.look_of_unknown`). `ValueError` where there are more steps than units, or neither fits.
    """
    config, device = model.config, next(model.parameters()).device
    grid = (len(labels), *config.grid)
    fitting = (len(labels), config.condition_frames, *config.grid[1:])
    if (None if condition is None else tuple(condition.shape)) != (fitting if config.given else None):
        raise ValueError(f"the condition must be {fitting if config.given else None}")
    if (look is not None) != config.commits:
        raise ValueError("a model with a task needs what it gives, and no other model")
    unknown = torch.ones((len(labels), config.positions, 2), dtype=torch.bool, device=device)
    start = torch.full(unknown.shape, MASK, device=device) if look is None else look.to(device)
    if condition is not None:
        start[:, : config.given] = split(condition.to(device).flatten(1))
        unknown[:, : config.given] = False
    state = start
    label = torch.tensor(labels, device=device)
    shape = (config.positions, 2 if config.mask_unit == "subtoken" else 1)
    counts = unknown_counts(config.units, sampling.steps, sampling.schedule)
    for step, count in enumerate(counts):
        weight = guidance_weight(step, sampling.steps, sampling.guidance, sampling.guidance_power)
        theta = softmax_temperature(step, sampling.steps, *sampling.softmax_temperature)
        q = (guided(model, state, label, weight) / theta).softmax(-1)
        # Subtokens are always drawn apart; what is noisy besides is the choice of units.
        chance, choice = noise.uniforms((config.positions, 2)), noise.uniforms(shape)
        drawn = draw(q, torch.from_numpy(chance).to(device))
        state = torch.where(unknown, drawn, state)
        if not count:
            break
        sure = q.gather(-1, state[..., None])[..., 0].log()
        fade = sampling.temperature * (1 - (step + 1) / sampling.steps)
        score = confidence(sure, unknown, torch.from_numpy(gumbel(choice)).to(device), fade)
        unknown = lowest(score, count)
        state = torch.where(unknown, start, state)
    return join(state).view(grid)


def guided(model: MaskedModel, state: Tensor, label: Tensor, weight: float) -> Tensor:
    """Logits float32 [B, N, 2, 512] under classifier-free guidance; with weight 1 the network runs once."""
    if weight == 1:
        return model(state, label).float()  # type: ignore[no-any-return]
    none = torch.full_like(label, model.config.classes)
    with_class, without = model(torch.cat((state, state)), torch.cat((label, none))).float().chunk(2)
    return without + weight * (with_class - without)  # type: ignore[no-any-return]


def draw(q: Tensor, uniform: Tensor) -> Tensor:
    """The value at `uniform` float64 [...] in (0, 1) of each distribution float [..., V]: int64 [...]."""
    total = q.double().cumsum(-1)
    wanted = uniform * total[..., -1]
    chosen = torch.searchsorted(total, wanted[..., None], right=True)[..., 0]
    return chosen.clamp(max=q.shape[-1] - 1)


def confidence(sure: Tensor, unknown: Tensor, noise: Tensor, fade: float) -> Tensor:
    """How sure each unit is: float64 [B, N, K], infinite where it was known before.

    `sure` [B, N, 2] are logarithms of the probabilities of what was drawn, `unknown` bool [B, N, 2], `noise`
    float64 [B, N, K] standard Gumbel noise. K is 2 where a unit is a subtoken, 1 where it is a token, of
    which the logarithms of both subtokens add up.
    """
    if noise.shape[-1] == 1:
        sure, unknown = sure.sum(-1, keepdim=True), unknown.any(-1, keepdim=True)
    score = sure.double() + fade * noise
    return score.masked_fill(~unknown, torch.inf)


def lowest(score: Tensor, count: int) -> Tensor:
    """Which `count` units of each sample have the lowest score, ties by index: bool [B, N, 2]."""
    flat = score.flatten(1)
    order = flat.sort(dim=1, stable=True).indices[:, :count]
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, True)
    return chosen.view(score.shape).expand(*score.shape[:2], 2)
