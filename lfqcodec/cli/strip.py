"""`lfqcodec strip`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.common import human_bytes, limit_option, overwrite_option
from lfqcodec.codec.repair.strip import strip


@click.command("strip")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option("--stages", type=click.IntRange(min=1), required=True, help="Stages to keep.")
@overwrite_option
@limit_option
def command(source: str, dest: str, stages: int, overwrite: bool, limits: Limits) -> None:
    """Make a smaller file of IN by leaving out its later stages. Nothing is re-encoded.

    Either may be - for standard input or output.
    """
    size = strip(source, dest, stages, overwrite=overwrite, limits=limits)
    click.echo(f"{dest}: {human_bytes(size)}", err=dest == "-")
