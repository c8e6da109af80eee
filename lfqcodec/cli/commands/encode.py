"""`lfqcodec encode`."""

from __future__ import annotations

from typing import Any

import click

from lfqcodec.cli.shared.encoding import coding_options, measure_option, rate_options
from lfqcodec.cli.shared.names import is_lfq, output_of
from lfqcodec.cli.shared.options import (
    device_option,
    json_option,
    model_option,
    overwrite_option,
    precision_option,
    progress_options,
)
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import human_bytes, plural, print_json, print_notes
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.startup import loading


@click.command("encode")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="[OUT]", required=False)
@rate_options
@click.option(
    "--pass",
    "passes",
    type=click.IntRange(1, 2),
    help="A bitrate in two passes: 1 measures IN at --crf, 2 uses that. Both need --stats.",
)
@click.option("--stats", metavar="FILE", help="Where pass 1 writes what pass 2 reads.")
@coding_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that code a GOP each, at the same time.  [default: by cores and memory]",
)
@click.option("--resume", is_flag=True, help="Keep OUT.part when interrupted, and go on from it.")
@overwrite_option
@measure_option
@progress_options
@json_option
@model_option
@device_option
@precision_option
def command(
    source: str, dest: str | None, audio: str, progress: str, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Encode a video or picture IN into the .lfq file OUT.

    IN is a video, a picture, a folder of numbered pictures, or - for a stream (y4m, mkv, ...) on standard
    input. OUT may be - for standard output; without OUT the file lies beside IN and has its name: clip.mp4
    becomes clip.lfq.

    \b
    What the words mean:
      crf      the quality that is aimed at, and kept the same all through
      GOP      a run of pictures that starts with one that needs no other:
               players seek to its start, and damage ends with it
      layers   a picture is coded in layers, coarse before fine; --crf decides
               how many of them are worth their bits
      streams  the layers of pictures between others, up to three of four, are a
               stream of their own, which decode and strip can leave out
      profile  how the layers are packed: with a learned prior, or without

    OUT appears when it is complete; a run that is interrupted leaves nothing, unless it has --resume: then
    what is written stays in OUT.part, with its journal OUT.part.jsonl, and the same command goes on from the
    last complete GOP. The pictures before it are read again, not coded again, and the file comes out the
    same to the byte. Another input, model or setting is refused; remove OUT.part to start over.
    """
    settings = EncodeOptions(audio=audio == "copy", **options)
    if is_lfq(source):
        raise click.UsageError(f"{source} is a .lfq file already; did you mean lfqcodec decode?")
    target = output_of(dest, source, ".lfq", as_json=as_json)
    if settings.resume and target == "-":
        raise click.UsageError("--resume needs an OUT with a name")
    with show_progress("encoding", progress, quiet=quiet) as tell:
        with loading():
            from lfqcodec.codec.encode.encoder import encode

        report = encode(source, target, settings, progress=tell)
    print_notes(report.notes)
    if as_json:
        print_json({"file": target, **report.to_dict()})
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
    click.echo(f"{target}: {line}" if dest is None else line, err=target == "-")
