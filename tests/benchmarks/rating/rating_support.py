"""A small study on disk and its server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[3]


def write_mp4(path: Path, colour: tuple[int, int, int], frames: int = 12) -> None:
    """A video a browser plays: a bar that moves over a colour."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(frames):
            picture = np.full((96, 128, 3), colour, np.uint8)
            picture[:, number * 8 : number * 8 + 16] = 255
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))


def make_study(folder: Path, clips: int = 3) -> Path:
    """A study of two codecs on a few clips."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(clips):
        for name, colour in (("ref", (20, 120, 20)), ("lfq", (120, 20, 20)), ("x265", (20, 20, 120))):
            write_mp4(folder / f"{number}-{name}.mp4", colour)
        videos = {name: f"{number}-{name}.mp4" for name in ("lfq", "x265")}
        items.append({"name": f"clip{number}", "reference": f"{number}-ref.mp4", "videos": videos})
    study = {"format": "lfqcodec study", "version": 1, "title": "Test", "question": "Which is better?"}
    (folder / "study.json").write_text(json.dumps({**study, "seed": 7, "clips": items}))
    return folder


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`python -m benchmarks rate`, on a free port."""
    line = [sys.executable, "-m", "benchmarks", "rate", str(folder), "--port", "0", *options]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.stderr.read() if process.stderr else ""
        yield address, process
    finally:
        process.kill()
        process.communicate()
