"""What the tokenizer's training minimises: the weighted sum of `LossConfig`, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lfqcodec.tokenizer.lfq.binary import Quantized
from lfqcodec.train.distributed import World
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.tokenizer.adversarial import Adversary
from lfqcodec.train.tokenizer.config import TokenizerTrainConfig
from lfqcodec.train.tokenizer.losses import commitment, entropy_weight_at, lfq_entropy, ssim


@dataclass(frozen=True)
class Draws:
    """What chance decides in a step, for the clips of this process.

    `kept` int64 [B]: the stages of a clip; `frames` int64 [B, n]: those that LPIPS sees.
    """

    kept: Tensor
    frames: Tensor


def draw(config: TokenizerTrainConfig, step: int, shape: tuple[int, int], world: World) -> Draws:
    """The draws of step `step` for a global batch of `shape` = (clips, frames).

    They depend on the seed and the step alone, not on the number of processes.
    """
    batch, frames = shape
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    kept = torch.randint(1, config.model.stages + 1, (batch,), generator=generator)
    picked = torch.randint(0, frames, (batch, config.losses.perceptual_frames), generator=generator)
    return Draws(world.share(kept), world.share(picked))


class Objective:
    """The losses of the tokenizer. LPIPS and the adversary may be missing."""

    def __init__(
        self,
        config: TokenizerTrainConfig,
        world: World,
        *,
        lpips: LPIPS | None = None,
        adversary: Adversary | None = None,
    ) -> None:
        self.config, self.world = config, world
        self.lpips, self.adversary = lpips, adversary

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
            parts["perceptual"] = self._perceptual(self.lpips, output, video, draws.frames)
            weights["perceptual"] = c.perceptual
        if self.adversary is not None and step >= self.config.gan_from(step):
            parts["gan"] = self.adversary.loss(output.float())
            weights["gan"] = c.gan
        total = sum((w * parts[name] for name, w in weights.items() if w), output.new_zeros(()).float())
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

    def _perceptual(self, lpips: LPIPS, output: Tensor, video: Tensor, frames: Tensor) -> Tensor:
        clip = torch.arange(len(video), device=video.device)[:, None]
        frames = frames.to(video.device)
        seen, true = (x.transpose(1, 2)[clip, frames].flatten(0, 1) for x in (output, video))
        distance: Tensor = lpips(seen.to(true.dtype), true)
        return distance.float().mean()

    def _entropy(self, quantized: Quantized) -> Tensor:
        """Mean over stages of the entropy of a token minus that of the batch, in nats."""
        terms = []
        for scores in quantized.scores:
            sample, batch = lfq_entropy(scores, mean=self.world.mean)
            terms.append(sample - batch)
        return torch.stack(terms).mean()
