"""`lfqcodec train prior` and `lfqcodec train export-prior`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lfqcodec.cli.shared.options import json_option, model_option
from lfqcodec.cli.train.options import Media, Run, check_name, data_options, run_options, tell_written
from lfqcodec.errors import LfqError

_RATE = 4e-3


@click.command("prior")
@data_options
@run_options
@model_option
@click.option("--gops", type=click.IntRange(min=1), default=400, show_default=True, help="To code.")
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="To code by themselves, besides.",
)
@click.option("--init", metavar="NAME|FILE", help="Prior to start from: of a model that is nearly the same.")
@click.option("--steps", type=click.IntRange(min=1), default=2000, show_default=True)
@click.option(
    "--batch", type=click.IntRange(min=1), default=1024, show_default=True, help="Positions of a network."
)
@click.option("--width", type=int, default=64, show_default=True, help="Of the networks for tokens.")
@click.option("--block-width", type=int, default=32, show_default=True, help="Of those for depth and motion.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="[default: 0.004; with --init 0.001]",
)
@click.option("--seed", type=int, default=0, show_default=True)
def prior(
    media: Media,
    run: Run,
    model: str | None,
    gops: int,
    pictures: int,
    init: str | None,
    steps: int,
    batch: int,
    width: int,
    block_width: int,
    learning_rate: float | None,
    seed: int,
) -> None:
    """Train the prior of a model's tokens; the same command again goes on where it stopped.

    The first call codes clips as encode does, at many qualities, and keeps their tokens in OUT/tokens; for
    that --device is. OUT/checkpoint.safetensors is replaced every few minutes, OUT/log.jsonl grows by a line
    an evaluation.
    """
    from lfqcodec.codec.models import load_group_tokenizer, motion_config
    from lfqcodec.prior.motion.config import MotionPriorConfig
    from lfqcodec.prior.motion.weights import load_motion_prior
    from lfqcodec.train import data
    from lfqcodec.train.prior.motion.tokens import TokenStore, build_store
    from lfqcodec.train.prior.motion.trainer import (
        NEW_FASTER,
        MotionPriorTask,
        MotionPriorTrainConfig,
        motion_prior_loop,
    )
    from lfqcodec.weights.store import resolve_model, resolve_prior

    clips = media.folder(run.out)
    tokenizer = resolve_model(model)
    layers = motion_config(tokenizer).layout.counts
    identity = tokenizer.sha256.hex()
    folder = run.out / "tokens"
    if not (folder / "tokens.json").exists():
        media.ensure_pack(clips)
        network = load_group_tokenizer(tokenizer, run.device)
        build_store(data.Pack(clips), network, identity, folder, gops=gops, pictures=pictures)
    store = TokenStore(folder)
    if store.tokenizer != identity:
        raise LfqError(f"{folder}: made with another model; remove the folder to make the tokens again")
    config = MotionPriorTrainConfig(
        steps,
        batch=batch,
        seed=seed,
        learning_rate=learning_rate or (_RATE if init is None else _RATE / NEW_FASTER),
        model=MotionPriorConfig(
            intra_layers=layers.intra,
            anchor_layers=layers.anchor,
            between_layers=layers.between,
            width=width,
            block_width=block_width,
        ),
    )
    start = None if init is None else load_motion_prior(resolve_prior(init).path)
    loop = motion_prior_loop(MotionPriorTask(config, store, start), run.out, minutes=run.minutes)
    run.go_on(loop, asdict(config) | {"tokenizer": store.tokenizer})


@click.command("export-prior")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--name", required=True, help="Name of the prior.")
@json_option
def export_prior(run: Path, dest: Path, name: str, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as integers."""
    from lfqcodec.prior.motion.weights import save_motion_prior
    from lfqcodec.train.prior.motion.trainer import export_motion_prior

    check_name(dest, "a prior's file")
    weights, metadata = export_motion_prior(run / "checkpoint.safetensors")
    sha256 = save_motion_prior(dest, weights, {"name": name, **metadata}).hex()
    tell_written(dest, name, sha256, as_json=as_json)
