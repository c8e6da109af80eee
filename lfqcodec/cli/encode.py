"""`lfqcodec encode`."""

from __future__ import annotations

from typing import Any

import click

from lfqcodec.cli.common import (
    bitrate,
    device_option,
    human_bytes,
    json_option,
    model_option,
    overwrite_option,
    plural,
    print_json,
    print_notes,
    progress_bar,
    quiet_option,
    refuse_mixed_output,
    size,
    time_options,
)
from lfqcodec.codec.encode.options import DEFAULT_GOP, MAX_CRF, MAX_GOP, PROFILES, EncodeOptions
from lfqcodec.codec.encode.rate.quality import DEFAULT_CRF
from lfqcodec.errors import LfqError
from lfqcodec.output import undisturbed


@click.command("encode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option(
    "--crf",
    type=click.FloatRange(0, MAX_CRF),
    help=f"Quality, 0 to {MAX_CRF:g}: lower is better and larger; 6 more is about half the size.  "
    f"[default: {DEFAULT_CRF:g}]",
)
@click.option("--bitrate", type=bitrate, metavar="RATE", help="Video bits per second (250k, 1.5M) instead.")
@click.option(
    "--pass",
    "passes",
    type=click.IntRange(1, 2),
    help="A bitrate in two passes: 1 measures IN at --crf, 2 uses that. Both need --stats.",
)
@click.option("--stats", metavar="FILE", help="Where pass 1 writes what pass 2 reads.")
@click.option(
    "--gop",
    type=click.IntRange(1, MAX_GOP),
    default=DEFAULT_GOP,
    show_default=True,
    metavar="N",
    help="Most pictures from one that needs no other to the next: where players can seek to.",
)
@click.option(
    "--scene-cuts/--no-scene-cuts",
    default=True,
    show_default=True,
    help="Start a GOP where a scene starts.",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    help="exact: smaller, with the model's prior; static: a little larger, decodes without a prior.  "
    "[default: exact where the model has a prior]",
)
@time_options
@click.option("--frames", type=click.IntRange(min=1), help="Stop after this many frames.")
@click.option("--scale", type=size, metavar="WxH", help="Resize the pictures first.")
@click.option(
    "--audio",
    type=click.Choice(["copy", "none"]),
    default="copy",
    show_default=True,
    help="Copy sound and subtitles, or leave them out.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that code a GOP each.")
@click.option("--resume", is_flag=True, help="Keep OUT.part when interrupted, and go on from it.")
@overwrite_option
@click.option("--psnr", "measure", is_flag=True, help="Decode what was written and report PSNR and MS-SSIM.")
@quiet_option
@json_option
@model_option
@device_option
def command(source: str, dest: str, audio: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Encode a video or picture IN into the .lfq file OUT.

    IN is any video or picture file, or - for a stream (y4m, mkv, ...) on standard input. OUT may be - for
    standard output.

    OUT appears when it is complete; a run that is interrupted leaves nothing, unless it has --resume: then
    what is written stays in OUT.part, with its journal OUT.part.jsonl, and the same command goes on from the
    last complete GOP. The frames before it are read again, not coded again, and the file comes out the same
    to the byte. Another input, model or setting is refused; remove OUT.part to start over.
    """
    with undisturbed():
        from lfqcodec.codec.encode.encoder import encode

    try:
        settings = EncodeOptions(audio=audio == "copy", **options)
    except LfqError as error:
        raise click.UsageError(str(error)) from error
    refuse_mixed_output(dest, as_json=as_json)
    if settings.resume and dest == "-":
        raise click.UsageError("--resume needs an OUT with a name")
    with progress_bar("encoding", quiet=quiet) as progress:
        report = encode(source, dest, settings, progress=progress)
    print_notes(report.notes)
    if as_json:
        print_json(report.to_dict())
        return
    line = (
        f"{plural(report.frames, 'frame')} {report.width}x{report.height}, {report.seconds:.2f} s -> "
        f"{human_bytes(report.file_bytes)}, {report.bpp:.4f} bpp, {report.bitrate / 1000:.0f} kbit/s"
    )
    if report.psnr is not None:
        line += f", PSNR {report.psnr:.2f} dB"
    if report.ms_ssim is not None:
        line += f", MS-SSIM {report.ms_ssim:.4f}"
    line += f" ({report.frames / report.elapsed:.1f} frames/s)"
    click.echo(line, err=dest == "-")
