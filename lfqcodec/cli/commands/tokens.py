"""`lfqcodec tokens`."""

from __future__ import annotations

import io

import click
import numpy as np
from numpy.typing import NDArray

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
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.progress import Progress
from lfqcodec.output import open_output, refuse_same_file


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
    refuse_same_file(source, target)
    planes: dict[str, list[NDArray[np.int32]]] = {}
    frames = 0
    with (
        open_file(source, model=model, limits=limits) as file,
        show_progress("decoding tokens", progress, quiet=quiet) as tell,
    ):
        for chunk in file.tokens():
            frames += chunk.head.valid
            tell(Progress(frames, file.header.frame_count, 0, 0.0, frames, frames))
            for group in chunk.groups:
                for name, tokens in group.items():
                    planes.setdefault(name, []).append(tokens)
    arrays = {name: np.concatenate(parts) for name, parts in planes.items()}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    with open_output(target, overwrite=overwrite) as out:
        out.write(packed.getbuffer())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if as_json:
        print_json({"file": target, "layers": shapes})
        return
    for name, shape in shapes.items():
        click.echo(f"{name}: int32 {shape}", err=target == "-")
