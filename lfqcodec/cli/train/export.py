"""`lfqcodec train export`."""

from __future__ import annotations

from pathlib import Path

import click

from lfqcodec.cli.shared.options import json_option
from lfqcodec.cli.train.options import check_name, tell_written


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--name", help="Name of the model, if not that of the file.")
@click.option("--init", type=click.Path(path_type=Path), help="Weights of phases that have not begun.")
@json_option
def export(run: Path, dest: Path, name: str | None, init: Path | None, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as a model file that encode and decode can use.

    Of a run of `train motion` also what further training starts from, OUT.rates.safetensors beside it.
    """
    from lfqcodec.train.motion.start import export_run, is_run
    from lfqcodec.train.tokenizer.trainer import export_tokenizer
    from lfqcodec.weights.loading import save_tokenizer
    from lfqcodec.weights.store import read_model

    check_name(dest, "a model file")
    name = name or dest.stem
    if is_run(run):
        export_run(run, dest, name, init)
    else:
        config, tensors = export_tokenizer(run / "checkpoint.safetensors")
        save_tokenizer(dest, config, tensors, {"name": name})
    tell_written(dest, name, read_model(dest).sha256.hex(), as_json=as_json)
