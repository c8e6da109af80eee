"""What a training run of the `motion` tokenizer depends on, besides its data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.train.optim import OptimizerConfig, Schedule

PHASES = ("intra", "groups")
GROUP = 4
"""Pictures of a group."""
GROUPS_OF_STEP = 2
"""Groups of a chain that one step learns from, with gradients through both."""
_UNLIMITED = sys.maxsize


@dataclass(frozen=True)
class MotionTrainConfig:
    """A run of one phase.

    A batch has `batch` first pictures or chains of `size` x `size` pixels, for each process. The learning
    rate rises over `warmup` steps and falls in a line to zero over the share `decay` of the time that one
    call is given. Rate networks that are new learn alone for `rate_steps` steps, and what a network costs
    counts more and more over the first `ramp` steps where all of it is new. `held_out` chains are measured,
    or four times as many first pictures.
    """

    phase: str
    batch: int = 4
    size: int = 176
    seed: int = 1
    learning_rate: float = 5e-4
    warmup: int = 150
    decay: float = 0.2
    ema: float = 0.998
    rate_steps: int = 250
    ramp: int = 400
    held_out: int = 4
    model: MotionConfig = field(default_factory=MotionConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(muon=False))

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise LfqError(f"the phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        if self.size < 64 or self.size % 16:
            raise LfqError("the size of a crop must be a multiple of 16, and at least 64")

    def schedule(self, seconds: float, minutes: float | None) -> Schedule:
        """For a run that has taken `seconds` and goes on for `minutes`, or at a constant rate without end."""
        if minutes is None:
            return Schedule(_UNLIMITED, self.learning_rate, warmup=self.warmup)
        total = seconds / 60 + minutes
        decay = max(1, round(_UNLIMITED * self.decay * minutes / total))
        return Schedule(_UNLIMITED, self.learning_rate, warmup=self.warmup, decay=decay, minutes=total)
