"""`lfqcodec decode`."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.common import (
    device_option,
    json_option,
    limit_option,
    model_option,
    positive_seconds,
    print_damage,
    print_json,
    print_notes,
    progress_bar,
    seconds,
)
from lfqcodec.errors import DamageConcealed

if TYPE_CHECKING:
    from lfqcodec.codec.decoder import DecodeReport


@click.command("decode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option("--stages", type=click.IntRange(min=1), help="Decode fewer stages than were coded.")
@click.option("--start", type=seconds, metavar="TIME", help="Begin at this time.")
@click.option("--duration", type=positive_seconds, metavar="TIME", help="Stop after this much time.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that decode a GOP each.")
@click.option("--best-effort", is_flag=True, help="Exit with 0 even where IN is damaged.")
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
@model_option
@device_option
@limit_option
def command(
    source: str,
    dest: str,
    stages: int | None,
    start: Fraction | None,
    duration: Fraction | None,
    workers: int,
    best_effort: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
    model: str | None,
    device: str,
    limits: Limits,
) -> None:
    """Decode the .lfq file IN (or - for standard input) to OUT.

    OUT by its suffix: .mp4 or .mov (H.264, visually lossless, sound put back), .mkv (FFV1, lossless), .y4m,
    a folder such as frames/ (PNG), .png or .jpg for a single picture, or - for y4m on standard output.

    A damaged IN is decoded past its damage. Lost frames are held and faded over, or shown with fewer stages
    where some are left; everything else is exact and in its place. What is lost is told on standard error,
    and the exit code is 4.
    """
    from lfqcodec.codec.decoder import DecodeOptions, decode

    if as_json and dest == "-":
        raise click.UsageError("--json and OUT - both want standard output")
    options = DecodeOptions(
        model=model,
        stages=stages,
        start=start,
        duration=duration,
        device=device,
        overwrite=force,
        best_effort=best_effort,
        workers=workers,
        limits=limits,
    )
    problem: DamageConcealed | None = None
    with progress_bar("decoding", quiet=quiet) as progress:
        try:
            report = decode(source, dest, options, progress=progress)
        except DamageConcealed as error:
            problem, report = error, error.report
    print_notes(report.notes)
    print_damage(report.damage)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, err=dest == "-")
    if problem is not None:
        raise problem


def _print(report: DecodeReport, *, err: bool) -> None:
    speed = report.frames / report.elapsed
    plural = "s" if report.frames != 1 else ""
    what = f"{report.frames} frame{plural} {report.width}x{report.height}, {report.seconds:.2f} s"
    click.echo(f"{what} ({speed:.1f} frames/s)", err=err)
