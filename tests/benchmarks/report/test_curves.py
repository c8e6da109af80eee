"""Learning curves: what is read from logs, and the picture through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import cli
from benchmarks.curves import read_curves
from lfqcodec.errors import LfqError


def log(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    phases = [
        {"steps": steps, "batch": 2, "frames": frames, "size": 16} for steps, frames in ((10, 1), (20, 5))
    ]
    start = {"event": "start", "step": 0, "seconds": 0.0, "phases": phases}
    first = [start, {"event": "evaluation", "step": 10, "seconds": 1800.0, "psnr": [20.0, 22.0], "mse": 0.1}]
    first += [start | {"step": 10}]  # resumed
    first += [{"event": "evaluation", "step": 20, "seconds": 3600.0, "psnr": [21.0, 23.0], "mse": 0.05}]
    second = [
        start,
        {"event": "evaluation", "step": 5, "seconds": 1800.0, "psnr": [22.0, 24.0], "lpips": [0.3, 0.2]},
    ]
    return [log(tmp_path / "one", first), log(tmp_path / "two", second)]


def test_runs_follow_each_other_in_hours(runs: list[Path]) -> None:
    curves = read_curves(runs)
    assert curves.psnr == [[(0.5, 20.0), (1.0, 21.0), (1.5, 22.0)], [(0.5, 22.0), (1.0, 23.0), (1.5, 24.0)]]
    assert curves.lpips == [[(1.5, 0.3)], [(1.5, 0.2)]]
    assert curves.losses == {"mse": [(0.5, 0.1), (1.0, 0.05)]}
    assert [name for _, name in curves.borders] == ["2x1x16", "2x5x16", "2x1x16"]


def test_figures_by_quality_beside_means_of_batches(tmp_path: Path) -> None:
    row = {"step": 4, "seconds": 3600.0}
    measured = {"psnr": [30.0, 32.0], "bpp": [0.01, 0.02], "lagrangian": [0.2, 0.3]}
    rows = [
        {"event": "training", "psnr": 31.0, "loss": 0.5, **row},
        {"event": "evaluation", **measured, **row},
    ]
    run = log(tmp_path / "run", rows)
    curves = read_curves([run])
    assert (curves.psnr, curves.bpp) == ([[(1.0, 30.0)], [(1.0, 32.0)]], [[(1.0, 0.01)], [(1.0, 0.02)]])
    assert curves.losses == {"loss": [(1.0, 0.5)]}
    result = CliRunner().invoke(cli, ["curves", str(run), str(tmp_path / "curves.png")])
    assert result.exit_code == 0, result.output


def test_picture_is_a_png_and_the_same_every_time(runs: list[Path], tmp_path: Path) -> None:
    pictures = []
    for _ in range(2):
        out = tmp_path / "curves.png"
        result = CliRunner().invoke(cli, ["curves", *map(str, runs), str(out), "--title", "A run"])
        assert result.exit_code == 0, result.output
        pictures.append(out.read_bytes())
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] == pictures[1]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    for path in (tmp_path / "x.jsonl", tmp_path):
        with pytest.raises(LfqError, match="not the log"):
            read_curves([path])
    empty = log(tmp_path / "empty", [])
    with pytest.raises(LfqError, match="no evaluation"):
        read_curves([empty])
