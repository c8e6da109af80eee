"""What the training of video encoders depends on, besides the data.

The defaults are those of MAGVIT-v2, Table 6, for Something-Something v2; what the appendix leaves open is
said in docs/understanding.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lfqcodec.errors import LfqError
from lfqcodec.train.config import read_table, updated
from lfqcodec.train.optim import OptimizerConfig, Schedule
from lfqcodec.understand.config import ClipConfig, EncoderConfig


def _adamw() -> OptimizerConfig:
    return OptimizerConfig(betas=(0.9, 0.999), muon=False, weight_decay=0.05, clip=1.0)


@dataclass(frozen=True)
class ClipTrainConfig:
    """A run. `schedule`, `warmup` and `decay` are those of `lfqcodec.train.optim.Schedule`.

    The gradients of a step come from `accumulate` parts of its `batch`. `layer_decay` multiplies the rate of
    each layer once more for each layer above it. With `checkpoint_blocks` the backward pass computes each
    block again, which takes less memory.
    """

    steps: int = 131_200
    batch: int = 1024
    accumulate: int = 1
    seed: int = 0
    learning_rate: float = 6e-4
    schedule: str = "cosine"
    warmup: int = 6560
    decay: int = 0
    ema: float = 0.0
    layer_decay: float = 0.75
    label_smoothing: float = 0.1
    checkpoint_blocks: bool = False
    model: EncoderConfig = field(default_factory=EncoderConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    optimizer: OptimizerConfig = field(default_factory=_adamw)

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.accumulate) < 1 or self.batch % self.accumulate:
            raise LfqError("steps and batch must be positive, and accumulate must divide batch")
        if not 0 <= self.label_smoothing < 1:
            raise LfqError("label_smoothing must be at least 0 and below 1")
        if not 0 < self.layer_decay <= 1:
            raise LfqError("layer_decay must be above 0 and at most 1")
        ours, theirs = (self.clip.frames, self.clip.size), (self.model.frames, self.model.size)
        if ours != theirs:
            raise LfqError("clip.frames and clip.size must be those of the model")
        self.learning_rates()

    def learning_rates(self, minutes: float | None = None) -> Schedule:
        """Length and learning rates of the run; it ends early where `minutes` are over."""
        return Schedule(self.steps, self.learning_rate, self.warmup, self.schedule, self.decay, minutes)


@dataclass(frozen=True)
class MaskedVideoConfig(ClipTrainConfig):
    """Pre-training: `mask_ratio` of all places are masked, in blocks of at least `min_patches`.

    The tokenizer sees clips scaled to `target_size`. `target_frames` "shared" gives both tubelets of four
    frames the token of those, "pair" only the second of them.
    """

    mask_ratio: float = 0.75
    min_patches: int = 16
    target_size: int = 128
    target_frames: str = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_ratio <= 1 or self.min_patches < 1:
            raise LfqError("mask_ratio must be above 0 and at most 1, min_patches at least 1")
        if self.target_frames not in ("shared", "pair"):
            raise LfqError(f"target_frames must be shared or pair, not {self.target_frames!r}")
        if self.model.kind != "vit":
            raise LfqError("model.kind must be vit: ViViT is trained on classes alone")


@dataclass(frozen=True)
class ActionConfig(ClipTrainConfig):
    """Training on classes. `mixup` and `cutmix` are the parameters of their Beta distributions, 0 for none.

    Measured are `segments` views in time by `crops` in space of each clip, whose probabilities are averaged.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    segments: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.mixup, self.cutmix) < 0 or min(self.segments, self.crops) < 1:
            raise LfqError("mixup and cutmix must be from 0, segments and crops from 1")


def load_masked_video(name: str, changes: Iterable[str] = ()) -> MaskedVideoConfig:
    """A preset of the package, or a TOML file, with changes such as `model.layers=8`. Raises `LfqError`."""
    return updated(MaskedVideoConfig(), read_table("masked-video", name, changes), "preset")


def load_actions(name: str, changes: Iterable[str] = ()) -> ActionConfig:
    """The same of a classifier."""
    return updated(ActionConfig(), read_table("actions", name, changes), "preset")
