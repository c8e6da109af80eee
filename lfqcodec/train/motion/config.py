"""What a training run of the `motion` tokenizer depends on, besides its data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.train.optim import OptimizerConfig, Schedule

PHASES = ("intra", "groups")
PICTURES_OF_STEP = 8
"""Pictures of a chain that one step learns from, with gradients through all of their groups."""
_UNLIMITED = sys.maxsize


@dataclass(frozen=True)
class MotionTrainConfig:
    """A run of one phase.

    A batch has `batch` first pictures or chains of `size` x `size` pixels, for each process. The learning
    rate rises over `warmup` steps and falls in a line to zero over the share `decay` of the time that one
    call is given. Rate networks that are new learn alone for `rate_steps` steps, and what a network costs
    counts more and more over the first `ramp` steps where all of it is new. A chain has groups of 4, 2 or 1
    pictures, as `group_shares` say how often. `held_out` chains are measured, or four times as many first
    pictures.
    """

    phase: str
    batch: int = 4
    size: int = 176
    seed: int = 1
    learning_rate: float = 5e-4
    warmup: int = 150
    decay: float = 0.2
    ema: float = 0.998
    group_shares: tuple[float, ...] = (0.3, 0.3, 0.4)
    rate_steps: int = 250
    ramp: int = 400
    held_out: int = 4
    model: MotionConfig = field(default_factory=MotionConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(muon=False))

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise LfqError(f"the phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        if len(self.group_shares) != len(GROUP_SIZES) or not sum(self.group_shares) > 0:
            raise LfqError("group_shares needs a share for groups of 4, 2 and 1 pictures")
        if self.size < 64 or self.size % 16:
            raise LfqError("the size of a crop must be a multiple of 16, and at least 64")

    def schedule(self, seconds: float, minutes: float | None) -> Schedule:
        """For a run that has taken `seconds` and goes on for `minutes`, or at a constant rate without end."""
        if minutes is None:
            return Schedule(_UNLIMITED, self.learning_rate, warmup=self.warmup)
        total = seconds / 60 + minutes
        decay = max(1, round(_UNLIMITED * self.decay * minutes / total))
        return Schedule(_UNLIMITED, self.learning_rate, warmup=self.warmup, decay=decay, minutes=total)
