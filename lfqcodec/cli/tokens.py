"""`lfqcodec tokens`."""

from __future__ import annotations

import click
import numpy as np

from lfqcodec.bitstream import Limits
from lfqcodec.cli.common import limit_option, model_option, overwrite_option
from lfqcodec.codec.decode.file import open_file
from lfqcodec.errors import LfqError
from lfqcodec.output import open_output, refuse_same_file


@click.command("tokens")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT.npy")
@click.option("--stages", type=click.IntRange(min=1), help="Write fewer stages than were coded.")
@overwrite_option
@model_option
@limit_option
def command(
    source: str, dest: str, stages: int | None, overwrite: bool, model: str | None, limits: Limits
) -> None:
    """Write the tokens of IN as a NumPy array: int32 [stages, T, h, w], all chunks joined along T.

    Either may be - for standard input or output.
    """
    refuse_same_file(source, dest)
    with open_file(source, model=model, limits=limits) as file:
        chunks = [chunk.tokens for chunk in file.tokens(stages)]
    counts = {len(tokens) for tokens in chunks}
    if len(counts) > 1:
        raise LfqError(f"{source}: chunks have different numbers of stages; use --stages {min(counts)}")
    tokens = np.concatenate(chunks, 1)
    with open_output(dest, overwrite=overwrite) as out:
        np.lib.format.write_array(out, tokens, allow_pickle=False)
    click.echo(f"{dest}: int32 {list(tokens.shape)}", err=dest == "-")
