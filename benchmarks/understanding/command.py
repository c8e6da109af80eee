"""`python -m benchmarks actions`: what a classifier of real clips makes of coded ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.understanding.through import LfqFiles, Way, equal_bits, way_of
from lfqcodec.codec.device import pick_device
from lfqcodec.errors import LfqError
from lfqcodec.generate.pictures import magvit2_config
from lfqcodec.output import check_target
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.data.labels import labels_of
from lfqcodec.train.data.sources import gather_media
from lfqcodec.train.understand.actions import ranks_of
from lfqcodec.understand.config import ClipConfig
from lfqcodec.understand.store import resolve_classifier
from lfqcodec.understand.views import measured_views
from lfqcodec.understand.weights import VideoClassifier, load_classifier
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import resolve_model

_RESAMPLES = 2000


@dataclass(frozen=True)
class Judge:
    """A classifier, and which views of a clip it sees."""

    model: VideoClassifier
    clip: ClipConfig
    device: torch.device
    segments: int
    crops: int

    def measure(self, way: Way, files: Sequence[tuple[Path, int]]) -> Measured:
        """Rank of the true class of each file, and what it took."""
        ranks, bits, pixels, rates = list[int](), 0, 0, list[float]()
        for path, label in tqdm(files, desc=way.name, unit="clip", leave=False):
            pictures, taken = way.clip(path)
            if taken is not None:
                bits, pixels = bits + taken, pixels + pictures[..., 0].size
            views = []
            for view in measured_views(self.clip, pictures, self.segments, self.crops):
                changed, rate = way.view(view)
                views.append(changed)
                rates += [] if rate is None else [rate]
            ranks += ranks_of(self.model, [views], [label], self.device)
        bpp = bits / pixels if pixels else (float(np.mean(rates)) if rates else None)
        return Measured(way.name, np.array(ranks), bits, bpp)


@dataclass(frozen=True)
class Measured:
    """What came of one way: a rank for each clip (0: the true class is the likeliest), bits in all."""

    name: str
    ranks: np.ndarray[Any, np.dtype[np.int64]]
    bits: int
    bpp: float | None

    def row(self, pixels: Measured) -> dict[str, Any]:
        """Accuracies in percent, and what is lost against pixels in points, with a paired interval of 95%."""
        right = self.ranks == 0
        loss = (pixels.ranks == 0).astype(float) - right
        rng = np.random.default_rng(0)
        means = loss[rng.integers(len(loss), size=(_RESAMPLES, len(loss)))].mean(1)
        low, high = np.percentile(100 * means, (2.5, 97.5))
        return {
            "through": self.name,
            "bits_per_pixel": None if self.bpp is None else round(self.bpp, 5),
            "top1": round(100 * float(right.mean()), 2),
            "top5": round(100 * float((self.ranks < 5).mean()), 2),
            "drop": round(100 * float(loss.mean()), 2),
            "interval": [round(float(low), 2), round(float(high), 2)],
        }


def labelled_files(
    data: Path, labels: str, classes: Sequence[str], count: int | None
) -> list[tuple[Path, int]]:
    """Files below a folder and the numbers of their classes; of `count` as many of each class as can be.

    Raises `LfqError` for a class that the classifier does not know.
    """
    known = labels_of(labels, [data], gather_media([data], []))
    numbers = {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(known.values()) - numbers.keys()):
        raise LfqError(f"the classifier knows no class {unknown[0]!r}")
    turns: dict[str, int] = {}
    order = []
    for path, label in sorted(known.items()):
        turns[label] = turns.get(label, -1) + 1
        order.append((turns[label], numbers[label], path))
    return [(path, number) for _, number, path in sorted(order)[:count]]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as text."""
    lines = [f"{'through':<22}{'bits/pixel':>11}{'top-1':>8}{'top-5':>8}{'lost':>7}   95%"]
    for row in rows:
        bits = "" if row["bits_per_pixel"] is None else f"{row['bits_per_pixel']:.4f}"
        low, high = row["interval"]
        numbers = f"{row['top1']:>8.1f}{row['top5']:>8.1f}{row['drop']:>7.1f}   {low:.1f} to {high:.1f}"
        lines.append(f"{row['through']:<22}{bits:>11}{numbers}")
    return "\n".join(lines)


@click.command()
@click.argument("classifier")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of labelled clips.")
@click.option("--labels", default="folder", show_default=True, metavar="folder|FILE.csv")
@click.option(
    "--through",
    default="pixels,tokens,lfq:crf=20,lfq:crf=35",
    show_default=True,
    help="Ways for clips, with commas: pixels, tokens, lfq:crf=N, x265:crf=N.",
)
@click.option("--equal/--no-equal", default=False, help="Beside each lfq, x265 medium at as many bits.")
@click.option("--model", "tokenizer", metavar="NAME|FILE|DIR", help="Tokenizer of `tokens`.")
@click.option("--codec-model", metavar="NAME|FILE|DIR", help="Model of `lfq`, if not the default one.")
@click.option("--count", type=click.IntRange(min=1), help="Clips to take, instead of all.")
@click.option("--segments", type=click.IntRange(min=1), default=1, show_default=True, help="Views in time.")
@click.option("--crops", type=click.IntRange(min=1), default=1, show_default=True, help="Views in space.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file with the figures.")
def actions(
    classifier: str,
    data: Path,
    labels: str,
    through: str,
    equal: bool,
    tokenizer: str | None,
    codec_model: str | None,
    count: int | None,
    segments: int,
    crops: int,
    device: str,
    out: Path | None,
) -> None:
    """Accuracy of CLASSIFIER, which was trained on pixels, on clips that were coded.

    Bits are those of whole files over the pixels of whole clips; of `tokens` those of a view, uncoded. What
    is lost is against pixels, with an interval of 95% over clips.
    """
    found, where = resolve_classifier(classifier), pick_device(device)
    if out is not None:
        check_target(out, overwrite=True)
    network: Magvit2Tokenizer | None = None
    if tokenizer is not None:
        chosen = resolve_model(tokenizer)
        magvit2_config(chosen.config, chosen.path)
        loaded = load_tokenizer(chosen, where)
        assert isinstance(loaded, Magvit2Tokenizer)
        network = loaded
    files = labelled_files(data, labels, found.classes, count)
    judge = Judge(load_classifier(found, where), found.clip, where, segments, crops)
    with tempfile.TemporaryDirectory(prefix="lfqcodec-actions-") as folder:
        ways = [way_of(each, network, codec_model, Path(folder)) for each in through.split(",")]
        pixels = judge.measure(Way(), files)
        rows = []
        for way in ways:
            measured = pixels if type(way) is Way else judge.measure(way, files)
            rows.append(measured.row(pixels))
            if equal and isinstance(way, LfqFiles):
                other = equal_bits([path for path, _ in files], measured.bits, Path(folder))
                rows.append(judge.measure(other, files).row(pixels))
    click.echo(table(rows))
    if out is not None:
        facts = {
            "classifier": {"name": found.name, "sha256": found.sha256.hex()},
            "tokenizer": None if tokenizer is None else resolve_model(tokenizer).sha256.hex(),
            "clips": len(files),
            "views": [segments, crops],
            "rows": rows,
            "machine": describe(),
        }
        out.write_text(json.dumps(facts, indent=2) + "\n")
