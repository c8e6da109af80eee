"""`lfqcodec strip`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import MAX_STREAMS, Limits
from lfqcodec.cli.shared.names import output_of
from lfqcodec.cli.shared.options import json_option, limit_option, overwrite_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.codec.repair.strip import strip


@click.command("strip")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="[OUT]", required=False)
@click.option(
    "--streams",
    type=click.IntRange(1, MAX_STREAMS),
    default=1,
    show_default=True,
    help="Streams to keep: 1 leaves out the second.",
)
@overwrite_option
@json_option
@limit_option
def command(
    source: str, dest: str | None, streams: int, overwrite: bool, as_json: bool, limits: Limits
) -> None:
    """Make a smaller file of IN by leaving out its second stream. Nothing is re-encoded.

    The second stream has the detail of pictures between two anchors, up to three of four, which are then
    shown as motion predicts them. No other picture changes. Either may be - for standard input or output;
    without OUT, clip.lfq becomes clip-stripped.lfq.
    """
    target = output_of(dest, source, "-stripped.lfq", as_json=as_json)
    size = strip(source, target, streams, overwrite=overwrite, limits=limits)
    if as_json:
        print_json({"file": target, "streams": streams, "file_bytes": size})
    else:
        click.echo(f"{target}: {human_bytes(size)}", err=target == "-")
