"""`lfqcodec tokens`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.shared.names import output_of
from lfqcodec.cli.shared.options import (
    json_option,
    limit_option,
    model_option,
    overwrite_option,
    progress_options,
)
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import print_json
from lfqcodec.codec.decode.tokens import save_tokens


@click.command("tokens")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="[OUT.npz]", required=False)
@overwrite_option
@progress_options
@json_option
@model_option
@limit_option
def command(
    source: str,
    dest: str | None,
    overwrite: bool,
    progress: str,
    quiet: bool,
    as_json: bool,
    model: str | None,
    limits: Limits,
) -> None:
    """Write the tokens of IN as NumPy arrays, one for each layer by its name.

    int32 [n, rows, columns], n planes in coding order: one for each picture that has the layer. Either may be
    - for standard input or output; without OUT.npz, clip.lfq becomes clip.npz.
    """
    target = output_of(dest, source, ".npz", as_json=as_json)
    with show_progress("decoding tokens", progress, quiet=quiet) as tell:
        written = save_tokens(source, target, model=model, limits=limits, overwrite=overwrite, progress=tell)
    if as_json:
        print_json({"file": target, "layers": written.shapes})
        return
    for name, shape in written.shapes.items():
        click.echo(f"{name}: int32 {shape}", err=target == "-")
