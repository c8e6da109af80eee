"""`lfqcodec train tokenizer`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import click

from lfqcodec.cli.train.options import (
    Media,
    Run,
    data_options,
    export_option,
    precision_option,
    run_options,
)
from lfqcodec.errors import LfqError

log = logging.getLogger(__name__)


@click.command("tokenizer")
@data_options
@run_options
@export_option
@click.option(
    "--preset",
    default="paper-video",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="paper-video, paper-image-16x, paper-image-32x, small-image, small-video, or a file like theirs.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field: --set losses.gan=0.2"
)
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="STEPS:BATCHxFRAMESxSIZE",
    help="A part of the schedule, instead of the preset's; may be repeated.",
)
@click.option("--init", help="Model to start from: a name or a .safetensors file.")
@click.option(
    "--lpips",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LFQCODEC_LPIPS",
    help="Weights of LPIPS (safetensors). Without them the perceptual loss is left out.",
)
@precision_option
def tokenizer(
    media: Media,
    run: Run,
    preset: str,
    changes: tuple[str, ...],
    phases: tuple[str, ...],
    init: str | None,
    lpips: Path | None,
    precision: str,
    dest: Path | None,
) -> None:
    """Train on folders of videos and pictures; the same command again goes on where it stopped.

    The first call decodes everything once into OUT/pack. OUT/checkpoint.safetensors is replaced every few
    minutes, OUT/log.jsonl grows by a line an evaluation. Started by `torchrun -m lfqcodec train tokenizer`,
    several processes share every batch.
    """
    from lfqcodec.codec.device import pick_device
    from lfqcodec.train import data
    from lfqcodec.train.distributed import world_of_environment
    from lfqcodec.train.loop import CHECKPOINT
    from lfqcodec.train.lpips import load_lpips
    from lfqcodec.train.tokenizer.config import load_preset
    from lfqcodec.train.tokenizer.trainer import TokenizerTask, export_tokenizer, tokenizer_loop
    from lfqcodec.weights.loading import load_tokenizer, save_tokenizer
    from lfqcodec.weights.store import resolve_model

    folder = media.folder(run.out)
    where = pick_device(run.device)
    config = load_preset(preset, [*changes, *([f"phases={list(phases)}"] if phases else [])])
    network = None
    if config.losses.perceptual:
        if lpips is None:
            log.warning("no --lpips: the perceptual loss is left out")
        else:
            network = load_lpips(lpips)
    start = None
    if init is not None:
        model = resolve_model(init)
        if model.config != config.model:
            raise LfqError(f"{init}: has another shape than the preset's model")
        start = load_tokenizer(model, pick_device("cpu")).state_dict()
    with world_of_environment(where.type) as world:
        if world.leads:
            media.ensure_pack(folder)
        world.wait()
        task = TokenizerTask(
            config,
            data.Pack(folder),
            device=where,
            precision=precision,
            lpips=network,
            init=start,
            world=world,
        )
        loop = tokenizer_loop(task, run.out, minutes=run.minutes)
        run.go_on(loop, asdict(config) | {"precision": str(task.dtype)})
        if dest is not None and world.leads:
            save_tokenizer(dest, *export_tokenizer(run.out / CHECKPOINT), {"name": dest.stem})
