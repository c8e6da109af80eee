"""A judge, what it says of samples, and the demonstrations, in a few steps of training."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from generate_support import make_generator, make_tokenizer

from benchmarks.__main__ import cli
from benchmarks.generation.demo import DEMOS, Demo, table
from benchmarks.generation.judge import Views, accuracy, load_judge, train_judge, views_of
from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.generate.pictures import grid_of
from lfqcodec.train.data import Entry
from lfqcodec.train.generator.config import DataConfig
from lfqcodec.train.generator.config import load_preset as load_generator_preset
from lfqcodec.train.tokenizer.config import load_preset as load_tokenizer_preset

NARROW = ("model.base_channels=4", "model.groups=2", "model.multipliers=[1, 1, 1, 1]")
TINY = ("model.layers=1", "model.width=16", "model.heads=2", "model.mlp=32", "steps=4", "batch=8", "warmup=1")


def sets(changes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for change in changes for part in ("--set", change))


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


class Stripes:
    """Stands for a pack: clips of 5 frames in which a bright row moves down, or else up."""

    def frames(self, entry: Entry, first: int, count: int, step: int = 1) -> np.ndarray:
        clip = np.zeros((5, 32, 32, 3), np.uint8)
        for frame in range(5):
            place = 4 + 4 * frame + entry.offset
            clip[frame, place : place + 4] = 255
        return clip if entry.label == "down" else clip[::-1]


def test_a_judge_learns_the_order_of_frames() -> None:
    data = DataConfig(size=32, frames=5, crop=(1.0, 1.0), flip=False, views=1)
    labels = [k % 2 for k in range(12)]
    entries = [Entry(f"{k}", f"{k}", 5, 32, 32, k // 2, ("down", "up")[k % 2]) for k in range(12)]
    views = Views(Stripes(), entries, labels, data)  # type: ignore[arg-type]
    network = train_judge(views, 2, steps=12, batch=8, seed=0)
    assert not network.training
    assert accuracy(network, views) == 1.0


@pytest.mark.parametrize("name", DEMOS)
def test_settings_of_demonstrations(name: str) -> None:
    chosen = DEMOS[name]
    parts = {"tokenizer": chosen.tokenizer, "generator": chosen.generator}
    given = {part: list(pairwise(arguments)) for part, arguments in parts.items()}
    preset = {part: next(value for key, value in each if key == "--preset") for part, each in given.items()}
    changes = {part: [value for key, value in each if key == "--set"] for part, each in given.items()}
    phases = [value for key, value in given["tokenizer"] if key == "--phase"]
    if phases:
        changes["tokenizer"].append(f"phases={phases}")
    tokenizer = load_tokenizer_preset(preset["tokenizer"], changes["tokenizer"])
    generator = load_generator_preset(preset["generator"], changes["generator"])
    data = generator.data
    assert grid_of(tokenizer.model, data.frames, data.size) == generator.model.grid
    assert tokenizer.phases[-1].frames == data.frames
    # What a generator sees should be what its tokenizer was trained on.
    assert (tokenizer.skip_chance == 1) == (data.stride == 2)
    assert {row.split(",")[0] for row in chosen.rows} <= set(generator.sampling)


def test_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Demo(
        "glyphs",
        60,
        30,
        ("--preset", "small-image", "--phase", "2:4x1x32", *sets(NARROW)),
        ("--preset", "small-mlm-image", *sets((*TINY, "sampling.steps=4"))),
        ("--steps", "2", "--batch", "8"),
        ("default", "guided,steps=2,softmax_temperature=[0.5,1.0]"),
        20,
    )
    monkeypatch.setitem(DEMOS, "quick", tiny)
    told = run("demo", "quick", "--out", tmp_path)
    result = json.loads((tmp_path / "quick" / "scores.json").read_text())
    rows = result["rows"]
    *usual, last = rows
    assert usual == ["held out", "tokenizer", "default"]
    changed = rows[last]
    assert table(result) in told
    assert rows["held out"]["frechet"] == pytest.approx(0, abs=1e-3)
    assert rows["default"]["frechet"] > 0
    assert [rows[name]["samples"] for name in rows] == [20, 20, 20, 20]
    assert changed["sampling"]["guidance"] == 3.0
    assert changed["sampling"]["softmax_temperature"] == [0.5, 1.0]
    assert "FID" not in told + json.dumps(result)
    assert "in features of judge" in result["frechet"]
    for row in rows.values():
        assert row["agreement"] == pytest.approx(np.mean(list(row["by_class"].values())), abs=0.34)
    made = tmp_path / "quick" / "quick.safetensors"
    stamp = made.stat().st_mtime_ns
    run("demo", "quick", "--out", tmp_path)
    assert made.stat().st_mtime_ns == stamp
    pack, judge = tmp_path / "quick" / "pack", tmp_path / "quick" / "judge.safetensors"
    _, held, names = views_of(pack, load_judge(judge).data)
    assert len(held.entries) == 30
    assert names == [str(digit) for digit in range(10)]
    with pytest.raises(LfqError, match="nothing to train on has 17 frames"):
        views_of(pack, DataConfig(frames=17))
    with pytest.raises(WeightsError, match="not a judge"):
        load_judge(made)
    other = make_generator(tmp_path / "other.safetensors", make_tokenizer(tmp_path / "t.safetensors"))
    with pytest.raises(LfqError, match="has other classes than the judge"):
        run("agreement", other.path, "--features", judge, "--pack", pack)
