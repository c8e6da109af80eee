"""Files made under each setting and decoded under all, each in fresh processes; what differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.determinism.settings import ONE_THREAD, VARIABLES, Setting
from benchmarks.determinism.worker import PIXELS
from benchmarks.metrics.compare import MAX_PSNR
from lfqcodec.errors import LfqError

ROOT = Path(__file__).parents[2]
RECIPES: dict[str, dict[str, Any]] = {
    "static": {"profile": "static", "crf": 33.0},
    "learned": {"profile": "exact", "crf": 45.0},
}
"""The files of each setting: with static rows and tokens as they are, with learned rows and tokens chosen."""
LEAST_PSNR = 40.0
"""In dB. Pictures of a file that are further apart under two settings count as different."""


@dataclass(frozen=True)
class Apart:
    """The picture in which two settings differ most: PSNR in dB, at most 100, and its number."""

    other: str
    psnr: float
    picture: int
    largest: int


@dataclass
class Run:
    """What came of a setting. `made`: recipe to SHA-256; `decoded`: SHA-256 to what the file decoded to.

    `apart`: how far its pictures are from those of the setting that they are furthest from.
    """

    setting: Setting
    made: dict[str, str] = field(default_factory=dict)
    decoded: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    apart: Apart | None = None
    failure: str | None = None
    unsupported: bool = False


def _launch(run: Run, action: str, job: dict[str, Any]) -> None:
    """Do a job in a fresh process and put its result into `run`. Raises `LfqError` where nothing can run."""
    setting = run.setting
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait in a loop take the cores from the others
    began = time.perf_counter()
    done = subprocess.run(
        [setting.python, "-m", "benchmarks.determinism.worker"],
        input=json.dumps({"action": action, "setting": asdict(setting), **job}),
        env={**environment, **setting.environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    click.echo(f"{action} {time.perf_counter() - began:5.1f} s  {setting.name}", err=True)
    if done.returncode == -signal.SIGILL and setting.environment != ONE_THREAD:
        run.unsupported = True
    elif done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        run.failure = f"{action} ended with code {done.returncode}: {last}"
    else:
        result = json.loads(done.stdout.splitlines()[-1])
        if "refused" in result:
            raise LfqError(f"{setting.name}: {result['refused']}")
        vars(run).update(result)


def measure(rows: Sequence[Setting], job: dict[str, Any], jobs: int) -> list[Run]:
    """Encode under every setting, then decode every file under every setting; equal files only once.

    `job` has video, size, frames, model and recipes.
    """
    runs = [Run(setting) for setting in rows]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:

        def launch(action: str, some: list[Run], more: dict[str, Any]) -> None:
            list(pool.map(lambda run: _launch(run, action, {**job, **more, "folder": folder(run)}), some))

        def folder(run: Run) -> str:
            path = Path(scratch, str(runs.index(run)))
            path.mkdir(exist_ok=True)
            return str(path)

        launch("encode", runs[:1], {})
        if not runs[0].made:
            raise LfqError(f"{rows[0].name}: {runs[0].failure}")
        launch("encode", runs[1:], {})
        files: dict[str, str] = {}
        for run in runs:
            for name, digest in run.made.items():
                files.setdefault(digest, f"{folder(run)}/{name}.lfq")
        common = {"files": files, "references": list(runs[0].made.values())}
        launch("decode", [run for run in runs if run.made], common)
        compare_pixels({run.setting.name: Path(folder(run), PIXELS) for run in runs}, runs)
    return runs


def compare_pixels(paths: dict[str, Path], runs: Sequence[Run]) -> None:
    """Hold the pictures of every two settings against each other, and note for each the furthest."""
    by_name = {run.setting.name: run for run in runs}
    for one, two in combinations([name for name, path in paths.items() if path.exists()], 2):
        psnr, picture, largest = furthest(np.load(paths[one], "r"), np.load(paths[two], "r"))
        for run, other in ((by_name[one], two), (by_name[two], one)):
            if run.apart is None or psnr < run.apart.psnr:
                run.apart = Apart(other, psnr, picture, largest)


def furthest(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> tuple[float, int, int]:
    """Of pictures [n, H, W, 3] the least PSNR, that picture's number, and the largest difference anywhere."""
    worst, number, largest = 0.0, 0, 0
    for index, (a, b) in enumerate(zip(one, two, strict=True)):
        difference = np.abs(a.astype(np.int16) - b)
        error = float(np.square(difference, dtype=np.int32).mean())
        largest = max(largest, int(difference.max()))
        if error > worst:
            worst, number = error, index
    psnr = MAX_PSNR if not worst else min(MAX_PSNR, 10 * float(np.log10(255**2 / worst)))
    return psnr, number, largest


def expected_tokens(runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    """What files must decode to, and the setting that says so: their maker's, else the first that can."""
    result: dict[str, tuple[str, str]] = {}
    for maker in runs:
        for digest in maker.made.values():
            for run in (maker, *runs):
                if "tokens" in run.decoded.get(digest, {}):
                    result.setdefault(digest, (run.decoded[digest]["tokens"], run.setting.name))
    return result


def differences(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What must not be, empty if all is well: the setting that it happened under, and a line on it."""
    lines = [(run.setting.name, f"{run.setting.name!r}: {run.failure}") for run in runs if run.failure]
    expected = expected_tokens(runs)
    made = [(maker, name, digest) for maker in runs for name, digest in maker.made.items()]
    # Where a setting decoded nothing at all, it is not for this CPU, or its failure is said above.
    for (maker, name, digest), run in product(made, [run for run in runs if run.decoded]):
        where, got = run.setting.name, run.decoded[digest]
        pair = f"file {name!r} of {maker.setting.name!r}, decoded under {where!r}"
        if "tokens" not in got:
            lines.append((where, f"{pair}: {got['error']}"))
        elif (tokens := got["tokens"]) != expected[digest][0]:
            right, by = expected[digest]
            lines.append((where, f"{pair}: tokens {tokens[:12]}, but {right[:12]} under {by!r}"))
        elif maker is runs[0] and not got["recoded"]:
            lines.append((where, f"{pair}: the same tokens are coded with other bytes"))
    for run in runs:
        if run.apart is not None and run.apart.psnr < LEAST_PSNR:
            far = f"{run.apart.psnr:.1f} dB from that under {run.apart.other!r}"
            lines.append((run.setting.name, f"{run.setting.name!r}: picture {run.apart.picture} is {far}"))
    return lines
