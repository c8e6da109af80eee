"""Where the time goes inside lfqcodec: read, tokenizer, prior, rANS, write."""

from __future__ import annotations

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
from lfqcodec.bitstream import ChunkHead

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
    from lfqcodec.entropy.rans import RansDecoder, RansEncoder
    from lfqcodec.prior.rows import GopCoder
    from lfqcodec.tokenizer.open_loop import OpenLoopGroup, OpenLoopTokenizer
    from lfqcodec.video import VideoReader, VideoWriter

    yield "read", VideoReader, "events", True
    yield "read", BitstreamReader, "__iter__", True
    yield "tokenizer", OpenLoopTokenizer, "encode", False
    yield "tokenizer", OpenLoopGroup, "options", False
    yield "tokenizer", OpenLoopGroup, "take", False
    yield "tokenizer", OpenLoopTokenizer, "decode", False
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
    """What `inside` tells of every action, with options of `lfqcodec.encode`; for a process of its own."""
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
    with lfqcodec.open(lfq) as file:
        count = sum(head.valid for head in file.heads() if isinstance(head, ChunkHead))
    return {
        "actions": result,
        "frames": count,
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
    }


def shares(clip: Path, folder: Path, options: dict[str, Any], runs: int) -> dict[str, Any]:
    """`inside_all` in a fresh process with the settings of the command line."""
    # As in the command: waiting threads must not spin. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(inside_all, str(clip), str(folder), options, runs).result()


@click.command("stages")
@click.argument("clip", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--frames", type=click.IntRange(min=1), default=65, show_default=True, help="First frames.")
@click.option("--crf", type=float, help="Quality (default: that of encode).")
@click.option("--stages", type=click.IntRange(min=1), help="This many stages, tokens as they are.")
@click.option("--profile", type=click.Choice(["exact", "static"]), help="Default: that of encode.")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Medians of so many.")
@click.option("--model", help="Model name, file or folder (default: the shipped one).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stages(
    clip: Path,
    frames: int,
    crf: float | None,
    stages: int | None,
    profile: str | None,
    runs: int,
    model: str | None,
    as_json: bool,
) -> None:
    """Frames per second of encode, decode and verify once started, and the share of each stage."""
    options = {"model": model, "frames": frames, "crf": crf, "stages": stages, "profile": profile}
    with tempfile.TemporaryDirectory() as scratch:
        result = shares(clip, Path(scratch), options, runs)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for name, row in result["actions"].items():
        parts = ", ".join(f"{part} {share:.0%}" for part, share in row["parts"].items())
        click.echo(f"{name:12}{result['frames'] / row['seconds']:8.2f} frames/s  {parts}")
