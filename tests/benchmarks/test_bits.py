"""`python -m benchmarks bits`: its figures against what the files must hold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from codec_support import benchmarks, y4m
from fixture_model import EXACT_NAME, NAME

from benchmarks.bits import _Counter, kind_of
from lfqcodec.bitstream.geometry import Layer
from lfqcodec.prior.motion.static import StaticMotionRates
from lfqcodec.weights.store import resolve_model

KINDS = [f"{what}.{part}" for part in ("anchor", "middle", "quarters") for what in ("motion", "depth")]
KINDS += ["quality", "intra tokens", "anchor tokens", "middle tokens", "quarters tokens"]


@pytest.mark.parametrize("name", [NAME, EXACT_NAME])
def test_figures(tmp_path: Path, name: str) -> None:
    clips, out = tmp_path / "clips", tmp_path / "bits.json"
    clips.mkdir()
    (clips / "a.y4m").write_bytes(y4m(6, (32, 24)))
    (clips / "b.mkv").write_bytes(b"no video")
    model = resolve_model(None if name == NAME else name)
    options = ("--frames", 5, "--crf", 26, "--markdown", "--out", out, "--model", model.path)
    done = benchmarks("bits", clips, *options)
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stderr
    record = json.loads(out.read_text())
    assert record["model_sha256"] == model.sha256.hex()
    assert (record["prior"] is None) == (name == NAME)
    rows = {row["layer"]: row for row in record["rows"]}
    assert sorted(rows) == sorted(KINDS)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + len(KINDS)
    assert all(line.count("|") == 10 for line in lines)
    (clip,) = record["clips"]
    assert (clip["frames"], clip["width"], clip["height"]) == (5, 32, 24)
    # Padded to 32x32: 4x4 tokens a layer, 2x2 blocks of motion, one token of depth.
    assert (
        rows["intra tokens"]["positions"] == rows["intra tokens"]["coded"] == 16 * model.config.intra_layers
    )
    assert rows["anchor tokens"]["positions"] == 16 * model.config.anchor_layers
    assert rows["anchor tokens"]["coded"] % 4 == 0
    assert rows["quarters tokens"]["positions"] == 2 * 16 * model.config.between_layers
    assert (rows["motion.anchor"]["positions"], rows["depth.quarters"]["positions"]) == (4, 2)
    assert (rows["quality"]["positions"], rows["quality"]["coded"]) == (2, 2)
    used = "static" if name == NAME else "learned"
    bits = sum(row[used] for row in record["rows"])
    for row in record["rows"]:
        assert row[f"{used}_bpp"] == pytest.approx(row[used] / (5 * 32 * 24))
        assert (row["learned"] is None) == (name == NAME)
    payload = clip["bytes"] * (1 - clip["container"] / 100)
    assert payload == pytest.approx(bits / 8 * (1 + clip["overhead"] / 100))
    # Some percent of so small a file, and less than nothing where a stream ends in zeros.
    assert abs(clip["overhead"]) < 10
    assert clip["bpp"] == pytest.approx(8 * clip["bytes"] / (5 * 32 * 24))


def test_code_lengths_and_what_is_coded() -> None:
    """A quality at a GOP start takes 9 bits; a depth of nothing leaves no token to code."""
    layers = (
        Layer("quality", 0, (1, 1, 1)),
        Layer("motion.anchor", 0, (1, 2, 2)),
        Layer("depth.anchor", 0, (1, 1, 1)),
        Layer("anchor.0", 0, (1, 4, 4)),
    )
    counter = _Counter(StaticMotionRates())
    counter.rates.begin_chunk([layers], gop_start=True)
    counter.rates.begin_group()
    for number, layer in enumerate(layers):
        counter.add(number, layer.name, np.zeros(layer.shape, np.int32))
    assert counter.bits["quality"] == pytest.approx(9, abs=1e-3)
    assert counter.bits["depth.anchor"] < 9
    assert counter.positions == {"quality": 1, "motion.anchor": 4, "depth.anchor": 1, "anchor tokens": 16}
    assert counter.coded["anchor tokens"] == 0
    assert math.isclose(counter.bits["anchor tokens"], 0, abs_tol=0.01)
    assert [kind_of(name) for name in ("anchor.10", "motion.anchor", "quality")] == [
        "anchor tokens",
        "motion.anchor",
        "quality",
    ]
