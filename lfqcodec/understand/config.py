"""Shapes of video encoders, and what they see of a clip. Both travel as JSON inside the files of weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lfqcodec.configuration import JsonConfig
from lfqcodec.errors import WeightsError
from lfqcodec.generate.model.config import (
    MAX_CLASSES,
    MAX_LAYERS,
    MAX_MLP,
    MAX_POSITIONS,
    MAX_WIDTH,
    GeneratorConfig,
)

MAX_FRAMES, MAX_SIZE = 1024, 4096


@dataclass(frozen=True)
class EncoderConfig(JsonConfig):
    """Shape of a network for clips of `frames` x `size` x `size`; the defaults are ViT-B of appendix A.4.

    A `tubelet` is so many frames, rows and columns. `kind` "vit" attends to all of them at once and has no
    class token. "vivit" (ViViT, model 2) attends inside each time step, then with `temporal_layers` between
    the steps. A branch is left out with probability `droppath` in the last layer, and less in those before.
    """

    kind: str = "vit"
    frames: int = 16
    size: int = 224
    tubelet: tuple[int, ...] = (2, 14, 14)
    layers: int = 12
    temporal_layers: int = 0
    width: int = 768
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.0
    droppath: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("vit", "vivit"):
            raise WeightsError(f"kind must be vit or vivit, not {self.kind!r}")
        if len(self.tubelet) != 3 or min(self.tubelet) < 1:
            raise WeightsError("tubelet must be three positive numbers")
        if not (1 <= self.frames <= MAX_FRAMES and 1 <= self.size <= MAX_SIZE):
            raise WeightsError(f"frames must be 1 to {MAX_FRAMES}, size 1 to {MAX_SIZE}")
        if self.frames % self.tubelet[0] or self.size % self.tubelet[1] or self.size % self.tubelet[2]:
            raise WeightsError("tubelet must divide frames and size")
        if math.prod(self.grid) > MAX_POSITIONS:
            raise WeightsError(f"has more than {MAX_POSITIONS} tubelets")
        for name, most in (("layers", MAX_LAYERS), ("width", MAX_WIDTH), ("mlp", MAX_MLP)):
            if not 1 <= getattr(self, name) <= most:
                raise WeightsError(f"{name} must be 1 to {most}")
        low, high = (1, MAX_LAYERS) if self.kind == "vivit" else (0, 0)
        if not low <= self.temporal_layers <= high:
            raise WeightsError(f"temporal_layers of {self.kind} must be {low} to {high}")
        if not 1 <= self.heads <= self.width or self.width % self.heads:
            raise WeightsError("heads must divide width")
        for name in ("dropout", "droppath"):
            if not 0 <= getattr(self, name) < 1:
                raise WeightsError(f"{name} must be at least 0 and below 1")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tubelets of a clip: in time, rows, columns."""
        time, rows, columns = self.tubelet
        return self.frames // time, self.size // rows, self.size // columns

    @property
    def block(self) -> GeneratorConfig:
        """The same width as a configuration of the blocks that generators are made of."""
        return GeneratorConfig(
            grid=(1, 1, 1),
            classes=0,
            class_drop=0.0,
            width=self.width,
            heads=self.heads,
            mlp=self.mlp,
            dropout=self.dropout,
            attention_dropout=0.0,
            norm="pre",
        )


@dataclass(frozen=True)
class ClipConfig(JsonConfig):
    """What is taken of a clip: `frames` x `size` x `size`, every `stride`-th frame of a window.

    `stride` 0 spreads the frames over all of the clip, one from each of as many equal parts. In training the
    shorter side is scaled to a number between the two of `short`, in measurements to `test_side`. `flip`
    mirrors every other clip; `colour` and `grey` are the chances of other brightness, contrast and
    saturation, and of no colour. `views` is how many different crops of a clip there are, 0 for no end.
    `order` "shuffled" takes the frames in random order, to see what is known without it.
    """

    frames: int = 16
    size: int = 224
    stride: int = 0
    short: tuple[int, ...] = (224, 224)
    test_side: int = 224
    flip: bool = False
    colour: float = 0.0
    grey: float = 0.0
    views: int = 0
    order: str = "kept"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.frames <= MAX_FRAMES and 1 <= self.size <= MAX_SIZE):
            raise WeightsError(f"frames must be 1 to {MAX_FRAMES}, size 1 to {MAX_SIZE}")
        if min(self.stride, self.views) < 0 or self.stride > MAX_FRAMES:
            raise WeightsError("stride and views must be from 0")
        sides = (*self.short, self.test_side)
        if len(self.short) != 2 or not self.size <= min(sides) or max(sides) > 2 * MAX_SIZE:
            raise WeightsError("short must be two numbers; neither they nor test_side may be below size")
        if self.short[0] > self.short[1]:
            raise WeightsError("short must have the smaller number first")
        if not (0 <= self.colour <= 1 and 0 <= self.grey <= 1):
            raise WeightsError("colour and grey must be 0 to 1")
        if self.order not in ("kept", "shuffled"):
            raise WeightsError(f"order must be kept or shuffled, not {self.order!r}")


def check_classes(names: object, where: object) -> tuple[str, ...]:
    """Names of classes, two or more. Raises `WeightsError`."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{where}: classes are no list of names")
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) != len(names):
        raise WeightsError(f"{where}: has {len(names)} classes, or some of the same name")
    return tuple(names)
