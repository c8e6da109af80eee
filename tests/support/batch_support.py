"""Folders of small clips, the reports of batches, and an engine that only copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from codec_support import y4m

from lfqcodec.batch import store
from lfqcodec.batch.inputs import VIDEOS, find_sources
from lfqcodec.batch.run import Finished, Request, Totals, run_batch
from lfqcodec.batch.work import Job, Outcome, failed
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.errors import InputVideoError

SIZE = (48, 40)
BROKEN = {
    "empty.mp4": b"",
    "text.mkv": b"this is no video at all\n" * 9,
    "header.y4m": y4m(1, SIZE)[:20],
    "noise.mp4": bytes(range(256)) * 8,
    "sound.mov": b"\0\0\0\x18ftypqt  \0\0\0\0qt  \0\0\0\0",
}
"""Files that cannot be encoded, each in a way of its own."""


def make_clips(folder: Path, names: list[str], frames: int = 3) -> list[Path]:
    """Clips of those names; each has some pictures more than the one before, so that no two are the same."""
    paths = []
    for number, name in enumerate(names):
        paths.append(folder / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(y4m(frames + number % 3, SIZE))
    return paths


def report_of(out: Path) -> list[dict]:
    """The lines of the report of a batch."""
    return [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]


def states(out: Path) -> dict[str, str]:
    """What became of each source, by the end of its name."""
    return {Path(line["source"]).name: line["status"] for line in report_of(out)}


def outputs(out: Path) -> dict[str, bytes]:
    """All outputs below a folder, with their bytes."""
    hidden = (path for path in out.rglob("*.*") if path.is_file())
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in hidden
        if not path.name.startswith(("report.", ".")) and ".lfqcodec-batch" not in path.parts
    }


class Copying:
    """An engine that makes each output a copy of its source; `before` is called with each job."""

    def __init__(self, before: Callable[[Job], Outcome | None] = lambda job: None) -> None:
        self.done: list[str] = []
        self._before = before
        self.open_now = False

    def open(self) -> None:
        self.open_now = True

    def run(
        self, jobs: Iterator[Job], on_share: Callable[[Job, float], None]
    ) -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            outcome = self._before(job)
            if outcome is None and Path(job.source).read_bytes().startswith(b"bad"):
                outcome = failed(InputVideoError(), f"{job.source}: is bad")
            if outcome is None:
                self.done.append(job.name)
                Path(job.output).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(job.source, job.output)
                on_share(job, 1.0)
                outcome = Outcome("done", made=store.stamp(job.output), facts={"frames": 1}, seconds=1.0)
            yield job, outcome

    def close(self) -> None:
        self.open_now = False


def batch(engine: object, inputs: list[object], out: Path, **options: object) -> Finished:
    """A batch that encodes `inputs` with an engine."""
    sources = options.pop("sources", None) or find_sources(map(str, inputs), VIDEOS, str(out))
    request = Request(
        kind="encode",
        sources=sources,
        out=str(out),
        suffix=".lfq",
        options=EncodeOptions(crf=options.pop("crf", 30.0)),
        options_of=lambda row: EncodeOptions(**{name: float(value) for name, value in row.items()}),
        **options,
    )
    return run_batch(request, engine, Totals())
