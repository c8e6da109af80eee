"""`lfqcodec tokens`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

from lfqcodec.codec.file import open_file
from lfqcodec.errors import LfqError
from lfqcodec.output import replacing


@click.command("tokens")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT.npy")
@click.option("--stages", type=click.IntRange(min=1), help="Write fewer stages than were coded.")
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
def command(source: str, dest: str, stages: int | None, force: bool) -> None:
    """Write the tokens of IN as a NumPy array: int32 [stages, T, h, w], all chunks joined along T."""
    with open_file(sys.stdin.buffer if source == "-" else source) as file:
        chunks = [chunk.tokens for chunk in file.tokens(stages)]
    counts = {len(tokens) for tokens in chunks}
    if len(counts) > 1:
        raise LfqError(f"{source}: chunks have different numbers of stages; use --stages {min(counts)}")
    tokens = np.concatenate(chunks, 1)
    target = Path(dest)
    with replacing(target, overwrite=force) as temporary, temporary.open("wb") as out:
        np.save(out, tokens)
    click.echo(f"{dest}: int32 {list(tokens.shape)}")
