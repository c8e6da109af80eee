"""`lfqcodec train masked-video`, `train actions` and `train export-actions`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from lfqcodec.cli.shared.options import json_option, overwrite_option
from lfqcodec.cli.train.options import (
    Media,
    Run,
    changes_option,
    check_file,
    data_options,
    export_option,
    held_option,
    label_options,
    precision_option,
    run_options,
    tell_written,
)

_PATH = click.Path(path_type=Path)


@click.command("masked-video")
@data_options
@run_options
@changes_option
@held_option
@precision_option
@click.option(
    "--model", "tokenizer", required=True, metavar="NAME|FILE|DIR", help="Tokenizer that makes the targets."
)
@click.option(
    "--preset",
    default="small-bevt",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="paper-bevt-pretrain, small-bevt, or a file like theirs.",
)
def masked_video(media: Media, run: Run, precision: str, **values: Any) -> None:
    """Train an encoder of clips to predict the tokens of what is masked; the same command goes on.

    No labels are needed. `train actions --init OUT` makes a classifier of it.
    """
    from lfqcodec.codec.device import pick_device
    from lfqcodec.generate.pictures import magvit2_config
    from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
    from lfqcodec.train.distributed import world_of_environment
    from lfqcodec.train.generator.prepare import Sources
    from lfqcodec.train.understand.clips import clips_of
    from lfqcodec.train.understand.config import load_masked_video
    from lfqcodec.train.understand.masked_video import MaskedVideoTask, Targets, check_targets
    from lfqcodec.train.understand.task import clip_loop
    from lfqcodec.weights.loading import load_tokenizer
    from lfqcodec.weights.store import resolve_model

    where = pick_device(run.device)
    config = load_masked_video(values["preset"], values["changes"])
    model = resolve_model(values["tokenizer"])
    check_targets(config, magvit2_config(model.config, model.path))
    sources = Sources(media.folder(run.out), media.videos, (), values["held"], media.max_frames)
    with world_of_environment(where.type) as world:
        clips = world.leader_first(lambda: clips_of(sources))
        network = load_tokenizer(model, where)
        assert isinstance(network, Magvit2Tokenizer)
        task = MaskedVideoTask(
            config,
            clips.training,
            clips.held_out,
            Targets(network, config.target_size),
            model.sha256.hex(),
            device=where,
            precision=precision,
            world=world,
        )
        frequent = {"frequent": round(task.frequent(), 4)} if clips.held_out and world.leads else {}
        record = asdict(config) | {"precision": str(task.dtype), "tokenizer": model.sha256.hex()} | frequent
        run.go_on(clip_loop(task, run.out, minutes=run.minutes), record)


@click.command("actions")
@data_options
@run_options
@changes_option
@held_option
@precision_option
@export_option
@click.option("--init", type=_PATH, metavar="RUN", help="Run of `train masked-video` to start from.")
@click.option(
    "--preset",
    default="small-vivit",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="paper-bevt-finetune, paper-vivit-k400, paper-vivit-k600, paper-vivit-ssv2, small-bevt-finetune, "
    "small-vivit, or a file like theirs.",
)
@label_options
@click.option("--per-class", type=click.IntRange(min=1), help="Train on so many clips of each class only.")
def actions(media: Media, run: Run, precision: str, **values: Any) -> None:
    """Train a classifier of clips; the same command again goes on where it stopped.

    Without --init it starts from scratch. The first call decodes everything once into OUT/pack.
    """
    from lfqcodec.codec.device import pick_device
    from lfqcodec.train.distributed import world_of_environment
    from lfqcodec.train.generator.prepare import Sources
    from lfqcodec.train.understand.actions import ActionTask
    from lfqcodec.train.understand.clips import clips_of, few
    from lfqcodec.train.understand.config import load_actions
    from lfqcodec.train.understand.task import clip_loop

    where = pick_device(run.device)
    config = load_actions(values["preset"], values["changes"])
    sources = Sources(
        media.folder(run.out),
        media.videos,
        (),
        held=values["held"],
        max_frames=media.max_frames,
        labels=values["labels"],
        skip_unlabelled=values["unlabelled"] == "skip",
    )
    with world_of_environment(where.type) as world:
        clips = world.leader_first(lambda: clips_of(sources))
        if values["per_class"] is not None:
            clips = replace(clips, training=few(clips.training, values["per_class"], config.seed))
        task = ActionTask(config, clips, init=values["init"], device=where, precision=precision, world=world)
        loop = clip_loop(task, run.out, minutes=run.minutes)
        run.go_on(loop, asdict(config) | {"precision": str(task.dtype), "clips": len(clips.training)})
        if values["dest"] is not None and world.leads:
            _write(run.out, values["dest"], values["dest"].stem, overwrite=True)


def _write(run: Path, dest: Path, name: str, *, overwrite: bool) -> str:
    """Write the averaged weights of a run to a file; its SHA-256 in hex."""
    from lfqcodec.train.understand.actions import export_classifier
    from lfqcodec.understand.weights import save_classifier

    config, clip, classes, tensors, steps = export_classifier(run)
    metadata = {"name": name, "steps": steps}
    return save_classifier(dest, config, clip, classes, tensors, metadata, overwrite=overwrite).hex()


@click.command("export-actions")
@click.argument("run", type=_PATH)
@click.argument("dest", type=_PATH, metavar="OUT.safetensors")
@click.option("--name", help="Name of the classifier, if not that of the file.")
@overwrite_option
@json_option
def export_actions(run: Path, dest: Path, name: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as a file that `python -m benchmarks actions` can use."""
    from lfqcodec.understand.store import read_classifier

    check_file(dest, "a classifier's file", overwrite=overwrite)
    name = name or dest.stem
    sha256 = _write(run, dest, name, overwrite=overwrite)
    classes = len(read_classifier(dest).classes)
    tell_written(dest, name, sha256, as_json=as_json, classes=classes)
