"""What the tokenizer's training minimises: the weighted sum of `LossConfig`, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lfqcodec.tokenizer.lfq.binary import Quantized
from lfqcodec.train.config import TrainConfig
from lfqcodec.train.distributed import World
from lfqcodec.train.losses import commitment, entropy_weight_at, lfq_entropy, ssim
from lfqcodec.train.rate_model import BitModel, draw_known, rate_of
from lfqcodec.train.rate_prior import PriorRate

if TYPE_CHECKING:
    from lfqcodec.train.adversarial import Adversary
    from lfqcodec.train.lpips import LPIPS


@dataclass(frozen=True)
class Draws:
    """What chance decides in a step, for the clips of this process.

    `kept` int64 [B]: the stages of a clip; `frames` int64 [B, n]: those that LPIPS sees; `known` bool
    [stages, B, T', h, w]: the tokens that the rate model sees; `stage`: the one whose tokens a prior looks
    at; `lambdas` float32 [B]: how eagerly the tokens of a clip are chosen, 0 not at all.
    """

    kept: Tensor
    frames: Tensor
    known: Tensor
    stage: int
    lambdas: Tensor


def draw(config: TrainConfig, step: int, shape: tuple[int, int, int], world: World) -> Draws:
    """The draws of step `step` for a global batch of `shape` = (clips, frames, size of the crops).

    They depend on the seed and the step alone, not on the number of processes.
    """
    batch, frames, size = shape
    model = config.model
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    shares = torch.tensor(config.shares_of_stages())
    kept = 1 + torch.multinomial(shares, batch, replacement=True, generator=generator)
    if not config.stage_dropout:
        kept.fill_(model.stages)
    picked = torch.randint(0, frames, (batch, config.losses.perceptual_frames), generator=generator)
    side = size // model.spatial_factor
    latent_frames = 1 + (frames - 1) // model.temporal_factor
    known = draw_known((model.stages, batch, latent_frames, side, side), generator)
    stage = int(torch.multinomial(chances_of_stages(config), 1, generator=generator))
    lambdas = config.choice.draw(kept, generator)
    return Draws(world.share(kept), world.share(picked), world.share(known, 1), stage, world.share(lambdas))


def chances_of_stages(config: TrainConfig) -> Tensor:
    """How likely a prior is to look at each stage in a step: in proportion to the clips that keep it."""
    shares = torch.tensor(config.shares_of_stages())
    if not config.stage_dropout:
        return torch.full_like(shares, 1 / len(shares))
    kept = shares.flip(0).cumsum(0).flip(0)
    return kept / kept.sum()


class Objective:
    """The losses of the tokenizer. LPIPS, the rate model and the adversary are there if their losses are."""

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        *,
        lpips: LPIPS | None = None,
        rate_model: BitModel | PriorRate | None = None,
        adversary: Adversary | None = None,
    ) -> None:
        self.config, self.world = config, world
        self.lpips, self.rate_model, self.adversary = lpips, rate_model, adversary

    def __call__(
        self, video: Tensor, output: Tensor, quantized: Quantized, draws: Draws, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and unweighted parts, 0-dimensional, of clips [B, 3, T, H, W] and what became of them."""
        c = self.config.losses
        parts = self._reconstruction(output.float(), video)
        weights = {"l1": c.l1, "mse": c.mse, "ssim": c.ssim, "commitment": c.commitment}
        parts["commitment"] = commitment(quantized.scores, quantized.signs)
        if c.entropy:
            parts["entropy"] = self._entropy(quantized)
            weights["entropy"] = entropy_weight_at(
                step, c.entropy, c.entropy_anneal_steps, c.entropy_anneal_factor
            )
        if self.lpips is not None and step >= c.perceptual_start:
            parts["perceptual"] = self._perceptual(output, video, draws.frames)
            weights["perceptual"] = c.perceptual
        if self.rate_model is not None and step >= c.rate_start:
            kept = draws.kept.to(video.device)
            factors = torch.tensor(self.config.rates_by_stages(), device=video.device)[kept - 1]
            if isinstance(self.rate_model, PriorRate):
                parts |= self._rate_by_prior(self.rate_model, quantized, kept, factors, draws.stage)
                weights["prior"] = c.rate
            else:
                bits = self.rate_model(quantized, draws.known.to(video.device))
                parts["rate"] = (rate_of(bits, kept) * factors[:, None]).mean()
                for stage, mean in enumerate(bits.detach().mean((1, 2))):
                    parts[f"bits{stage + 1}"] = mean
            weights["rate"] = c.rate
        if self.adversary is not None and step >= self.config.gan_from(step):
            parts["gan"] = self.adversary.loss(output.float())
            weights["gan"] = c.gan
        total = output.new_zeros((), dtype=torch.float32)
        for name, weight in weights.items():
            if weight:
                total = total + weight * parts[name]
        return total, {name: value.detach() for name, value in parts.items()}

    def _reconstruction(self, output: Tensor, video: Tensor) -> dict[str, Tensor]:
        flat, target = (x.transpose(1, 2).flatten(0, 1) for x in (output, video))
        weight = flat.new_ones(video.shape[2])
        weight[0] = self.config.losses.first_frame
        weight = (weight / weight.mean()).repeat(len(video)).view(-1, 1, 1, 1)
        error = flat - target
        parts = {"l1": (error.abs() * weight).mean(), "mse": (error.square() * weight).mean()}
        parts["ssim"] = 1 - ssim(flat, target)
        return parts

    def _perceptual(self, output: Tensor, video: Tensor, frames: Tensor) -> Tensor:
        assert self.lpips is not None
        clip = torch.arange(len(video), device=video.device)[:, None]
        frames = frames.to(video.device)
        seen, true = (x.transpose(1, 2)[clip, frames].flatten(0, 1) for x in (output, video))
        distance: Tensor = self.lpips(seen.to(true.dtype), true)
        return distance.float().mean()

    def _rate_by_prior(
        self, model: PriorRate, quantized: Quantized, kept: Tensor, factors: Tensor, stage: int
    ) -> dict[str, Tensor]:
        """`rate` of all stages, estimated from one, and `prior`, which trains the prior and nothing else."""
        bits, cost = model(quantized, len(kept), stage)
        alive = (kept > stage) * factors / chances_of_stages(self.config)[stage]
        return {"rate": (bits * alive[:, None]).mean(), "prior": cost.mean()}

    def _entropy(self, quantized: Quantized) -> Tensor:
        """Mean over stages of the entropy of a token minus that of the batch, in nats."""
        terms = []
        for scores in quantized.scores:
            sample, batch = lfq_entropy(scores, mean=self.world.mean)
            terms.append(sample - batch)
        return torch.stack(terms).mean()


__all__ = ["Draws", "Objective", "draw"]
