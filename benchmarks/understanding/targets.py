"""`python -m benchmarks targets`: does pre-training on tokens help where few clips have labels?"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.machine import describe
from lfqcodec.codec.device import pick_device
from lfqcodec.generate.pictures import magvit2_config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.generator.prepare import Sources
from lfqcodec.train.understand.actions import ActionTask
from lfqcodec.train.understand.clips import ClipSet, clips_of, few
from lfqcodec.train.understand.config import ActionConfig, load_actions, load_masked_video
from lfqcodec.train.understand.masked_video import MaskedVideoTask, Targets, check_targets
from lfqcodec.train.understand.task import clip_loop
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import resolve_model

_ARMS = {
    "pre-trained": "pre-trained, fine-tuned",
    "scratch": "from scratch, as many steps",
    "scratch-long": "from scratch, more steps",
    "shuffled": "pre-trained, frames in random order",
}


def summary(scores: dict[str, list[float]]) -> dict[str, Any]:
    """Means and deviations of accuracies in percent by arm, a number for each seed; and the margin.

    The margin is the pre-trained mean over that of the better one from scratch, in points, with the standard
    error of the difference of the two means.
    """
    rows = {
        arm: {"mean": round(float(np.mean(each)), 2), "deviation": round(float(np.std(each, ddof=1)), 2)}
        if len(each) > 1
        else {"mean": round(each[0], 2), "deviation": None}
        for arm, each in scores.items()
    }
    best = max(("scratch", "scratch-long"), key=lambda arm: float(np.mean(scores[arm])))
    both = [np.array(scores[arm]) for arm in ("pre-trained", best)]
    error = None
    if len(both[0]) > 1:
        error = round(float(sum(each.var(ddof=1) / len(each) for each in both) ** 0.5), 2)
    margin = round(float(both[0].mean() - both[1].mean()), 2)
    return {"arms": rows, "better_scratch": best, "margin": margin, "standard_error": error}


def table(found: dict[str, Any], seeds: int) -> str:
    """What was found, as text."""
    lines = [f"{'':<38}{'top-1':>7}   deviation of {seeds} seeds"]
    for arm, row in found["arms"].items():
        deviation = "" if row["deviation"] is None else f"{row['deviation']:>9.1f}"
        lines.append(f"{_ARMS[arm]:<38}{row['mean']:>7.1f}{deviation}")
    error = "" if found["standard_error"] is None else f", standard error {found['standard_error']:.1f}"
    lines.append(f"margin over the better one from scratch: {found['margin']:.1f} points{error}")
    return "\n".join(lines)


def _accuracy(
    config: ActionConfig, clips: ClipSet, out: Path, init: Path | None, device: torch.device
) -> float:
    """Train a classifier, or go on; its accuracy over all held-out clips."""
    task = ActionTask(config, clips, init=init, device=device, precision="fp32")
    loop = clip_loop(task, out)
    loop.run(record={}, log_every=100, evaluate_every=config.steps)
    return task.measured(loop.average, clips.held_out)["top1"]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with train and held.")
@click.option(
    "--model", "tokenizer", metavar="NAME|FILE|DIR", required=True, help="Tokenizer of the targets."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of runs and targets.json."
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--per-class", type=click.IntRange(min=1), default=2, show_default=True, help="Labelled clips.")
@click.option("--long", type=click.IntRange(min=1), help="Steps of the long run from scratch.")
@click.option("--pre", multiple=True, metavar="KEY=VALUE", help="Change small-bevt.")
@click.option("--tune", multiple=True, metavar="KEY=VALUE", help="Change small-bevt-finetune.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def targets(
    data: Path,
    tokenizer: str,
    out: Path,
    seeds: int,
    per_class: int,
    long: int | None,
    pre: tuple[str, ...],
    tune: tuple[str, ...],
    device: str,
) -> None:
    """Train classifiers on few labelled clips, with and without pre-training on tokens of all clips.

    The long run from scratch has as many steps as pre-training and fine-tuning together. The last arm sees
    frames in random order: what it reaches is known without time. The same command goes on.
    """
    began = time.monotonic()
    where = pick_device(device)
    model = resolve_model(tokenizer)
    before = load_masked_video("small-bevt", pre)
    check_targets(before, magvit2_config(model.config, model.path))
    network = load_tokenizer(model, where)
    assert isinstance(network, Magvit2Tokenizer)
    kept = Targets(network, before.target_size)
    clips = clips_of(Sources(out / "pack", (data / "train",), (), held=data / "held", labels="folder"))
    scores: dict[str, list[float]] = {arm: [] for arm in _ARMS}
    masked: list[dict[str, float]] = []
    for seed in range(seeds):
        folder = out / f"seed{seed}"
        config = replace(before, seed=seed)
        task = MaskedVideoTask(
            *(config, clips.training, clips.held_out, kept, model.sha256.hex()),
            device=where,
            precision="fp32",
        )
        loop = clip_loop(task, folder / "masked-video")
        loop.run(record={}, log_every=100, evaluate_every=config.steps)
        masked.append(task.held_out(loop.average) | {"frequent": round(task.frequent(), 4)})
        labelled = replace(clips, training=few(clips.training, per_class, seed))
        tuned = replace(load_actions("small-bevt-finetune", tune), seed=seed)
        longer = replace(tuned, steps=long or config.steps + tuned.steps)
        blind = replace(tuned, clip=replace(tuned.clip, order="shuffled"))
        init = folder / "masked-video"
        for arm, own, start in (
            ("pre-trained", tuned, init),
            ("scratch", tuned, None),
            ("scratch-long", longer, None),
            ("shuffled", blind, init),
        ):
            scores[arm].append(_accuracy(own, labelled, folder / arm, start, where))
        click.echo(
            f"seed {seed}: " + ", ".join(f"{arm} {each[-1]}" for arm, each in scores.items()), err=True
        )
    found = summary(scores)
    click.echo(table(found, seeds))
    for row in masked:
        click.echo(
            f"masked subtokens right: {row['accuracy']:.3f}, always the commonest: {row['frequent']:.3f}"
        )
    facts = found | {
        "scores": scores,
        "masked": masked,
        "per_class": per_class,
        "changes": {"small-bevt": pre, "small-bevt-finetune": tune},
        "clips": [len(clips.training), len(clips.held_out)],
        "tokenizer": model.sha256.hex(),
        "seconds": round(time.monotonic() - began),
        "machine": describe(),
    }
    (out / "targets.json").write_text(json.dumps(facts, indent=2) + "\n")
