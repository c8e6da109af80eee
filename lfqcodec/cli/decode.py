"""`lfqcodec decode`."""

from __future__ import annotations

from fractions import Fraction

import click

from lfqcodec.cli.common import (
    device_option,
    json_option,
    model_option,
    positive_seconds,
    print_json,
    print_notes,
    progress_bar,
    seconds,
)


@click.command("decode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option("--stages", type=click.IntRange(min=1), help="Decode fewer stages than were coded.")
@click.option("--start", type=seconds, metavar="TIME", help="Begin at this time.")
@click.option("--duration", type=positive_seconds, metavar="TIME", help="Stop after this much time.")
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
@model_option
@device_option
def command(
    source: str,
    dest: str,
    stages: int | None,
    start: Fraction | None,
    duration: Fraction | None,
    force: bool,
    quiet: bool,
    as_json: bool,
    model: str | None,
    device: str,
) -> None:
    """Decode the .lfq file IN (or - for standard input) to OUT.

    OUT by its suffix: .mp4 or .mov (H.264, visually lossless, sound put back), .mkv (FFV1, lossless), .y4m,
    a folder such as frames/ (PNG), .png or .jpg for a single picture, or - for y4m on standard output.
    """
    from lfqcodec.codec.decoder import DecodeOptions, decode

    if as_json and dest == "-":
        raise click.UsageError("--json and OUT - both want standard output")
    options = DecodeOptions(
        model=model, stages=stages, start=start, duration=duration, device=device, overwrite=force
    )
    with progress_bar("decoding", quiet=quiet) as progress:
        report = decode(source, dest, options, progress=progress)
    print_notes(report.notes)
    if as_json:
        print_json(report.to_dict())
        return
    speed = report.frames / report.elapsed
    plural = "s" if report.frames != 1 else ""
    what = f"{report.frames} frame{plural} {report.width}x{report.height}, {report.seconds:.2f} s"
    click.echo(f"{what} ({speed:.1f} frames/s)", err=dest == "-")
