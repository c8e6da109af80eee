"""The GAN of MAGVIT-v2's training (arXiv 2310.05737, appendix A.2): non-saturating, with r1 and LeCAM.

Logits are high where the discriminator takes a clip for real.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.train.distributed import World
from lfqcodec.train.optim import MuonAdam, OptimizerConfig
from lfqcodec.train.tokenizer.config import LossConfig
from lfqcodec.train.tokenizer.discriminator import Discriminator, DiscriminatorConfig

_LECAM_DECAY = 0.999


def generator_loss(fake: Tensor) -> Tensor:
    """Mean of -log sigmoid(logit) of reconstructions: [B] -> 0-dimensional."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of -log sigmoid(real) - log(1 - sigmoid(fake)): two [B] -> 0-dimensional."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(logits: Tensor, clips: Tensor) -> Tensor:
    """Mean squared length of the gradient of each logit by its clip (Mescheder et al. 2018, eq. 9).

    Without the factor 1/2 that some put into the weight's definition. `clips` must require gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), clips, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def lecam_penalty(real: Tensor, fake: Tensor, average_real: Tensor, average_fake: Tensor) -> Tensor:
    """LeCAM regularisation (Tseng et al. 2021, eq. 5): logits stay near the averages of the other kind."""
    return F.relu(real - average_fake).square().mean() + F.relu(average_real - fake).square().mean()


class Adversary:
    """The discriminator and all that its training needs; the tokenizer's side of the game is `loss`.

    `losses` gives the weights of r1 and LeCAM and how many updates share one r1 penalty, which then counts
    that many times (lazy regularisation, Karras et al. 2020).
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        losses: LossConfig,
        *,
        device: str | torch.device = "cpu",
        world: World | None = None,
        seed: int = 0,
    ) -> None:
        self.config, self.losses, self.seed = config, losses, seed
        self.device = torch.device(device)
        self.world = world or World()
        self.restart()

    def restart(self) -> None:
        """Begin with a new discriminator, as at the change from images to videos (appendix A.2)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.discriminator = Discriminator(self.config).to(self.device)
        self.optimizer = MuonAdam(self.discriminator, OptimizerConfig(betas=(0.0, 0.99), muon=False))
        # Averages of the logits of real and of fake clips.
        self.averages = torch.zeros(2, device=self.device)

    def loss(self, fake: Tensor) -> Tensor:
        """The generator's loss of reconstructions [B, 3, T, H, W]; the discriminator gets no gradient."""
        self.discriminator.requires_grad_(False)
        try:
            logits = self.discriminator(fake)
        finally:
            self.discriminator.requires_grad_(True)
        return generator_loss(logits.float())

    def step(self, real: Tensor, fake: Tensor, lr: float) -> dict[str, Tensor]:
        """Update the discriminator with clips and reconstructions [B, 3, T, H, W]; parts of its loss."""
        update = int(self.optimizer.updates)
        both = self.discriminator(torch.cat([real, fake.detach()])).float()
        real_logits, fake_logits = both.chunk(2)
        parts = {"discriminator": discriminator_loss(real_logits, fake_logits)}
        total = parts["discriminator"]
        if self.losses.lecam:
            parts["lecam"] = lecam_penalty(real_logits, fake_logits, *self.averages)
            total = total + self.losses.lecam * parts["lecam"]
        if self.losses.r1 and update % self.losses.r1_every == 0:
            parts["r1"] = self._r1(real)
            total = total + self.losses.r1 * self.losses.r1_every * parts["r1"]
        total.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(self.discriminator.parameters())
        self.optimizer.step(lr)
        means = self.world.mean(torch.stack([real_logits.detach().mean(), fake_logits.detach().mean()]))
        # The first logits seen are the first averages.
        self.averages.lerp_(means, 1.0 if update == 0 else 1 - _LECAM_DECAY)
        parts["logits_real"], parts["logits_fake"] = means
        return {name: value.detach() for name, value in parts.items()}

    def _r1(self, real: Tensor) -> Tensor:
        # Squares of small gradients, and gradients of gradients: in float32 whatever the rest runs in.
        with torch.autocast(self.device.type, enabled=False):
            clips = real.detach().float().requires_grad_(True)
            return r1_penalty(self.discriminator(clips), clips)

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, as named tensors."""
        weights = {f"weights.{name}": tensor for name, tensor in self.discriminator.state_dict().items()}
        moments = {f"moments.{name}": tensor for name, tensor in self.optimizer.state.items()}
        return weights | moments | {"averages": self.averages}
