"""Two processes that train a generator follow one with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from generate_support import make_tokenizer

from benchmarks.toy.command import write_set

CHANGES = (
    *("model.layers=1", "model.width=16", "model.heads=2", "model.mlp=32", "model.grid=[1, 4, 4]"),
    *("model.dropout=0.0", "model.attention_dropout=0.0", "steps=5", "batch=8", "warmup=1"),
)


def trained(out: Path, media: Path, tokenizer: Path, launcher: tuple[str, ...]) -> list[dict[str, float]]:
    arguments = ["train", "generator", "--preset", "small-mlm-image", "--model", str(tokenizer)]
    arguments += ["--images", str(media), "--out", str(out), "--device", "cpu", "--precision", "fp32"]
    arguments += ["--log-every", "1", *(part for change in CHANGES for part in ("--set", change))]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "lfqcodec", *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == "training"]


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    write_set("glyphs", tmp_path / "set", seed=0, train=60, held=0)
    tokenizer = make_tokenizer(tmp_path / "images.safetensors").path
    media = tmp_path / "set" / "train"
    one = trained(tmp_path / "one", media, tokenizer, ())
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    two = trained(tmp_path / "two", media, tokenizer, torchrun)
    assert len(one) == len(two) == 5
    for name in ("loss", "masked", "accuracy", "norm"):
        expected = [row[name] for row in one]
        # Means over what is masked are means of both halves, which have unlike numbers of it.
        tolerance = 1e-4 if name in ("loss", "norm") else 0.2
        assert [row[name] for row in two] == pytest.approx(expected, rel=tolerance, abs=1e-3), name
    stores = [np.fromfile(tmp_path / run / "tokens" / "tokens.i32", "<i4") for run in ("one", "two")]
    assert np.array_equal(*stores)
