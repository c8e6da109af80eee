"""`lfqcodec train prior` and `lfqcodec train export-prior`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lfqcodec.cli.common import human_bytes, json_option, model_option, print_json
from lfqcodec.cli.train_options import data_options, run_options
from lfqcodec.errors import LfqError


@click.command("prior")
@data_options
@run_options
@model_option
@click.option("--init", type=click.Path(path_type=Path), help="Run of another prior to start from.")
@click.option("--steps", type=click.IntRange(min=1), default=4000, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Crops.")
@click.option("--frames", type=click.IntRange(min=1), default=4, show_default=True, help="Latent frames.")
@click.option("--size", type=click.IntRange(min=1), default=16, show_default=True, help="Tokens a side.")
@click.option("--stages", type=click.IntRange(1, 8), help="Stages to learn. Default: those of the model.")
@click.option("--width", type=int, default=160, show_default=True)
@click.option("--layers", type=int, default=3, show_default=True)
@click.option("--context-layers", type=int, default=1, show_default=True)
@click.option("--heads", type=int, default=5, show_default=True)
@click.option("--kept-frames", type=click.IntRange(1, 2), default=1, show_default=True, help="Attended to.")
@click.option("--first-steps", metavar="N,N,...", help="Schedule steps of the first latent frame, by stage.")
@click.option("--later-steps", metavar="N,N,...", help="Schedule steps of the other latent frames.")
@click.option("--learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--decay", type=int, default=500, show_default=True, help="Steps of the final decay.")
@click.option("--seed", type=int, default=0, show_default=True)
def prior(
    videos: tuple[Path, ...],
    images: tuple[Path, ...],
    pack: Path | None,
    max_frames: int,
    out: Path,
    log_every: int,
    evaluate_every: int,
    save_minutes: float,
    minutes: float | None,
    stop_after: int | None,
    device: str,
    model: str | None,
    init: Path | None,
    steps: int,
    batch: int,
    frames: int,
    size: int,
    stages: int | None,
    width: int,
    layers: int,
    context_layers: int,
    heads: int,
    kept_frames: int,
    first_steps: str | None,
    later_steps: str | None,
    learning_rate: float,
    decay: int,
    seed: int,
) -> None:
    """Train the prior of a model's tokens; the same command again goes on where it stopped.

    The first call makes the tokens once, in OUT/tokens. OUT/checkpoint.safetensors is replaced every few
    minutes, OUT/log.jsonl grows by a line an evaluation.
    """
    from lfqcodec.codec.device import pick_device
    from lfqcodec.prior.config import PriorConfig
    from lfqcodec.train import data
    from lfqcodec.train.prior.tokens import TokenStore, build_store
    from lfqcodec.train.prior.trainer import PriorTask, PriorTrainConfig, prior_loop
    from lfqcodec.weights.loading import load_tokenizer
    from lfqcodec.weights.store import resolve_model

    where = pick_device(device)
    tokenizer = resolve_model(model)
    stages = stages or tokenizer.config.stages
    if stages > tokenizer.config.stages:
        raise LfqError(f"the model has {tokenizer.config.stages} stages, not {stages}")
    folder = out / "tokens"
    if not (folder / "tokens.json").exists():
        clips = pack or out / "pack"
        if pack is None:
            data.ensure_pack(clips, videos, images, max_frames=max_frames)
        network, identity = load_tokenizer(tokenizer, where), tokenizer.sha256.hex()
        build_store(data.Pack(clips), network, identity, folder, stages=stages, max_frames=max_frames)
    store = TokenStore(folder)
    if store.tokenizer != tokenizer.sha256.hex():
        raise LfqError(f"{folder}: made with another model; remove the folder to make the tokens again")
    default = PriorConfig()
    shape = PriorConfig(
        stages=stages,
        width=width,
        layers=layers,
        context_layers=context_layers,
        heads=heads,
        kept_frames=kept_frames,
        first_steps=_by_stage(first_steps, default.first_steps, stages),
        later_steps=_by_stage(later_steps, default.later_steps, stages),
    )
    config = PriorTrainConfig(
        steps,
        batch=batch,
        frames=frames,
        size=size,
        seed=seed,
        learning_rate=learning_rate,
        decay=decay,
        model=shape,
    )
    prior_loop(PriorTask(config, store, device=where, init=init), out, minutes=minutes).run(
        record=asdict(config) | {"tokenizer": store.tokenizer},
        log_every=log_every,
        evaluate_every=evaluate_every,
        save_minutes=save_minutes,
        stop_after=stop_after,
    )


def _by_stage(text: str | None, default: tuple[int, ...], stages: int) -> tuple[int, ...]:
    """Steps for any number of stages: later ones are like the last."""
    try:
        steps = default if text is None else tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise LfqError(f"{text!r} is not a list of numbers of steps (8,6,4)") from error
    return (steps + steps[-1:] * stages)[:stages]


@click.command("export-prior")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--name", required=True, help="Name of the prior.")
@json_option
def export_prior(run: Path, dest: Path, name: str, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as integers."""
    from lfqcodec.prior.weights import save_prior
    from lfqcodec.train.prior.trainer import export_prior as export

    if dest.suffix != ".safetensors":
        raise LfqError(f"{dest}: the name of a prior's file must end in .safetensors")
    weights, metadata = export(run / "checkpoint.safetensors")
    sha256 = save_prior(dest, weights, {"name": name, **metadata}).hex()
    size = dest.stat().st_size
    if as_json:
        print_json({"name": name, "path": str(dest), "bytes": size, "sha256": sha256})
    else:
        click.echo(f"{dest}: {human_bytes(size)}, {weights.parameters} integers, sha256 {sha256}")
