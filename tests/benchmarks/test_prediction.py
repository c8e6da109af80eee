"""Scores of continued clips: by hand, and of a generator that has learned nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from generate_support import CLIPS, PICTURES, make_generator, make_tokenizer
from PIL import Image

from benchmarks.__main__ import cli
from benchmarks.generation.prediction import Scores, frame_psnr, frame_ssim
from benchmarks.toy.command import draw, write_set


def test_scores_by_hand() -> None:
    truth = np.full((2, 8, 8, 3), 100, np.uint8)
    made = truth.copy()
    made[1] += 51  # a fifth of the range
    assert frame_psnr(made, truth) == pytest.approx([100.0, 10 * np.log10(25)])
    assert frame_ssim(truth, truth) == pytest.approx([1.0, 1.0])
    assert frame_ssim(made, truth)[1] < 0.99
    scores = Scores()
    scores.add("copy", made, truth)
    scores.add_samples([made, truth], truth)
    rows = scores.rows()
    assert rows["copy"]["psnr_by_frame"] == [100.0, 13.979]
    assert rows["sample"]["psnr"] == pytest.approx((100 + 13.9794) / 2, abs=1e-3)
    assert rows["mean"]["psnr_by_frame"] == pytest.approx([100.0, (100 + 13.9794) / 2], abs=1e-3)
    assert rows["best of 2"]["psnr"] == 100.0


def test_command(tmp_path: Path) -> None:
    write_set("bounce", tmp_path / "set", seed=0, train=2, held=0)
    tokenizer = make_tokenizer(tmp_path / "clips.safetensors", CLIPS)
    shape = replace(PICTURES, grid=(5, 4, 4), classes=0, class_drop=0.0, condition_frames=2)
    make_generator(tmp_path / "next.safetensors", tokenizer, shape, ())
    out, picture = tmp_path / "scores.json", tmp_path / "rows.png"
    arguments = ["prediction", str(tmp_path / "next.safetensors"), "--data", str(tmp_path / "set" / "train")]
    arguments += ["--samples", "2", "--out", str(out), "--picture", str(picture), "--device", "cpu"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exception is None, done.output
    result = json.loads(out.read_text())
    assert (result["videos"], result["given"], result["frames"]) == (2, 5, 17)
    assert list(result["scores"]) == ["copy", "tokenizer", "sample", "mean", "best of 2"]
    # Copying by the files' own pictures, which are those that were drawn, but for rounding in 4:2:0.
    expected = []
    for number in range(2):
        clip = draw("bounce", 0, number, held=False)[1]
        expected.append(frame_psnr(np.repeat(clip[4:5], 12, 0), clip[5:]))
    assert result["scores"]["copy"]["psnr_by_frame"] == pytest.approx(np.mean(expected, 0).tolist(), abs=0.3)
    with Image.open(picture) as opened:
        assert opened.size == (17 * 32, 6 * 32)
    pictures = make_generator(tmp_path / "pictures.safetensors", tokenizer)
    done = CliRunner().invoke(cli, ["prediction", str(pictures.path), "--data", str(tmp_path)])
    assert "does not continue clips" in str(done.exception)
