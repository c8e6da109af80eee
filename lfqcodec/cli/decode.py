"""`lfqcodec decode`."""

from __future__ import annotations

from typing import Any

import click

from lfqcodec.bitstream import MAX_STREAMS
from lfqcodec.cli.common import (
    device_option,
    json_option,
    limit_option,
    model_option,
    overwrite_option,
    plural,
    print_damage,
    print_json,
    print_notes,
    progress_bar,
    quiet_option,
    refuse_mixed_output,
    time_options,
)
from lfqcodec.errors import DamageConcealed


@click.command("decode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option(
    "--streams",
    type=click.IntRange(1, MAX_STREAMS),
    help="1 decodes without the second stream: faster, with less detail in three of four pictures.  "
    "[default: all]",
)
@time_options
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that decode a GOP each.")
@click.option("--best-effort", is_flag=True, help="Exit with 0 even where IN is damaged.")
@overwrite_option
@quiet_option
@json_option
@model_option
@device_option
@limit_option
def command(source: str, dest: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Decode the .lfq file IN (or - for standard input) to OUT.

    OUT by its suffix: .mp4 or .mov (H.264, visually lossless, sound put back), .mkv (FFV1, lossless), .y4m,
    a folder such as frames/ (PNG), .png or .jpg for a single picture, or - for y4m on standard output.

    A damaged IN is decoded past its damage. Lost frames are held and faded over, or shown without the second
    stream where only that is lost; everything else is exact and in its place. What is lost is told on
    standard error, and the exit code is 4.
    """
    from lfqcodec.codec.decode.decoder import decode
    from lfqcodec.codec.decode.options import DecodeOptions

    refuse_mixed_output(dest, as_json=as_json)
    problem: DamageConcealed | None = None
    with progress_bar("decoding", quiet=quiet) as progress:
        try:
            report = decode(source, dest, DecodeOptions(**options), progress=progress)
        except DamageConcealed as error:
            problem, report = error, error.report
    print_notes(report.notes)
    print_damage(report.damage)
    if as_json:
        print_json(report.to_dict())
    else:
        what = f"{plural(report.frames, 'frame')} {report.width}x{report.height}, {report.seconds:.2f} s"
        click.echo(f"{what} ({report.frames / report.elapsed:.1f} frames/s)", err=dest == "-")
    if problem is not None:
        raise problem
