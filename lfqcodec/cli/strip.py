"""`lfqcodec strip`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import MAX_STREAMS, Limits
from lfqcodec.cli.common import human_bytes, limit_option, overwrite_option
from lfqcodec.codec.repair.strip import strip


@click.command("strip")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option(
    "--streams",
    type=click.IntRange(1, MAX_STREAMS),
    default=1,
    show_default=True,
    help="Streams to keep: 1 leaves out the second.",
)
@overwrite_option
@limit_option
def command(source: str, dest: str, streams: int, overwrite: bool, limits: Limits) -> None:
    """Make a smaller file of IN by leaving out its second stream. Nothing is re-encoded.

    The second stream has the detail of three of four pictures: those between two anchors, which are then
    shown as motion predicts them. No other picture changes. Either may be - for standard input or output.
    """
    size = strip(source, dest, streams, overwrite=overwrite, limits=limits)
    click.echo(f"{dest}: {human_bytes(size)}", err=dest == "-")
