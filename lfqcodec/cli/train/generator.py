"""`lfqcodec train generator` and `lfqcodec train export-generator`."""

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


@click.command("generator")
@data_options
@run_options
@export_option
@click.option(
    "--model", "tokenizer", required=True, metavar="NAME|FILE|DIR", help="Tokenizer that makes the tokens."
)
@click.option(
    "--preset",
    default="small-mlm-image",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="paper-mlm-256, paper-mlm-512, paper-mlm-k600, paper-lm-ucf101, small-mlm-image, small-mlm-video, "
    "small-mlm-predict, small-lm-video, or a file like theirs.",
)
@changes_option
@label_options
@held_option
@precision_option
@click.option(
    "--online", is_flag=True, help="Tokenize new views in every step, in place of data.views of each file."
)
@click.option(
    "--sample-every",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Write a sheet of samples, OUT/samples_STEP.png, at every N-th measurement; 0 for none.",
)
def generator(media: Media, run: Run, precision: str, **values: Any) -> None:
    """Train a generator of pictures or clips; the same command again goes on where it stopped.

    The first call decodes everything once into OUT/pack and makes tokens of it in OUT/tokens. The number of
    classes is that of the files. OUT/checkpoint.safetensors is replaced every few minutes, and OUT/log.jsonl
    grows by a line a measurement; OUT/samples_STEP.png shows what the model makes by then. Started by
    `torchrun -m lfqcodec train generator`, several processes share every batch.
    """
    from lfqcodec.codec.device import pick_device
    from lfqcodec.generate.model.store import DEFAULT_SAMPLING
    from lfqcodec.train.distributed import world_of_environment
    from lfqcodec.train.generator.config import load_preset
    from lfqcodec.train.generator.prepare import Sources, prepare_online, prepare_store
    from lfqcodec.train.generator.sheets import Sheets
    from lfqcodec.train.generator.trainer import generator_loop, generator_task
    from lfqcodec.weights.store import resolve_model

    where = pick_device(run.device)
    config = load_preset(values["preset"], values["changes"])
    if values["online"]:
        config = replace(config, data=replace(config.data, views=1))
    sources = Sources(
        media.folder(run.out),
        media.videos,
        media.images,
        held=values["held"],
        max_frames=media.max_frames,
        labels=values["labels"] if config.model.classes else None,
        skip_unlabelled=values["unlabelled"] == "skip",
    )
    model = resolve_model(values["tokenizer"])
    with world_of_environment(where.type) as world:
        store = world.leader_first(lambda: prepare_store(sources, model, config, run.out / "tokens", where))
        online = None
        if values["online"]:
            online = prepare_online(sources, model, config, store, where)
        task: Any = generator_task(
            config, store, device=where, precision=precision, world=world, online=online
        )
        if every := values["sample_every"]:
            task.sheets = Sheets(run.out, model, task.config.sampling[DEFAULT_SAMPLING], every=every)
        loop = generator_loop(task, run.out, minutes=run.minutes)
        run.go_on(loop, asdict(task.config) | {"precision": str(task.dtype), "tokenizer": store.tokenizer})
        if values["dest"] is not None and world.leads:
            _write(run.out, values["dest"], values["dest"].stem, overwrite=True)


def _write(run: Path, dest: Path, name: str, *, overwrite: bool) -> str:
    """Write the averaged weights of a run to a file; its SHA-256 in hex."""
    from lfqcodec.generate.model.weights import save_generator
    from lfqcodec.train.generator import trainer

    config, tensors, metadata = trainer.export_generator(run)
    return save_generator(dest, config, tensors, {"name": name, **metadata}, overwrite=overwrite).hex()


@click.command("export-generator")
@click.argument("run", type=_PATH)
@click.argument("dest", type=_PATH, metavar="OUT.safetensors")
@click.option("--name", help="Name of the generator, if not that of the file.")
@overwrite_option
@json_option
def export_generator(run: Path, dest: Path, name: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as a file that `lfqcodec generate` can use.

    RUN/sampling.json goes into it: how to sample, by the name of the set.
    """
    from lfqcodec.generate.model.store import read_generator

    check_file(dest, "a generator's file", overwrite=overwrite)
    name = name or dest.stem
    sha256 = _write(run, dest, name, overwrite=overwrite)
    made = read_generator(dest)
    facts = {"classes": len(made.classes), "sampling": sorted(made.samplings)}
    tell_written(dest, name, sha256, as_json=as_json, **facts)
