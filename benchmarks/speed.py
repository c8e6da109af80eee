"""Speed and peak memory of encode, decode and verify, and where the time goes."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

import lfqcodec
from benchmarks.process import run_lfqcodec
from lfqcodec.bitstream import ChunkHead
from lfqcodec.errors import WeightsMissing
from lfqcodec.weights import resolve_model
from lfqcodec.weights.store import prior_for

PROFILES = ("exact", "static")
REST = "rest"


class Stopwatch:
    """Seconds by stage of the pipeline. A stage that runs inside another one counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = [REST]
        self._since = time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside as `name`."""
        self._turn()
        self._stack.append(name)
        try:
            yield
        finally:
            self._turn()
            self._stack.pop()

    def function(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`plain`, with its time counted."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.stage(name):
                return plain(*arguments, **options)

        return timed

    def generator(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`plain`, whose generators have the time counted for which they run."""

        def timed(*arguments: Any, **options: Any) -> Generator[Any, Any, None]:
            inner = iter(plain(*arguments, **options))
            sent: Any = None
            while True:
                with self.stage(name):
                    try:
                        item = next(inner) if sent is None else inner.send(sent)
                    except StopIteration:
                        return
                sent = yield item

        return timed


def stages_of_pipeline() -> Iterator[tuple[str, type, str, bool]]:
    """(stage, class, method, whether it is a generator) of all that is timed."""
    from lfqcodec.bitstream import BitstreamReader, BitstreamWriter
    from lfqcodec.codec.chunks import ChunkDecoder, ChunkEncoder
    from lfqcodec.entropy.rans import RansDecoder, RansEncoder
    from lfqcodec.prior.rows import GopCoder
    from lfqcodec.tokenizer.base import BaseTokenizer
    from lfqcodec.video import VideoReader, VideoWriter

    yield "read", VideoReader, "events", True
    yield "read", BitstreamReader, "__iter__", True
    yield "tokenizer", ChunkEncoder, "latents", False
    yield "tokenizer", BaseTokenizer, "quantize", False
    yield "tokenizer", ChunkDecoder, "decode", False
    yield "prior", GopCoder, "rows", True
    yield "rANS", RansEncoder, "put", False
    yield "rANS", RansEncoder, "words", False
    yield "rANS", RansDecoder, "get", False
    yield "write", BitstreamWriter, "write_chunk", False
    yield "write", BitstreamWriter, "close", False
    yield "write", VideoWriter, "write", False
    yield "write", VideoWriter, "__exit__", False


def inside(action: Callable[[], object], runs: int) -> dict[str, Any]:
    """Seconds of `action` in this process, after a first run that does not count, and their parts.

    The median of `runs`; the parts are those of one run more, since looking on takes time too. On
    a GPU a part includes the wait for what earlier parts have started.
    """
    action()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    watch = Stopwatch()
    with ExitStack() as stack:
        for name, owner, method, generates in stages_of_pipeline():
            timed = watch.generator if generates else watch.function
            stack.enter_context(patch.object(owner, method, timed(name, getattr(owner, method))))
        with watch.stage(REST):
            action()
    total = sum(watch.seconds.values())
    parts = {name: round(value / total, 4) for name, value in watch.seconds.items() if name != REST}
    parts[REST] = round(watch.seconds[REST] / total, 4)
    return {"seconds": round(statistics.median(seconds), 3), "parts": parts}


def inside_all(clip: str, folder: str, options: dict[str, Any], runs: int) -> dict[str, Any]:
    """What `inside` tells of every action, for the profile of `options`. Runs in a process of its own."""
    import torch

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

    actions = {"encode": encode, "decode mp4": decode(mp4), "decode y4m": decode(y4m), "verify": verify}
    result: dict[str, Any] = {name: inside(action, runs) for name, action in actions.items()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "actions": result,
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
    }


def command(arguments: list[str], runs: int) -> dict[str, float]:
    """Median seconds of a whole `lfqcodec` command, and the largest of its peak resident memories in MiB."""
    done = [run_lfqcodec(*arguments) for _ in range(runs)]
    seconds = statistics.median(cost.seconds for cost in done)
    return {"seconds": round(seconds, 3), "peak_mib": round(max(cost.peak_mib for cost in done), 1)}


def measure(clip: Path, folder: Path, profile: str, options: dict[str, Any], runs: int) -> dict[str, Any]:
    """All actions in one profile, as whole commands and in one process."""
    lfq, mp4, y4m = (str(folder / f"whole.{suffix}") for suffix in ("lfq", "mp4", "y4m"))
    width, height = options["scale"]
    model = ["--model", options["model"]] if options["model"] else []
    how = ["--profile", profile, "--stages", str(options["stages"]), "--scale", f"{width}x{height}"]
    if options["frames"] is not None:
        how += ["--frames", str(options["frames"])]
    lines = {
        "encode": ["encode", "-q", "-f", str(clip), lfq, "--audio", "none", *how, *model],
        "decode mp4": ["decode", "-q", "-f", lfq, mp4, *model],
        "decode y4m": ["decode", "-q", "-f", lfq, y4m, *model],
        "verify": ["verify", lfq],
    }
    whole = {name: command(arguments, runs) for name, arguments in lines.items()}
    with lfqcodec.open(lfq) as file:
        frames = sum(head.valid for head in file.heads() if isinstance(head, ChunkHead))
        size = file.size()
    # As in the command: waiting threads must not spin. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        own = pool.submit(inside_all, str(clip), str(folder), {**options, "profile": profile}, runs).result()
    actions = {
        name: {
            "frames_per_second": round(frames / whole[name]["seconds"], 2),
            "frames_per_second_started": round(frames / own["actions"][name]["seconds"], 2),
            "peak_mib": whole[name]["peak_mib"],
            "parts": own["actions"][name]["parts"],
        }
        for name in lines
    }
    return {**own, "profile": profile, "frames": frames, "file_bytes": size, "actions": actions}


def text_of(result: dict[str, Any]) -> str:
    """The result of one profile as aligned text."""
    out = io.StringIO()
    print(f"profile {result['profile']}, {result['frames']} frames, {result['file_bytes']} bytes", file=out)
    print(f"{'':12}{'frames/s':>10}{'started':>10}{'peak MiB':>10}  time once started", file=out)
    for name, row in result["actions"].items():
        figures = f"{row['frames_per_second']:10.2f}{row['frames_per_second_started']:10.2f}"
        parts = ", ".join(f"{part} {share:.0%}" for part, share in row["parts"].items())
        print(f"{name:12}{figures}{row['peak_mib']:10.0f}  {parts}", file=out)
    return out.getvalue()


@click.command("speed")
@click.argument("clip", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--frames", type=click.IntRange(min=1), default=65, show_default=True, help="First frames only."
)
@click.option("--size", default="640x360", show_default=True, help="Pictures are scaled to this.")
@click.option("--stages", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Medians of so many.")
@click.option("--model", help="Model name, file or folder (default: the shipped one).")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON.")
def speed(
    clip: Path, frames: int, size: str, stages: int, runs: int, model: str | None, out: Path | None
) -> None:
    """Frames per second of encode, decode and verify on CLIP, in the profiles exact and static.

    As whole commands with their start-up and peak memory, and in a process that has run them once before.
    """
    width, height = (int(part) for part in size.split("x"))
    options = {"model": model, "frames": frames, "scale": (width, height), "stages": stages}
    found = resolve_model(model)
    prior = prior_for(found)
    if prior is None:
        raise WeightsMissing(f"model {found.name} has no prior")
    load = os.getloadavg()[0]
    if load > 0.5:
        click.echo(f"the machine is busy (load {load:.1f}): times are too long", err=True)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for profile in PROFILES:
            results.append(measure(clip, Path(scratch), profile, options, runs))
            click.echo(text_of(results[-1]))
    if out is not None:
        record = {
            "lfqcodec": lfqcodec.__version__,
            "model_sha256": found.sha256.hex(),
            "prior_sha256": prior.sha256.hex(),
            "clip": clip.name,
            "size": size,
            "stages": stages,
            "runs": runs,
            "cpus": os.cpu_count(),
            "load_before": round(load, 2),
            "profiles": results,
        }
        out.write_text(json.dumps(record, indent=1) + "\n")
