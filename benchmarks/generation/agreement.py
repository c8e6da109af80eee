"""`python -m benchmarks agreement`: do samples look to a judge like the class that was asked for?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.generation.frechet import Accumulator, frechet_distance
from benchmarks.generation.judge import FEATURES, Judge, load_judge, views_of
from lfqcodec.codec.device import pick_device
from lfqcodec.errors import LfqError
from lfqcodec.generate.model.store import resolve_generator, tokenizer_of
from lfqcodec.generate.request import choose_sampling, make_request
from lfqcodec.generate.sampler import Sampler
from lfqcodec.output import check_target
from lfqcodec.train.generator.tokens import TokenStore

_BATCH = 50


class Opinion:
    """What a judge says of samples: how often it agrees, and the moments of its features."""

    def __init__(self, judge: Judge) -> None:
        self._judge, self.sums = judge, Accumulator(FEATURES)
        self._right = np.zeros((len(judge.classes), 2), np.int64)

    def add(self, pictures: NDArray[np.uint8], labels: list[int]) -> None:
        """Samples uint8 [B, T, H, W, 3], and the classes they should have."""
        features, found = self._judge.look(pictures)
        self.sums.add(features)
        wanted = np.array(labels)
        np.add.at(self._right, (wanted, (found == wanted).astype(int)), 1)

    def row(self) -> dict[str, Any]:
        """The share of samples that it agrees with, of all and by class."""
        each = self._right[:, 1] / np.maximum(1, self._right.sum(1))
        names = self._judge.classes
        return {
            "samples": self.sums.count,
            "agreement": round(float(self._right[:, 1].sum() / self.sums.count), 4),
            "by_class": {name: round(float(x), 3) for name, x in zip(names, each, strict=True)},
        }


def _real(judge: Judge, pack: Path, count: int) -> Iterator[tuple[NDArray[np.uint8], list[int]]]:
    """At most `count` held-out items, uint8 [B, T, S, S, 3], and their classes."""
    _, held, names = views_of(pack, judge.data)
    if tuple(names) != judge.classes:
        raise LfqError(f"{pack}: has other classes than the judge {judge.name}")
    order = np.random.default_rng(0).permutation(len(held.entries))[:count]
    chosen = replace(held, entries=[held.entries[k] for k in order], labels=[held.labels[k] for k in order])
    for video, labels in chosen.batches(_BATCH):
        pictures = ((video + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
        yield np.ascontiguousarray(pictures), labels


@click.command()
@click.argument("model")
@click.option(
    "--features", type=click.Path(path_type=Path), required=True, help="File of `benchmarks judge`."
)
@click.option(
    "--pack", type=click.Path(path_type=Path), required=True, help="Labelled pack with the real items."
)
@click.option("--store", type=click.Path(path_type=Path), help="RUN/tokens: are samples copies of its items?")
@click.option(
    "--count", type=click.IntRange(min=2), default=1000, show_default=True, help="Samples of each row."
)
@click.option(
    "--sampling", "sets", multiple=True, metavar="SET[,field=value...]", help="A row; may be repeated."
)
@click.option("--tokenizer", metavar="NAME|FILE|DIR", help="Tokenizer of MODEL, if it is not beside it.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file, in place of standard output.")
def agreement(
    model: str,
    features: Path,
    pack: Path,
    store: Path | None,
    count: int,
    sets: tuple[str, ...],
    tokenizer: str | None,
    seed: int,
    device: str,
    out: Path | None,
) -> None:
    """How often a judge gives samples of the generator MODEL the class that was asked for.

    Beside them: held-out items of PACK, and what the tokenizer makes of them. The Fréchet distance to the
    held-out items is in features of the judge: it is no FID and no FVD. "copies" are samples with exactly the
    tokens of an item that was trained on. `--sampling guided,steps=4` changes fields of a set.
    """
    generator = resolve_generator(model)
    network = tokenizer_of(generator, tokenizer)
    ruler = load_judge(features)
    if generator.classes != ruler.classes:
        raise LfqError(f"{generator.name}: has other classes than the judge {ruler.name}")
    if out is not None:
        check_target(out, overwrite=True)
    chosen = {name: choose_sampling(generator, *_changes(name)) for name in sets or ("default",)}
    sampler = Sampler(generator, network, pick_device(device))
    trained = set[bytes]()
    if store is not None:
        tokens = TokenStore(store)
        trained = {
            tokens.tokens[k].tobytes()
            for item in tokens.items
            if not item.held_out
            for k in range(item.first, item.first + item.views)
        }
    opinions = {"held out": Opinion(ruler), "tokenizer": Opinion(ruler)}
    errors: list[float] = []
    for pictures, labels in _real(ruler, pack, count):
        again = np.stack([sampler.reconstructed(each) for each in pictures])
        errors += list(np.square(again.astype(np.float64) - pictures).mean((1, 2, 3, 4)))
        opinions["held out"].add(pictures, labels)
        opinions["tokenizer"].add(again, labels)
    rows = {name: opinion.row() for name, opinion in opinions.items()}
    rows["tokenizer"]["psnr"] = round(float(10 * np.log10(255**2 / np.mean(errors))), 2)
    for name, settings in chosen.items():
        opinion, copies = Opinion(ruler), 0
        request = make_request(generator, settings, count=count, seed=seed)
        bar = tqdm(total=count, desc=name, unit="sample")
        for part in sampler.samples(request, batch=_BATCH):
            opinion.add(part.pictures, list(part.labels))
            copies += sum(each.tobytes() in trained for each in part.tokens)
            bar.update(len(part.labels))
        bar.close()
        opinions[name] = opinion
        rows[name] = opinion.row() | {"sampling": json.loads(settings.to_json())}
        if store is not None:
            rows[name]["copies"] = round(copies / count, 4)
    real = opinions["held out"].sums
    if not real.full_rank:
        click.echo(
            f"note: {real.count} real items for {FEATURES} dimensions: distances are far too large", err=True
        )
    for name, opinion in opinions.items():
        rows[name]["frechet"] = round(frechet_distance(opinion.sums.moments(), real.moments()), 3)
    result = {
        "generator": {"name": generator.name, "sha256": generator.sha256.hex()},
        "tokenizer": network.sha256.hex(),
        "frechet": f"Fréchet distance in features of {ruler.name}",
        "seed": seed,
        "rows": rows,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n")


def _changes(text: str) -> tuple[str, dict[str, Any]]:
    """A set and changes of its fields, of `guided,steps=4`."""
    # A comma inside of a list is followed by a number.
    name, *changes = re.split(r",(?=[a-z_]+=)", text)
    try:
        values = {key: json.loads(value) for key, value in (each.split("=") for each in changes)}
        return name, {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not SET,field=value") from error
