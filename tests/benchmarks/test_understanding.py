"""`benchmarks actions` and `targets`: clips through real files, and tables of what was found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from generate_support import CLIPS, make_tokenizer

from benchmarks.__main__ import cli
from benchmarks.toy.command import write_set
from benchmarks.understanding.command import Measured, labelled_files
from benchmarks.understanding.targets import summary
from benchmarks.understanding.through import Anchors, equal_bits, way_of
from lfqcodec.errors import LfqError
from lfqcodec.train.understand.clips import read_clip
from lfqcodec.understand.config import ClipConfig, EncoderConfig
from lfqcodec.understand.weights import build_classifier, save_classifier

SHAPE = EncoderConfig("vivit", 8, 32, (2, 8, 8), layers=1, temporal_layers=1, width=16, heads=2, mlp=32)
CLIP = ClipConfig(frames=8, size=32, stride=4, short=(32, 32), test_side=32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled clips, a classifier and a tokenizer."""
    root = tmp_path_factory.mktemp("understanding")
    write_set("actions", root / "set", seed=0, train=0, held=3)
    names = sorted(path.name for path in (root / "set" / "held").iterdir())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_classifier(SHAPE, len(names) + 1)
    tensors = model.state_dict()
    save_classifier(root / "c.safetensors", SHAPE, CLIP, [*names, "zoom"], tensors, {"name": "c"})
    make_tokenizer(root / "t.safetensors", CLIPS)
    return root


def test_clips_through_everything(clips: Path, tmp_path: Path) -> None:
    arguments = ["actions", clips / "c.safetensors", "--data", clips / "set" / "held", "--device", "cpu"]
    options = ["--model", clips / "t.safetensors", "--equal", "--through", "pixels,tokens,lfq:crf=30"]
    options += ["--codec-model", "fixture", "--count", 1, "--out", tmp_path / "found.json"]
    done = CliRunner().invoke(cli, [*map(str, arguments + options)], standalone_mode=False)
    assert done.exception is None, done.exception
    assert len(done.stdout.splitlines()) == 5
    found = json.loads((tmp_path / "found.json").read_text())
    rows = {row["through"].split("=")[0]: row for row in found["rows"]}
    assert list(rows) == ["pixels", "tokens", "lfq crf", "x265 crf"]
    assert (found["clips"], rows["pixels"]["drop"]) == (1, 0)
    # 8 frames are 9 for the tokenizer: 3 latent frames of 4x4 tokens of 18 bits.
    assert rows["tokens"]["bits_per_pixel"] == pytest.approx(3 * 16 * 18 / (8 * 32 * 32), abs=1e-5)
    assert rows["lfq crf"]["bits_per_pixel"] > 0


def test_x265_at_as_many_bits(clips: Path, tmp_path: Path) -> None:
    path = next((clips / "set" / "held").rglob("*.mkv"))
    fine, coarse = (Anchors(crf, tmp_path).bits(path) for crf in (10, 40))
    assert fine > coarse
    near = equal_bits([path], (fine + coarse) // 2, tmp_path)
    assert abs(near.bits(path) - (fine + coarse) // 2) <= 0.1 * fine
    pictures, bits = Anchors(10, tmp_path).clip(path)
    true = read_clip(path)
    assert bits == fine
    assert pictures.shape == true.shape
    assert np.abs(pictures.astype(int) - true).mean() < 12


def test_four_arms(clips: Path, tmp_path: Path) -> None:
    for part in ("train", "held"):
        shutil.copytree(clips / "set" / "held", tmp_path / "set" / part)
    arguments = ["targets", "--data", tmp_path / "set", "--model", clips / "t.safetensors"]
    arguments += ["--out", tmp_path / "out", "--seeds", 1, "--per-class", 1]
    for kind in ("--pre", "--tune"):
        for change in ("steps=2", "batch=2", "warmup=1", "model.width=16", "model.heads=2", "model.layers=1"):
            arguments += [kind, change]
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    assert done.exception is None, done.exception
    assert "margin over the better one from scratch" in done.stdout
    found = json.loads((tmp_path / "out" / "targets.json").read_text())
    assert {arm: len(each) for arm, each in found["scores"].items()} == dict.fromkeys(found["arms"], 1)
    assert list(found["arms"]) == ["pre-trained", "scratch", "scratch-long", "shuffled"]
    long = (tmp_path / "out" / "seed0" / "scratch-long" / "log.jsonl").read_text().splitlines()
    assert json.loads(long[-1])["step"] == 4


def test_what_is_refused(clips: Path, tmp_path: Path) -> None:
    for text in ("lfq", "lfq:crf=64", "x265:crf=52", "x264:crf=20", "pixels:crf=3", "lfq:q=3"):
        with pytest.raises(LfqError, match="is none of"):
            way_of(text, None, None, tmp_path)
    with pytest.raises(LfqError, match="need a tokenizer"):
        way_of("tokens", None, None, tmp_path)
    with pytest.raises(LfqError, match="knows no class"):
        labelled_files(clips / "set" / "held", "folder", ["zoom"], None)


def test_what_is_lost() -> None:
    pixels = Measured("pixels", np.array([0, 0, 0, 6]), 0, None)
    row = Measured("x", np.array([0, 1, 0, 0]), 8, 0.5).row(pixels)
    assert (row["top1"], row["top5"], row["drop"], row["bits_per_pixel"]) == (75, 100, 0, 0.5)
    assert row["interval"][0] < 0 < row["interval"][1]


def test_margin_over_the_better_one_from_scratch() -> None:
    scores = {
        "pre-trained": [60.0, 62.0, 64.0],
        "scratch": [40.0, 42.0, 44.0],
        "scratch-long": [51.0, 50.0, 49.0],
    }
    found = summary(scores)
    assert (found["better_scratch"], found["margin"]) == ("scratch-long", 12.0)
    assert found["standard_error"] == pytest.approx((4 / 3 + 1 / 3) ** 0.5, abs=0.01)
    assert found["arms"]["scratch"] == {"mean": 42.0, "deviation": 2.0}
