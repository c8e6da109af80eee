"""`lfqcodec encode`."""

from __future__ import annotations

from fractions import Fraction

import click

from lfqcodec.cli.common import (
    device_option,
    human_bytes,
    json_option,
    model_option,
    positive_seconds,
    print_json,
    print_notes,
    progress_bar,
    seconds,
    size,
)


@click.command("encode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="OUT")
@click.option("--stages", type=click.IntRange(min=1), help="Quantizer stages to keep (default: all).")
@click.option("--gop", type=click.IntRange(1, 65535), default=4, show_default=True, help="Chunks per GOP.")
@click.option("--start", type=seconds, metavar="TIME", help="Begin at this time.")
@click.option("--duration", type=positive_seconds, metavar="TIME", help="Stop after this much time.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after this many frames.")
@click.option("--scale", type=size, metavar="WxH", help="Resize the pictures first.")
@click.option(
    "--audio",
    type=click.Choice(["copy", "none"]),
    default="copy",
    show_default=True,
    help="Copy sound and subtitles, or leave them out.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
@click.option("--psnr", is_flag=True, help="Decode what was written and report PSNR and MS-SSIM.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
@model_option
@device_option
def command(
    source: str,
    dest: str,
    stages: int | None,
    gop: int,
    start: Fraction | None,
    duration: Fraction | None,
    frames: int | None,
    scale: tuple[int, int] | None,
    audio: str,
    force: bool,
    psnr: bool,
    quiet: bool,
    as_json: bool,
    model: str | None,
    device: str,
) -> None:
    """Encode a video or picture IN into the .lfq file OUT.

    IN is any video or picture file, or - for a stream (y4m, mkv, ...) on standard input. OUT may be - for
    standard output.
    """
    from lfqcodec.codec.encoder import EncodeOptions, encode

    options = EncodeOptions(
        model=model,
        stages=stages,
        gop=gop,
        start=start,
        duration=duration,
        frames=frames,
        scale=scale,
        audio=audio == "copy",
        device=device,
        overwrite=force,
        measure=psnr,
    )
    if as_json and dest == "-":
        raise click.UsageError("--json and OUT - both want standard output")
    with progress_bar("encoding", quiet=quiet) as progress:
        report = encode(source, dest, options, progress=progress)
    print_notes(report.notes)
    if as_json:
        print_json(report.to_dict())
        return
    what = f"{report.frames} frame{'s' if report.frames != 1 else ''}"
    line = (
        f"{what} {report.width}x{report.height}, {report.seconds:.2f} s -> "
        f"{human_bytes(report.file_bytes)}, {report.bpp:.4f} bpp, {report.bitrate / 1000:.0f} kbit/s"
    )
    if report.psnr is not None:
        line += f", PSNR {report.psnr:.2f} dB"
    if report.ms_ssim is not None:
        line += f", MS-SSIM {report.ms_ssim:.4f}"
    line += f" ({report.frames / report.elapsed:.1f} frames/s)"
    click.echo(line, err=dest == "-")
