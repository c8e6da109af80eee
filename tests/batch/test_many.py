"""A thousand files, twenty of them broken, on processes and on Ray (`make test-batch`)."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys

import pytest
from batch_support import BROKEN, make_clips, outputs, report_of
from codec_support import ENVIRONMENT, run

pytestmark = pytest.mark.many
FILES, BAD = 1000, 20
ENGINES = {"processes": ("--engine", "processes")}
if importlib.util.find_spec("ray"):
    ENGINES["ray"] = ("--engine", "ray", "--address", "local")


def broken(number: int, whole: bytes) -> bytes:
    """A file that cannot be encoded, each of them in another way."""
    kinds = [*BROKEN.values()]
    if number < len(kinds):
        return kinds[number]
    return random.Random(number).randbytes(100 * number) if number % 2 else whole[: 10 + number]


@pytest.mark.timeout(7200)
def test_a_thousand_files(tmp_path):
    """Both engines make the same outputs and the same report, and a second call does no work."""
    clips = make_clips(
        tmp_path / "in", [f"{number % 10}/{number:04}.y4m" for number in range(FILES)], frames=2
    )
    for number, clip in enumerate(random.Random(1).sample(clips, BAD)):
        clip.write_bytes(broken(number, clip.read_bytes()))
    made, reports = {}, {}
    for engine, options in ENGINES.items():
        out = tmp_path / "out"
        for expected in ("done", "skipped"):
            done = run(
                "batch",
                tmp_path / "in",
                out,
                *options,
                "-q",
                "--json",
                timeout=7200,
                env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            assert done.returncode == 1, done.stderr.decode()
            summary = json.loads(done.stdout)
            assert (summary[expected], summary["failed"]) == (FILES - BAD, BAD)
            if expected == "done":
                made[engine], reports[engine] = outputs(out), report_of(out)
        journals = list((out / ".lfqcodec-batch").iterdir())
        assert len(journals) == 1, "the second call wrote nothing"
        out.rename(tmp_path / engine)
    assert len(made["processes"]) == FILES - BAD
    assert all(each == made["processes"] for each in made.values())
    assert all(each == reports["processes"] for each in reports.values())
