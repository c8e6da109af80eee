"""Clips with their classes, out of packs, and batches of them.

Batch n is a function of (seed, n) alone, so a resumed run sees the same crops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.generate.pictures import scaled, to_video
from lfqcodec.train.data import Pack
from lfqcodec.train.data.decode import bounded, decode_frames
from lfqcodec.train.data.pack import Entry
from lfqcodec.train.generator.prepare import Sources
from lfqcodec.train.generator.tokens import class_names
from lfqcodec.understand.config import ClipConfig
from lfqcodec.understand.views import Pictures, frame_numbers, in_order


@dataclass(frozen=True)
class LabelledClip:
    """A clip: `load` gives its frames, uint8 [T, H, W, 3]; `label` is the number of its class, or 0."""

    name: str
    label: int
    load: Callable[[], Pictures]


@dataclass(frozen=True)
class ClipSet:
    """Clips to train on and held out, and the names of their classes (none without labels)."""

    classes: tuple[str, ...]
    training: list[LabelledClip]
    held_out: list[LabelledClip]


def clips_of(sources: Sources) -> ClipSet:
    """The clips of packs, which are made unless they are there.

    Without `sources.held` about 4% of the sources are held out. Raises `LfqError` where a class has nothing
    to train on, and what reading the files raises.
    """
    pack, held = sources.training(), sources.held_out()
    packs = [each for each in (pack, held) if each is not None]
    classes = class_names(packs) if sources.labels is not None else []
    training = pack.training if held is None else pack.entries
    found = ClipSet(
        tuple(classes),
        [_of_entry(pack, entry, classes) for entry in training],
        [_of_entry(held or pack, entry, classes) for entry in (held.entries if held else pack.held_out)],
    )
    if missing := {*range(len(classes))} - {clip.label for clip in found.training}:
        raise LfqError(f"class {classes[min(missing)]} has nothing to train on")
    return found


def _of_entry(pack: Pack, entry: Entry, classes: Sequence[str]) -> LabelledClip:
    label = classes.index(entry.label) if classes and entry.label is not None else 0
    return LabelledClip(f"{entry.source}\n{entry.name}", label, partial(pack.frames, entry, 0, entry.frames))


def read_clip(path: Path, *, longest: int = 640) -> Pictures:
    """All frames of a video or .lfq file, uint8 [T, H, W, 3]. Raises `InputVideoError`."""
    frames = [bounded(frame, longest) for frame in decode_frames(path)]
    if not frames:
        raise InputVideoError(f"{path}: has no frames")
    return np.stack([frame for frame in frames if frame.shape == frames[0].shape])


def few(clips: Sequence[LabelledClip], per_class: int, seed: int) -> list[LabelledClip]:
    """`per_class` clips of each class, or all where there are fewer; which ones depends on the seed."""
    order = sorted(clips, key=lambda clip: hashlib.sha256(f"{seed} {clip.name}".encode()).digest())
    taken: dict[int, list[LabelledClip]] = {}
    for clip in order:
        if len(own := taken.setdefault(clip.label, [])) < per_class:
            own.append(clip)
    return [clip for label in sorted(taken) for clip in taken[label]]


def spread_out(clips: Sequence[LabelledClip], count: int) -> list[LabelledClip]:
    """At most `count` clips, at equal distances: clips are in the order of their classes."""
    return [clips[n * len(clips) // count] for n in range(count)] if len(clips) > count else list(clips)


def random_view(clip: Pictures, config: ClipConfig, rng: np.random.Generator) -> Tensor:
    """A random window and square of a clip, mirrored and coloured by chance.

    uint8 [T, H, W, 3] -> float32 [3, frames, size, size] in [-1, 1].
    """
    parts = rng.random(1 if config.stride else config.frames)
    numbers = in_order(config, frame_numbers(config, len(clip), parts), rng)
    x = scaled(clip[numbers], int(rng.integers(config.short[0], config.short[1] + 1)))
    top, left = (int(rng.integers(side - config.size + 1)) for side in x.shape[2:])
    x = x[..., top : top + config.size, left : left + config.size]
    if config.flip and rng.integers(2):
        x = x.flip(-1)
    if config.colour and rng.random() < config.colour:
        x = _coloured(x, *rng.uniform(-1, 1, 3))
    if config.grey and rng.random() < config.grey:
        x = x.mean(1, keepdim=True).expand_as(x)
    return to_video(x)


def _coloured(x: Tensor, light: float, saturation: float, contrast: float) -> Tensor:
    """Other colours: float [T, 3, H, W] in 0..255; all numbers in [-1, 1]. Ranges of ViViT's code."""
    x = x + 32 * light
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + 0.4 * saturation)
    mean = x.mean((0, 2, 3), keepdim=True)
    return (mean + (x - mean) * (1 + 0.4 * contrast)).clamp(0, 255)


class ClipBatches:
    """Batches of clips, all drawn alike. Raises `InputVideoError` where there are none."""

    def __init__(self, clips: Sequence[LabelledClip], config: ClipConfig, size: int, *, seed: int) -> None:
        if not clips:
            raise InputVideoError("there is no clip to train on")
        self.clips, self.config, self.size, self.seed = clips, config, size, seed
        self.all_labels = torch.tensor([clip.label for clip in clips])

    def plan(self, step: int, rank: int = 0, world: int = 1) -> list[tuple[int, int]]:
        """Clip and view of each sample; of `world` processes each has a part of the batch.

        Raises `LfqError` where the batch cannot be divided so.
        """
        if self.size % world:
            raise LfqError(f"a batch of {self.size} cannot be divided among {world} processes")
        rng = np.random.default_rng((self.seed, step))
        clips = rng.integers(len(self.clips), size=self.size)
        views = rng.integers(self.config.views or 1 << 62, size=self.size)
        share = self.size // world
        plan = [(int(clip), int(view)) for clip, view in zip(clips, views, strict=True)]
        return plan[rank * share : (rank + 1) * share]

    def labels(self, plan: Sequence[tuple[int, int]]) -> Tensor:
        """int64 [B]."""
        return self.all_labels[[clip for clip, _ in plan]]

    def read(self, plan: Sequence[tuple[int, int]]) -> Tensor:
        """float32 [B, 3, T, S, S] in [-1, 1]."""
        return torch.stack([self._view(self.clips[clip], view) for clip, view in plan])

    def _view(self, clip: LabelledClip, view: int) -> Tensor:
        name = int.from_bytes(hashlib.sha256(clip.name.encode()).digest()[:8], "little")
        return random_view(clip.load(), self.config, np.random.default_rng((name, view)))
