"""What a tokenizer's training depends on, besides the data.

The defaults are those of MAGVIT-v2 (arXiv 2310.05737, appendix A.2) for the video tokenizer; what the
appendix does not give, or what is not the paper's, is said at the field.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.train.config import read_table, updated
from lfqcodec.train.optim import OptimizerConfig, Schedule
from lfqcodec.train.tokenizer.discriminator import DiscriminatorConfig


@dataclass(frozen=True)
class Phase:
    """`steps` batches of `batch` crops of `frames` x `size` x `size`. frames = 1 trains on images."""

    steps: int
    batch: int
    frames: int
    size: int

    @classmethod
    def parse(cls, text: str) -> Phase:
        """Read `STEPS:BATCHxFRAMESxSIZE`, for example 3000:16x1x128. Raises `LfqError`."""
        try:
            steps, shape = text.split(":")
            batch, frames, size = (int(part) for part in shape.split("x"))
            phase = cls(int(steps), batch, frames, size)
        except (AttributeError, ValueError) as error:
            raise LfqError(f"{text!r} is not a phase (STEPS:BATCHxFRAMESxSIZE)") from error
        if min(phase.steps, batch, frames, size) < 1:
            raise LfqError(f"{text!r}: all parts must be positive")
        return phase

    def __str__(self) -> str:
        return f"{self.steps}:{self.batch}x{self.frames}x{self.size}"


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, for frames in [-1, 1]; 0 leaves a loss out.

    Ours, not the paper's, and therefore 0 by default: `l1`, and `ssim` (of 1 - SSIM). The first frame of a
    clip counts `first_frame` times in L1 and MSE. `perceptual_frames` of a clip, drawn anew each step, go
    through LPIPS.

    `entropy` is reached after `entropy_anneal_steps` from `entropy_anneal_factor` times as much.
    `r1_every` is how many updates of the discriminator share one gradient penalty. Losses with a `_start`
    begin at that step; the one of the GAN is counted from the first step on images, then from the first on
    videos, where a new discriminator begins.
    """

    l1: float = 0.0
    mse: float = 5.0
    ssim: float = 0.0
    first_frame: float = 1.0
    perceptual: float = 0.1
    perceptual_start: int = 0
    perceptual_frames: int = 4
    commitment: float = 0.25
    entropy: float = 0.1
    entropy_anneal_steps: int = 2000
    entropy_anneal_factor: float = 3.0
    gan: float = 0.1
    gan_start: int = 20_000
    r1: float = 10.0
    r1_every: int = 16
    lecam: float = 0.001

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if not 0 <= getattr(self, item.name) < math.inf:
                raise LfqError(f"losses.{item.name} must not be negative")
        if min(self.perceptual_frames, self.r1_every) < 1:
            raise LfqError("losses.perceptual_frames and losses.r1_every must be positive")


@dataclass(frozen=True)
class TokenizerTrainConfig:
    """A run. `schedule`, `warmup` and `decay` are those of `lfqcodec.train.optim.Schedule`.

    The paper does not give the number of steps: `phases` and `warmup` are ours. Where the model has several
    residual stages (the paper's has one), each clip keeps 1 to all of them, with the same chance. A clip is
    every second frame with `skip_chance`, where it is long enough.
    """

    phases: tuple[Phase, ...] = (Phase(100_000, 256, 1, 128), Phase(270_000, 256, 17, 128))
    seed: int = 0
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 5000
    decay: int = 0
    ema: float = 0.999
    skip_chance: float = 0.1
    model: Magvit2Config = field(default_factory=Magvit2Config)
    losses: LossConfig = field(default_factory=LossConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(betas=(0.0, 0.99), muon=False))

    def __post_init__(self) -> None:
        if not self.phases:
            raise LfqError("a run needs a phase")
        self.learning_rates()
        if not 0 <= self.skip_chance <= 1:
            raise LfqError("skip_chance must be between 0 and 1")
        for phase in self.phases:
            if phase.size % self.model.spatial_factor:
                raise LfqError(f"phase {phase}: SIZE must be a multiple of {self.model.spatial_factor}")
            if (phase.frames - 1) % self.model.temporal_factor:
                raise LfqError(f"phase {phase}: FRAMES must be 1 + {self.model.temporal_factor}k")

    def learning_rates(self, minutes: float | None = None) -> Schedule:
        """Length and learning rates of the run; it ends early where `minutes` are over."""
        steps = sum(phase.steps for phase in self.phases)
        return Schedule(steps, self.learning_rate, self.warmup, self.schedule, self.decay, minutes)

    def phase_at(self, step: int) -> tuple[int, Phase]:
        """Number and description of the phase that step `step` (from 0) belongs to."""
        for number, phase in enumerate(self.phases):
            if step < phase.steps:
                return number, phase
            step -= phase.steps
        return len(self.phases) - 1, self.phases[-1]

    def first_step(self, number: int) -> int:
        """The step at which phase `number` begins."""
        return sum(phase.steps for phase in self.phases[:number])

    def begins_video(self, step: int) -> bool:
        """Whether step `step` is the first on videos after images: the moment of central inflation."""
        number, phase = self.phase_at(step)
        after_images = number > 0 and self.phases[number - 1].frames == 1
        return after_images and phase.frames > 1 and step == self.first_step(number)

    def gan_from(self, step: int) -> int:
        """The step at which the GAN begins, as step `step` sees it."""
        number, _ = self.phase_at(step)
        while number and not self.begins_video(self.first_step(number)):
            number -= 1
        return self.first_step(number) + self.losses.gan_start


def load_preset(name: str, changes: Iterable[str] = ()) -> TokenizerTrainConfig:
    """A preset of the package, or a TOML file, with changes such as `losses.gan=0.2` (values in TOML).

    What it leaves out has the default. Raises `LfqError` for unknown presets, fields and values of the wrong
    type.
    """
    values: dict[str, Any] = read_table("tokenizer", name, changes)
    if "phases" in values:
        if not isinstance(values["phases"], list):
            raise LfqError("phases must be a list of STEPS:BATCHxFRAMESxSIZE")
        values["phases"] = [Phase.parse(text) for text in values["phases"]]
    return updated(TokenizerTrainConfig(), values, "preset")
