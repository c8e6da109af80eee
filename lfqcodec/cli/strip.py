"""`lfqcodec strip`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.common import human_bytes, limit_option
from lfqcodec.codec.strip import strip


@click.command("strip")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option("--stages", type=click.IntRange(min=1), required=True, help="Stages to keep.")
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
@limit_option
def command(source: str, dest: str, stages: int, force: bool, limits: Limits) -> None:
    """Make a smaller file of IN by leaving out its later stages. Nothing is re-encoded.

    Either may be - for standard input or output.
    """
    size = strip(source, dest, stages, overwrite=force, limits=limits)
    click.echo(f"{dest}: {human_bytes(size)}", err=dest == "-")
