"""What a generator's training depends on, besides the data.

The defaults are those of the paper's image model (MAGVIT-v2, appendix A.1); what the appendix leaves open is
said in docs/generation.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lfqcodec.errors import LfqError
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.store import DEFAULT_SAMPLING
from lfqcodec.train.config import read_table, updated
from lfqcodec.train.optim import OptimizerConfig, Schedule


@dataclass(frozen=True)
class DataConfig:
    """What is cut out of pictures and clips: `frames` x `size` x `size`, every `stride`-th frame.

    Of each item to train on there are `views`. Pictures are scaled so that the crop is a part of them that is
    between the two numbers of `crop`, by the shorter side; with `flip` every other view is mirrored.
    """

    size: int = 256
    frames: int = 1
    stride: int = 1
    crop: tuple[float, ...] = (0.8, 1.0)
    flip: bool = True
    views: int = 10

    def __post_init__(self) -> None:
        if min(self.size, self.frames, self.stride, self.views) < 1:
            raise LfqError("data.size, frames, stride and views must be positive")
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise LfqError("data.crop must be two numbers in (0, 1], the smaller one first")


@dataclass(frozen=True)
class GeneratorTrainConfig:
    """A run. `schedule`, `warmup` and `decay` are those of `lfqcodec.train.optim.Schedule`.

    The gradients of a step come from `accumulate` parts of its `batch`, one after the other. With
    `checkpoint_blocks` blocks are computed twice, which takes less memory and the same bits. `loss_on` "all"
    takes the loss of known units, too, "masked" that of unknown ones alone. An lm knows all tokens, or with
    `vocabulary` "used" those that occur among what it is trained on. `sampling` holds named sets of
    settings, which travel in the exported file.
    """

    steps: int = 1_351_080
    batch: int = 1024
    accumulate: int = 1
    checkpoint_blocks: bool = False
    seed: int = 0
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 5000
    decay: int = 0
    ema: float = 0.999
    label_smoothing: float = 0.1
    loss_on: str = "all"
    vocabulary: str = "all"
    model: GeneratorConfig = field(default_factory=GeneratorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(betas=(0.9, 0.96), muon=False, weight_decay=0.045)
    )
    sampling: dict[str, SamplingConfig] = field(default_factory=lambda: {DEFAULT_SAMPLING: SamplingConfig()})

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.accumulate) < 1 or self.batch % self.accumulate:
            raise LfqError("steps and batch must be positive, and accumulate must divide batch")
        if not 0 <= self.label_smoothing < 1:
            raise LfqError("label_smoothing must be at least 0 and below 1")
        if self.loss_on not in ("all", "masked"):
            raise LfqError(f"loss_on must be all or masked, not {self.loss_on!r}")
        if self.vocabulary not in ("all", "used"):
            raise LfqError(f"vocabulary must be all or used, not {self.vocabulary!r}")
        if self.model.class_drop and not self.model.classes:
            raise LfqError("model.class_drop must be 0 in a model without classes")
        for name, each in self.sampling.items():
            if each.steps > self.model.units and not self.model.causal:
                raise LfqError(f"sampling {name}: {each.steps} steps for {self.model.units} units")
            if each.guidance != 1 and not self.model.class_drop:
                raise LfqError(f"sampling {name}: guidance needs model.class_drop")
        self.learning_rates()

    def learning_rates(self, minutes: float | None = None) -> Schedule:
        """Length and learning rates of the run; it ends early where `minutes` are over."""
        return Schedule(self.steps, self.learning_rate, self.warmup, self.schedule, self.decay, minutes)


def load_preset(name: str, changes: Iterable[str] = ()) -> GeneratorTrainConfig:
    """A preset of the package, or a TOML file, with changes such as `model.layers=8` (values in TOML).

    What it leaves out has the default. `[sampling.NAME]` is a further set of settings, which differs from
    `[sampling]` in what it gives. Raises `LfqError` for unknown presets, fields and values of the wrong type.
    """
    values: dict[str, Any] = read_table("generator", name, changes)
    default = GeneratorTrainConfig()
    table = values.pop("sampling", {})
    if not isinstance(table, dict):
        raise LfqError("sampling must be a section of the preset")
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    sets = {DEFAULT_SAMPLING: own} | {k: own | v for k, v in table.items() if isinstance(v, dict)}
    values["sampling"] = {key: updated(SamplingConfig(), value, "sampling") for key, value in sets.items()}
    return updated(default, values, "preset")
