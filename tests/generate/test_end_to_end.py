"""From files to generated pictures and clips, with the commands of the README, in a few steps of training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from benchmarks.toy.command import write_set
from lfqcodec.cli.main import cli
from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.generate.model.store import read_generator

NARROW = ("model.base_channels=4", "model.groups=2", "model.multipliers=[1, 1, 1, 1]")
TINY = (
    *("model.layers=1", "model.width=16", "model.heads=2", "model.mlp=32"),
    *("steps=6", "batch=8", "warmup=1", "sampling.steps=4"),
)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def sets(changes: tuple[str, ...]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def make_tokenizer(root: Path, preset: str, *data: object, phases: tuple[str, ...]) -> Path:
    chosen = [part for phase in phases for part in ("--phase", phase)]
    arguments = ("train", "tokenizer", "--preset", preset, *data, "--out", root / "tokenizer", *chosen)
    export = ("--export", root / "tokenizer.safetensors")
    run(*arguments, *sets(NARROW), "--device", "cpu", "--precision", "fp32", *export)
    return root / "tokenizer.safetensors"


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures in `set` and a tokenizer."""
    root = tmp_path_factory.mktemp("glyphs")
    write_set("glyphs", root / "set", seed=0, train=60, held=6)
    make_tokenizer(root, "small-image", "--images", root / "set" / "train", phases=("2:4x1x32",))
    return root


def trained(root: Path, preset: str, *more: object) -> list[object]:
    return [
        *("train", "generator", "--preset", preset, "--model", root / "tokenizer.safetensors"),
        *("--device", "cpu", "--precision", "fp32", *sets(TINY), *more),
    ]


def test_pictures_of_classes(glyphs: Path, tmp_path: Path) -> None:
    train, held = glyphs / "set" / "train", glyphs / "set" / "held"
    command = trained(glyphs, "small-mlm-image", "--images", train, "--held", held, "--out", tmp_path / "run")
    run(*command, "--stop-after", 2, "--sample-every", 0)
    assert not list((tmp_path / "run").glob("*.png"))
    at_once = tmp_path / "at-once.safetensors"
    run(*command, "--export", at_once)
    with Image.open(tmp_path / "run" / "samples_6.png") as picture:
        assert picture.size == (8 * 32, 10 * 32)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6
    assert len(rows[-1]["bits"]) == 4
    assert all(10 < bits < 30 for bits in rows[-1]["bits"])
    made = tmp_path / "models" / "digits.safetensors"
    told = json.loads(run("train", "export-generator", tmp_path / "run", made, "--json"))
    assert (told["classes"], told["sampling"]) == (10, ["default", "guided"])
    generator = read_generator(made)
    assert generator.sha256.hex() == told["sha256"]
    assert generator.classes == tuple("0123456789")
    assert generator.samplings["guided"].guidance == 3.0
    averaged = load_file(tmp_path / "run" / "checkpoint.safetensors")
    for name, tensor in load_file(made).items():
        assert (tensor == averaged[f"ema/{name}"].half()).all()
    sheet = tmp_path / "sheet.png"
    tokenizer = ("--tokenizer", glyphs / "tokenizer.safetensors")
    run("generate", made, sheet, *tokenizer, "--count", 20, "--sampling", "guided")
    with Image.open(sheet) as picture:
        assert picture.size == (2 * 32, 10 * 32)
    assert load_file(at_once).keys() == load_file(made).keys()
    assert read_generator(at_once).classes == generator.classes
    with pytest.raises(LfqError, match="exists already"):
        run("train", "export-generator", tmp_path / "run", made)
    with pytest.raises(LfqError, match="another generator"):
        run(*command, "--set", "model.layers=2")
    with pytest.raises(LfqError, match="was made with crop"):
        run(*command, "--set", "data.crop=[0.5, 1.0]")


def test_continued_clips(tmp_path: Path) -> None:
    write_set("bounce", tmp_path / "set", seed=0, train=5, held=1)
    train, held = tmp_path / "set" / "train", tmp_path / "set" / "held"
    make_tokenizer(tmp_path, "small-video", "--videos", train, phases=("1:2x1x32", "1:1x17x32"))
    data = ("--videos", train, "--held", held, "--out", tmp_path / "run")
    run(*trained(tmp_path, "small-mlm-predict", *data, "--set", "batch=2"))
    with Image.open(tmp_path / "run" / "samples_6.png") as picture:
        assert picture.size == (17 * 32, 32)  # the one clip that is held out
    run("train", "export-generator", tmp_path / "run", tmp_path / "next.safetensors")
    clip = next(held.rglob("*.mkv"))
    run("generate", tmp_path / "next.safetensors", tmp_path / "a.npz", "--condition", clip, "--count", 2)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["arr_0"].shape == (2, 17, 32, 32, 3)


def test_clips_token_by_token(tmp_path: Path) -> None:
    write_set("grid", tmp_path / "set", seed=0, train=8, held=2)
    train, held = tmp_path / "set" / "train", tmp_path / "set" / "held"
    make_tokenizer(tmp_path, "small-video", "--videos", train, phases=("1:2x1x32", "1:1x17x32"))
    data = ("--videos", train, "--held", held, "--out", tmp_path / "run")
    model = tmp_path / "lm.safetensors"
    small = ("--set", "batch=2", "--set", "steps=2", "--export", model)
    run(*trained(tmp_path, "small-lm-video", *data), *small, "--online")
    names = read_generator(model).classes
    assert set(names) <= {"left", "right", "up", "down"}
    with Image.open(tmp_path / "run" / "samples_2.png") as picture:
        assert picture.size == (17 * 32, len(names) * 32)
    run("generate", model, tmp_path / "a.npz", "--class", names[0], "--count", 2)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["arr_0"].shape == (2, 17, 32, 32, 3)


def test_what_is_wrong_with_the_data(glyphs: Path, tmp_path: Path) -> None:
    train = glyphs / "set" / "train"
    out = ("--out", tmp_path / "run")
    with pytest.raises(LfqError, match="1x64x64 pixels are 1x8x8 tokens, the model's grid is 1x4x4"):
        run(*trained(glyphs, "small-mlm-image", "--images", train, *out, "--set", "data.size=64"))
    shutil.copytree(train / "0", tmp_path / "one" / "0")
    with pytest.raises(LfqError, match=r"all files are of one class \(0\)"):
        run(*trained(glyphs, "small-mlm-image", "--images", tmp_path / "one", "--out", tmp_path / "o"))
    with pytest.raises(InputVideoError, match="not a table of labels"):
        run(*trained(glyphs, "small-mlm-image", "--images", train, *out, "--labels", tmp_path / "no.csv"))
    assert not (tmp_path / "run" / "tokens").exists()
    with pytest.raises(LfqError, match="tokens in many layers"):
        run("train", "generator", "--model", "fixture", "--images", train, *out)
