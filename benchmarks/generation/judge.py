"""`python -m benchmarks judge`: a small classifier of real pictures or clips, to judge generated ones by.

Its last hidden layer gives features for a Fréchet distance. That is neither FID nor FVD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lfqcodec.configuration import from_values
from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.output import check_target, replacing
from lfqcodec.train.data import Entry, Pack
from lfqcodec.train.generator.config import DataConfig
from lfqcodec.train.generator.tokens import class_names
from lfqcodec.train.generator.views import middle_view, random_view, span

FEATURES = 128
_WIDTHS = (16, 32, 64, FEATURES)
_SHIFT = 2


class Network(nn.Module):
    """Four convolutions that halve the picture, the last three of them time as well."""

    def __init__(self, classes: int, frames: int) -> None:
        super().__init__()
        kernel = 3 if frames > 1 else 1
        layers: list[nn.Module] = []
        before = 3
        for number, width in enumerate(_WIDTHS):
            stride = (2 if kernel == 3 and number else 1, 2, 2)
            layers += [
                nn.Conv3d(before, width, (kernel, 3, 3), stride, (kernel // 2, 1, 1), bias=False),
                nn.BatchNorm3d(width),
                nn.GELU(),
            ]
            before = width
        self.body, self.out = nn.Sequential(*layers), nn.Linear(FEATURES, classes)

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Clips float32 [B, 3, T, S, S] in [-1, 1] to features [B, 128] and logits [B, C]."""
        features = self.body(video).mean((2, 3, 4))
        return features, self.out(features)


@dataclass(frozen=True)
class Judge:
    """A trained network, the names of its classes, and what it looks at."""

    network: Network
    classes: tuple[str, ...]
    data: DataConfig
    name: str

    @torch.no_grad()
    def look(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features float32 [B, 128] and classes int64 [B] of pictures uint8 [B, T, S, S, 3]."""
        video = torch.from_numpy(pictures).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        features, logits = self.network(video)
        return features.numpy(), logits.argmax(1).numpy()


@dataclass(frozen=True)
class Views:
    """Labelled items of a pack, as generators see them."""

    pack: Pack
    entries: list[Entry]
    labels: list[int]
    data: DataConfig

    def batches(self, size: int) -> Iterator[tuple[Tensor, list[int]]]:
        """The middle view of each item, once: float32 [B, 3, T, S, S] in [-1, 1], and classes."""
        for begin in range(0, len(self.entries), size):
            part = self.entries[begin : begin + size]
            views = [middle_view(self.pack, entry, self.data) for entry in part]
            yield torch.stack(views), self.labels[begin : begin + size]

    def drawn(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Random views of random items, moved by up to two pixels, and classes int64 [B]."""
        views, labels = [], []
        for item in rng.integers(len(self.entries), size=size):
            number = int(rng.integers(1 << 30))
            view = random_view(self.pack, self.entries[item], self.data, seed=0, number=number)
            top, left = rng.integers(2 * _SHIFT + 1, size=2)
            moved = F.pad(view, (_SHIFT,) * 4, mode="replicate")
            views.append(moved[:, :, top:, left:][:, :, : self.data.size, : self.data.size])
            labels.append(self.labels[item])
        return torch.stack(views), torch.tensor(labels)


def views_of(folder: Path, data: DataConfig) -> tuple[Views, Views, list[str]]:
    """What a labelled pack holds to train on and held out (in FOLDER-held, if it is there), and its classes.

    Raises `LfqError` where there are no labels, or no item is long enough.
    """
    pack, beside = Pack(folder), folder.with_name(f"{folder.name}-held")
    held = Pack(beside) if beside.exists() else None
    parts = (
        [(pack, pack.entries), (held, held.entries)]
        if held
        else [(pack, pack.training), (pack, pack.held_out)]
    )
    names = class_names([each for each, _ in parts])
    found: list[Views] = []
    for each, entries in parts:
        long = [entry for entry in entries if entry.frames >= span(data)]
        if not long:
            raise LfqError(
                f"{folder}: nothing {'held out' if found else 'to train on'} has {span(data)} frames"
            )
        found.append(Views(each, long, [names.index(str(entry.label)) for entry in long], data))
    return found[0], found[1], names


def accuracy(network: Network, views: Views) -> float:
    """Share of items that a network in evaluation mode gives their class."""
    right = 0
    with torch.no_grad():
        for video, labels in views.batches(64):
            right += int((network(video)[1].argmax(1) == torch.tensor(labels)).sum())
    return right / len(views.entries)


def train_judge(views: Views, classes: int, *, steps: int, batch: int, seed: int) -> Network:
    """A network trained on real items, in evaluation mode."""
    torch.manual_seed(seed)
    network = Network(classes, views.data.frames)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(steps), desc="judge", unit="step"):
        video, labels = views.drawn(batch, rng)
        loss = F.cross_entropy(network(video)[1], labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def load_judge(path: Path) -> Judge:
    """A judge of a file. Raises `WeightsError` where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("judge", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        data = from_values(DataConfig, facts["data"])
        network = Network(len(facts["classes"]), data.frames)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, LfqError) as error:
        raise WeightsError(f"{path}: not a judge ({error})") from error
    return Judge(network.eval().requires_grad_(False), tuple(facts["classes"]), data, path.stem)


@click.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--size", type=click.IntRange(min=16), default=32, show_default=True)
@click.option("--frames", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--stride", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--steps", type=click.IntRange(min=2), default=600, show_default=True)
@click.option("--batch", type=click.IntRange(min=2), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def judge(
    pack: Path, out: Path, size: int, frames: int, stride: int, steps: int, batch: int, seed: int
) -> None:
    """Train a small classifier on the labelled PACK of a generator's run, and measure it on what is held out.

    `python -m benchmarks agreement` asks it what generated samples are.
    """
    check_target(out, overwrite=True)
    data = DataConfig(size=size, frames=frames, stride=stride, crop=(1.0, 1.0), flip=False, views=1)
    training, held, names = views_of(pack, data)
    network = train_judge(training, len(names), steps=steps, batch=batch, seed=seed)
    right = accuracy(network, held)
    facts = {"classes": names, "data": asdict(data), "accuracy": right}
    with replacing(out, overwrite=True) as temporary:
        save_file(network.state_dict(), temporary, {"judge": json.dumps(facts)})
    click.echo(
        json.dumps({"accuracy": round(right, 4), "held_out": len(held.entries), "classes": len(names)})
    )
