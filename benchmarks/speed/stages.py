"""Where the time goes inside lfqcodec: by stage of the pipeline, on one core and on several."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click

import lfqcodec
from benchmarks.options import model_option
from benchmarks.speed.stopwatch import REST, Stopwatch, search_memory, watching
from lfqcodec.bitstream import ChunkHead

_LEAST = 0.05
"""ms: floors below are left out."""


def inside(action: Callable[[], object], runs: int, *, count: bool = True) -> dict[str, Any]:
    """Seconds of `action` in this process, after a first run that does not count, and their parts.

    The median of `runs`; the parts, as shares, are those of one run more, since looking on takes time too.
    Threads run beside each other, so on several cores shares can sum to more than one; on one core only the
    time counts for which they run. On a GPU a part includes the wait for what earlier parts have started.
    With `count` the floating-point operations of parts are counted, too.
    """
    import torch

    from benchmarks.speed.floor import operations

    action()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    alone = torch.get_num_threads() == 1
    watch = Stopwatch(time.thread_time if alone else time.perf_counter)
    began = time.perf_counter()
    with watching(watch), watch.stage(REST):
        action()
    total = sum(watch.seconds.values()) if alone else time.perf_counter() - began
    parts = sorted(((value / total, name) for name, value in watch.seconds.items() if name != REST))
    shares = {name: round(share, 4) for share, name in reversed(parts)}
    shares[REST] = round(watch.seconds[REST] / total, 4)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "watched_seconds": round(total, 3),
        "parts": shares,
        "operations": operations(action) if count else {},
    }


def inside_all(
    clip: str, folder: str, options: dict[str, Any], runs: int, cores: int | None
) -> dict[str, Any]:
    """What `inside` tells of every action, with options of `lfqcodec.encode`; for a process of its own."""
    if cores is not None and sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import torch

    from benchmarks.speed.floor import best_rate
    from lfqcodec.codec.device import pick_precision

    if cores is not None:
        torch.set_num_threads(cores)
    lfq, mp4, y4m = (f"{folder}/inside.{suffix}" for suffix in ("lfq", "mp4", "y4m"))
    model = options["model"]

    def encode() -> None:
        lfqcodec.encode(clip, lfq, audio=False, overwrite=True, **options)

    def decode(out: str) -> Callable[[], object]:
        return lambda: lfqcodec.decode(lfq, out, model=model, overwrite=True)

    def verify() -> None:
        with lfqcodec.open(lfq, model=model) as file:
            for _ in file.tokens():
                pass

    with search_memory() as memory:  # first, as long as the process has not kept memory of earlier runs
        encode()
    actions = {"encode": encode, "decode mp4": decode(mp4), "decode y4m": decode(y4m), "verify": verify}
    result: dict[str, Any] = {name: inside(action, runs) for name, action in actions.items()}
    rate = best_rate(pick_precision("auto", torch.device("cpu")))
    with lfqcodec.open(lfq) as file:
        count = sum(head.valid for head in file.heads() if isinstance(head, ChunkHead))
    for row in result.values():
        picture = 1000 * row["watched_seconds"] / count
        row["ms"] = {name: round(picture * share, 2) for name, share in row["parts"].items()}
        row["floor_ms"] = {
            name: round(1000 * done / rate / count, 4) for name, done in row["operations"].items()
        }
    return {
        "actions": result,
        "search_mib": max(memory, default=None),
        "operations_per_second": rate,
        "frames": count,
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
    }


def shares(
    clip: Path, folder: Path, options: dict[str, Any], runs: int, cores: int | None = None
) -> dict[str, Any]:
    """`inside_all` in a fresh process with the settings of the command line, on so many cores or on all."""
    # As in the command: waiting threads must not spin. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(inside_all, str(clip), str(folder), options, runs, cores).result()


def lines(result: dict[str, Any]) -> list[str]:
    """What `shares` gave, as text: of every stage ms a picture, its share, and its floor (`floor`)."""
    text = [f"floors are at {result['operations_per_second'] / 1e9:.0f} billion operations a second"]
    for name, row in result["actions"].items():
        pictures = f"{result['frames'] / row['seconds']:.2f} frames/s"
        text.append(f"{name:12}{pictures:>16}{'ms a picture':>16}{'share':>8}{'at least':>10}")
        for part, share in row["parts"].items():
            floor = row["floor_ms"].get(part, 0)
            least = f"{floor:10.1f}" if floor >= _LEAST else ""
            text.append(f"{'':12}{part:22}{row['ms'][part]:10.1f}{share:8.0%}{least}")
    if result["search_mib"] is not None:
        text.append(f"{'':12}motion search takes {result['search_mib']:.0f} MiB at most")
    return text


def _cores(text: str) -> list[int]:
    if not all(part.isdigit() and int(part) for part in text.split(",")):
        raise click.BadParameter(f"takes numbers such as 1,2, not {text!r}")
    return [int(part) for part in text.split(",")]


@click.command("stages")
@click.argument("clip", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--frames", type=click.IntRange(min=1), default=65, show_default=True, help="First frames.")
@click.option("--crf", type=float, help="Quality (default: that of encode).")
@click.option("--profile", type=click.Choice(["exact", "static"]), help="Default: that of encode.")
@click.option("--effort", type=click.Choice(["fast", "medium", "slow"]), default="medium", show_default=True)
@click.option(
    "--cores", default="1,2", show_default=True, callback=lambda _, __, text: _cores(text), help="How many."
)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Medians of so many.")
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stages(
    clip: Path,
    frames: int,
    crf: float | None,
    profile: str | None,
    effort: str,
    cores: list[int],
    runs: int,
    model: str | None,
    as_json: bool,
) -> None:
    """Frames per second of encode, decode and verify once started, and what each stage takes of it."""
    options = {"model": model, "frames": frames, "crf": crf, "profile": profile, "effort": effort}
    results = {}
    for count in cores:
        with tempfile.TemporaryDirectory() as scratch:
            results[count] = shares(clip, Path(scratch), options, runs, count)
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    for count, result in results.items():
        click.echo(f"{count} core{'s' * (count > 1)}")
        click.echo("\n".join(lines(result)))
