"""What a tokenizer's training depends on, besides the data: frozen dataclasses, read from TOML presets.

The defaults are those of MAGVIT-v2 (arXiv 2310.05737, appendix A.2) for the video tokenizer; what the
appendix does not give, or what is not the paper's, is said at the field.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.train.choice import ChoiceConfig
from lfqcodec.train.discriminator import DiscriminatorConfig
from lfqcodec.train.optim import OptimizerConfig
from lfqcodec.train.sampling import SampleConfig


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

    Ours, not the paper's, and therefore 0 by default: `l1`, `ssim` (of 1 - SSIM), and `rate`, a bit that a
    latent position costs by the estimate of `lfqcodec.train.rate_model`. It counts `rate_by_stages` times in
    clips that keep one, two, ... stages; the last one holds for all numbers after it. The first frame of a
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
    rate: float = 0.0
    rate_start: int = 0
    rate_by_stages: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not all(0 <= each < math.inf for each in (value if isinstance(value, tuple) else (value,))):
                raise LfqError(f"losses.{item.name} must not be negative")
        if min(self.perceptual_frames, self.r1_every) < 1:
            raise LfqError("losses.perceptual_frames and losses.r1_every must be positive")


@dataclass(frozen=True)
class DataConfig:
    """How clips are drawn (`lfqcodec.train.sampling`); ours, the paper does not say.

    A crop covers 1 to `max_shrink` times its size of the source; `skip_chance` is the chance that a clip
    takes every n-th frame, n one of `rate_jitter`; `image_share` is the share of clips made of pictures.
    """

    max_shrink: float = 2.0
    skip_chance: float = 0.1
    rate_jitter: tuple[int, ...] = (2,)
    image_share: float = 0.0

    def crops(self, phase: Phase) -> SampleConfig:
        """The batches of a phase."""
        return SampleConfig(phase.batch, phase.frames, phase.size, **dataclasses.asdict(self))


@dataclass(frozen=True)
class TrainConfig:
    """A run. `schedule` is what follows the warm-up: `cosine` to zero at the last step, or `linear`, constant
    until the last `decay` steps and then down to zero in a straight line.

    `stage_dropout` lets each clip keep 1 to all residual stages; the paper has one stage. `stage_shares` says
    how often a clip keeps one, two, ... stages, in proportion; the last one holds for all numbers after it.
    The paper does not give the number of steps: `phases` and `warmup` are ours, and so is `choice`: which
    tokens the decoder is shown.

    `trained` is `all`, or a part. `decoder`: encoder and quantizer stay as they are, and so do the tokens of
    every video. `encoder`: the decoder stays, and what it is given for a token; other tokens are chosen. In
    both cases tokens speak the same language as before: a prior of the model that the run starts from, and
    its table of rates, fit the new model too.
    """

    phases: tuple[Phase, ...] = (Phase(100_000, 256, 1, 128), Phase(270_000, 256, 17, 128))
    seed: int = 0
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 5000
    decay: int = 0
    ema: float = 0.999
    stage_dropout: bool = True
    stage_shares: tuple[float, ...] = (1.0,)
    trained: str = "all"
    model: TokenizerConfig = field(default_factory=Magvit2Config)
    losses: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(betas=(0.0, 0.99), muon=False))

    def __post_init__(self) -> None:
        if not self.phases:
            raise LfqError("a run needs a phase")
        if self.schedule not in ("cosine", "linear"):
            raise LfqError(f"schedule must be cosine or linear, not {self.schedule!r}")
        if self.trained not in ("all", "decoder", "encoder"):
            raise LfqError(f"trained must be all, decoder or encoder, not {self.trained!r}")
        if min(self.stage_shares) < 0 or not 0 < sum(self.shares_of_stages()) < math.inf:
            raise LfqError("stage_shares must not be negative, nor all zero")
        if self.trained == "decoder" and self.losses.rate:
            raise LfqError("losses.rate must be 0 where only the decoder is trained: tokens do not change")
        for phase in self.phases:
            if phase.size % self.model.spatial_factor:
                raise LfqError(f"phase {phase}: SIZE must be a multiple of {self.model.spatial_factor}")
            if (phase.frames - 1) % self.model.temporal_factor:
                raise LfqError(f"phase {phase}: FRAMES must be 1 + {self.model.temporal_factor}k")

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(phase.steps for phase in self.phases)

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

    def shares_of_stages(self) -> tuple[float, ...]:
        """How often a clip keeps 1, 2, ... stages, in proportion, for each stage of the model."""
        return _for_each(self.stage_shares, self.model.stages)

    def rates_by_stages(self) -> tuple[float, ...]:
        """How many times a bit counts of clips that keep 1, 2, ... stages, for each stage of the model."""
        return _for_each(self.losses.rate_by_stages, self.model.stages)

    def begins_video(self, step: int) -> bool:
        """Whether step `step` is the first on videos after images: the moment of central inflation."""
        number, phase = self.phase_at(step)
        return (
            number > 0
            and step == self.first_step(number)
            and phase.frames > 1
            and self.phases[number - 1].frames == 1
        )

    def gan_from(self, step: int) -> int:
        """The step at which the GAN begins, as step `step` sees it."""
        number, _ = self.phase_at(step)
        while number and not self.begins_video(self.first_step(number)):
            number -= 1
        return self.first_step(number) + self.losses.gan_start

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step`, from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if self.schedule == "linear":
            return self.learning_rate * warm * min(1.0, (self.steps - step) / max(1, self.decay))
        passed = max(0, step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


def _for_each(values: tuple[float, ...], stages: int) -> tuple[float, ...]:
    """`values` for 1 to `stages` stages, the last one again where they end."""
    return (values + values[-1:] * stages)[:stages]


def preset_names() -> list[str]:
    """Names of the presets in the package."""
    folder = resources.files(__package__).joinpath("presets")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())


def load_preset(name: str, changes: Iterable[str] = ()) -> TrainConfig:
    """A preset of the package, or a TOML file, with changes such as `losses.gan=0.2` (values in TOML).

    Raises `LfqError` for unknown presets, fields and values of the wrong type.
    """
    try:
        if name in preset_names():
            text = resources.files(__package__).joinpath("presets", f"{name}.toml").read_text()
        else:
            text = Path(name).read_text()
        table = tomllib.loads(text)
    except OSError as error:
        names = ", ".join(preset_names())
        raise LfqError(f"{name}: no such preset ({names}) and no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LfqError(f"{name}: not a TOML file ({error})") from error
    for change in changes:
        _apply(table, change)
    return train_config(table)


def _apply(table: dict[str, Any], change: str) -> None:
    key, separator, value = change.partition("=")
    *sections, last = key.strip().split(".")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise LfqError(f"{change!r} is not KEY=VALUE (strings in quotes)") from error
    if not separator:
        raise LfqError(f"{change!r} is not KEY=VALUE")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise LfqError(f"{change!r}: {section} is not a section")
    table[last] = parsed


_SECTIONS: dict[str, Any] = {
    "losses": LossConfig,
    "data": DataConfig,
    "choice": ChoiceConfig,
    "discriminator": DiscriminatorConfig,
    "optimizer": OptimizerConfig,
}


def train_config(table: dict[str, Any]) -> TrainConfig:
    """The configuration of a TOML table; what it leaves out has the default. Raises `LfqError`."""
    values = dict(table)
    if "phases" in values:
        if not isinstance(values["phases"], list):
            raise LfqError("phases must be a list of STEPS:BATCHxFRAMESxSIZE")
        values["phases"] = tuple(Phase.parse(text) for text in values["phases"])
    if "model" in values:
        model = values["model"]
        base = isinstance(model, dict) and model.get("architecture") == "base"
        values["model"] = _build(BaseConfig if base else Magvit2Config, model, "model")
    for name, section in _SECTIONS.items():
        if name in values:
            default = TrainConfig.__dataclass_fields__[name].default_factory
            assert callable(default)
            values[name] = _build(section, values[name], name, default())
    config: TrainConfig = _build(TrainConfig, values, "preset")
    return config


def _build(kind: Any, values: Any, where: str, default: Any = None) -> Any:
    """`kind` with `values`, whose types must be those of the default's fields."""
    if not isinstance(values, dict):
        raise LfqError(f"{where} must be a section of the preset")
    default = kind() if default is None else default
    ready = {}
    for name, value in values.items():
        if name not in {item.name for item in dataclasses.fields(kind)}:
            raise LfqError(f"{where}: no such field: {name}")
        like = getattr(default, name)
        value = tuple(value) if isinstance(value, list) else value
        if isinstance(like, float) and type(value) is int:
            value = float(value)
        same = type(value) is type(like) or name == "model"
        if not same or (isinstance(like, tuple) and not _alike(value, like)):
            raise LfqError(f"{where}: {name} must be like {like!r}, not {value!r}")
        ready[name] = value
    return dataclasses.replace(default, **ready)


def _alike(value: tuple[Any, ...], like: tuple[Any, ...]) -> bool:
    numbers = (int, float) if isinstance(like[0], float) else type(like[0])
    return bool(value) and all(isinstance(part, numbers) and not isinstance(part, bool) for part in value)
