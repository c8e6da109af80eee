"""`lfqcodec train rates`."""

from __future__ import annotations

from pathlib import Path

import click

from lfqcodec.cli.common import json_option, model_option, print_json


@click.command("rates")
@click.argument("prior", type=click.Path(path_type=Path), metavar="PRIOR.safetensors")
@click.option("--pack", type=click.Path(path_type=Path), required=True, help="Pack of a tokenizer's run.")
@click.option("--default-crf", type=click.FloatRange(0, 63), default=32.0, show_default=True)
@click.option("--clips", type=click.IntRange(min=1), default=8, show_default=True, help="Clips to measure.")
@model_option
@json_option
def rates(prior: Path, pack: Path, default_crf: float, clips: int, model: str | None, as_json: bool) -> None:
    """Measure what --crf and --bitrate need to know of a model and its PRIOR; written beside the prior."""
    from lfqcodec.codec.device import pick_device
    from lfqcodec.train.data import Pack
    from lfqcodec.train.prior.rates import make_rates
    from lfqcodec.weights.loading import load_network, load_tokenizer
    from lfqcodec.weights.rates import save_rates
    from lfqcodec.weights.store import read_prior, resolve_model

    cpu = pick_device("cpu")
    tokenizer, file = resolve_model(model), read_prior(prior)
    table, points = make_rates(
        load_tokenizer(tokenizer, cpu),
        load_network(file, cpu),
        tokenizer,
        file,
        Pack(pack),
        default_crf=default_crf,
        clips=clips,
    )
    path = save_rates(prior, table)
    if as_json:
        print_json({"path": str(path), "dropped": table.dropped, "points": [vars(p) for p in points]})
        return
    click.echo(f"{path}: stages 2 to {len(table.dropped) + 1} are given up from crf {table.dropped} on")
