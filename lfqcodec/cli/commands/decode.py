"""`lfqcodec decode`."""

from __future__ import annotations

from typing import Any

import click

from lfqcodec.bitstream import MAX_STREAMS
from lfqcodec.cli.shared.names import output_of
from lfqcodec.cli.shared.options import (
    device_option,
    json_option,
    limit_option,
    model_option,
    overwrite_option,
    precision_option,
    progress_options,
    time_options,
)
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import plural, print_damage, print_json, print_notes
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.decode.options import AUDIO_CODECS, DecodeOptions
from lfqcodec.errors import DamageConcealed


@click.command("decode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="[OUT]", required=False)
@click.option(
    "--streams",
    type=click.IntRange(1, MAX_STREAMS),
    help="1 decodes without the second stream: faster, with less detail in up to three of four pictures.  "
    "[default: all]",
)
@time_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that decode a GOP each, at the same time.  [default: by cores and memory]",
)
@click.option(
    "--audio-codec",
    type=click.Choice(AUDIO_CODECS),
    default="auto",
    show_default=True,
    help="auto: sound is put back as it is where OUT can hold it, else converted; copy: never converted; "
    "else the codec that all of it is converted to.",
)
@click.option("--best-effort", is_flag=True, help="Exit with 0 even where IN is damaged.")
@overwrite_option
@progress_options
@json_option
@model_option
@device_option
@precision_option
@limit_option
def command(source: str, dest: str | None, progress: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Decode the .lfq file IN (or - for standard input) to OUT.

    OUT by its suffix: .mp4 or .mov (H.264, visually lossless, sound put back), .mkv (FFV1, lossless), .y4m,
    a folder such as frames/ (PNG), .png or .jpg for a single picture, or - for y4m on standard output.
    Without OUT, clip.lfq becomes clip-decoded.mp4 beside it, a picture .png.

    A damaged IN is decoded past its damage. Lost frames are held and faded over, or shown without the second
    stream where only that is lost; everything else is exact and in its place. What is lost is told on
    standard error, and the exit code is 4.
    """
    settings = DecodeOptions(**options)
    target = output_of(dest, source, "-decoded", as_json=as_json)
    if dest is None:
        with open_file(source, limits=settings.limits) as file:
            target += ".png" if file.header.still_image else ".mp4"
    problem: DamageConcealed | None = None
    with show_progress("decoding", progress, quiet=quiet) as tell:
        from lfqcodec.codec.decode.decoder import decode

        try:
            report = decode(source, target, settings, progress=tell)
        except DamageConcealed as error:
            problem, report = error, error.report
    print_notes(report.notes)
    print_damage(report.damage)
    if as_json:
        failed = {} if problem is None else {"error": str(problem), "kind": "DamageConcealed", "exit_code": 4}
        print_json({"file": target, **report.to_dict(), **failed})
    else:
        what = f"{plural(report.frames, 'frame')} {report.width}x{report.height}, {report.seconds:.2f} s"
        line = f"{what} ({report.frames / report.elapsed:.1f} frames/s)"
        click.echo(f"{target}: {line}" if dest is None else line, err=target == "-")
    if problem is not None:
        raise problem
