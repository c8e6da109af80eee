"""Shapes of generators, and how to sample from them. Both travel as JSON inside the files of weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lfqcodec.configuration import JsonConfig
from lfqcodec.errors import WeightsError
from lfqcodec.generate.decoding.schedule import SCHEDULES

MAX_LAYERS, MAX_WIDTH, MAX_MLP = 64, 8192, 32_768
MAX_CLASSES, MAX_POSITIONS, MAX_WORDS = 100_000, 16_384, 1 << 18
"""Weights files are untrusted: no configuration may ask for more."""


@dataclass(frozen=True)
class GeneratorConfig(JsonConfig):
    """Shape of a generator; the defaults are those of the paper's image model (appendix A.1).

    `kind` "mlm" is the masked model, "lm" the autoregressive one, which knows `words` tokens (2^18: all) and
    has none of the fields from `embedding` on. `grid` is that of the tokens: latent frames, rows, columns.
    `classes` 0 makes a model without classes; `class_drop` is the share of training samples shown without
    theirs, which guidance needs. `norm` "post"
    normalises after each sublayer, as BERT does, "pre" before it. `embedding` "table" has a row for each
    value of a subtoken, "bits" adds to that row a vector for each of its bits. `mask_unit` is what is masked
    and drawn apart from the rest: a "subtoken", or a "token" with both of its subtokens. The first
    `condition_frames` latent frames are always given. A `task` other than "none" gives a part of the pixels
    instead, by COMMIT (`decoding/commit.py`): of "prediction" the first `task_frames` frames, of
    "interpolation" so many at either end, of "inpainting" and "outpainting" a part of all frames.
    """

    kind: str = "mlm"
    grid: tuple[int, ...] = (1, 16, 16)
    classes: int = 1000
    class_drop: float = 0.1
    layers: int = 24
    width: int = 1024
    heads: int = 16
    mlp: int = 4096
    dropout: float = 0.1
    attention_dropout: float = 0.1
    norm: str = "post"
    words: int = 0
    embedding: str = "table"
    mask_unit: str = "subtoken"
    condition_frames: int = 0
    task: str = "none"
    task_frames: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise WeightsError(f"{name} must be {' or '.join(allowed)}, not {getattr(self, name)!r}")
        if len(self.grid) != 3 or min(self.grid) < 1 or self.positions > MAX_POSITIONS:
            raise WeightsError(f"grid must be three positive numbers, {MAX_POSITIONS} positions at most")
        for name, most in (("layers", MAX_LAYERS), ("width", MAX_WIDTH), ("mlp", MAX_MLP)):
            if not 1 <= getattr(self, name) <= most:
                raise WeightsError(f"{name} must be 1 to {most}")
        if not 1 <= self.heads <= self.width or self.width % self.heads:
            raise WeightsError("heads must divide width")
        if not 0 <= self.classes <= MAX_CLASSES:
            raise WeightsError(f"classes must be 0 to {MAX_CLASSES}")
        for name in ("class_drop", "dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise WeightsError(f"{name} must be at least 0 and below 1")
        if not 0 <= self.condition_frames < self.grid[0]:
            raise WeightsError("condition_frames must be fewer than the grid has")
        timed = self.task in ("prediction", "interpolation")
        if not (1 if timed else 0) <= self.task_frames <= (MAX_POSITIONS if timed else 0):
            raise WeightsError("task_frames must be above 0 for prediction and interpolation, 0 else")
        if self.task != "none" and (self.causal or self.condition_frames):
            raise WeightsError("a task is for an mlm without condition_frames")
        if not (1 if self.causal else 0) <= self.words <= (MAX_WORDS if self.causal else 0):
            raise WeightsError(f"words must be 1 to {MAX_WORDS} in an lm, 0 in an mlm")
        if self.causal and (self.norm != "pre" or self.class_drop or self.condition_frames):
            raise WeightsError("an lm has norm pre, no class_drop and no condition_frames")

    @property
    def causal(self) -> bool:
        """Whether it draws one token after the other."""
        return self.kind == "lm"

    @property
    def commits(self) -> bool:
        """Whether it has a task."""
        return self.task != "none"

    @property
    def positions(self) -> int:
        """Places of the token grid."""
        return math.prod(self.grid)

    @property
    def given(self) -> int:
        """Positions, from the first on, that are always given."""
        return self.condition_frames * self.grid[1] * self.grid[2]

    @property
    def units(self) -> int:
        """What a masked model does not know at the start: subtokens, or tokens, outside of the condition."""
        return (self.positions - self.given) * (2 if self.mask_unit == "subtoken" else 1)


_WORDS = {
    "kind": ("mlm", "lm"),
    "norm": ("post", "pre"),
    "embedding": ("table", "bits"),
    "mask_unit": ("subtoken", "token"),
    "task": ("none", "prediction", "interpolation", "inpainting", "outpainting"),
}


@dataclass(frozen=True)
class SamplingConfig(JsonConfig):
    """How to decode without an order (appendix A.1; docs/generation.md has the formulas).

    In `steps` steps, whose numbers of unknown units follow `schedule`. `temperature` scales the noise on the
    choice of what is kept; it never touches what is drawn. `guidance` is its scale at the last step, reached
    from 1 by a cosine of the `guidance_power` of progress; 1 is none. Logits are divided by a number that
    goes from the first `softmax_temperature` to the second.

    An lm uses only `temperature`, which divides its logits, `top_k`, which keeps so many of the likeliest
    tokens (0: all), and `top_p`, which keeps the fewest that are so likely together.
    """

    steps: int = 64
    schedule: str = "cosine"
    temperature: float = 15.0
    guidance: float = 1.0
    guidance_power: float = 4.0
    softmax_temperature: tuple[float, ...] = (1.0, 1.0)
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in SCHEDULES:
            raise WeightsError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        if not 1 <= self.steps <= 2 * MAX_POSITIONS:
            raise WeightsError(f"steps must be 1 to {2 * MAX_POSITIONS}, not {self.steps}")
        for name in ("temperature", "guidance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WeightsError(f"{name} must be a number from 0, not {getattr(self, name)}")
        if not 0 < self.guidance_power < math.inf:
            raise WeightsError(f"guidance_power must be above 0, not {self.guidance_power}")
        pair = self.softmax_temperature
        if len(pair) != 2 or not all(0 < each < math.inf for each in pair):
            raise WeightsError("softmax_temperature must be two numbers above 0")
        if self.top_k < 0:
            raise WeightsError(f"top_k must be at least 0, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise WeightsError(f"top_p must be above 0 and at most 1, not {self.top_p}")
