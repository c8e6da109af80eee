"""`python -m benchmarks bits`: its figures against what the files must hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from codec_support import ENVIRONMENT, y4m

from lfqcodec.entropy import decode_tokens, encode_tokens, uniform_rows
from lfqcodec.weights.store import prior_for, resolve_model

ROOT = Path(__file__).parents[2]


def test_figures(tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "bits.json"
    clips.mkdir()
    (clips / "a.y4m").write_bytes(y4m(6, (32, 24)))
    (clips / "b.mkv").write_bytes(b"no video")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "bits", clips, "--frames", "5", "--markdown", "--out", out],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record, model = json.loads(out.read_text()), resolve_model()
    assert record["model_sha256"] == model.sha256.hex()
    assert record["prior_sha256"] == prior_for(model).sha256.hex()
    assert record["frames"] == 5
    lines = done.stdout.splitlines()
    stages = [*map(str, range(model.config.stages)), "all"]
    assert [line.split("|")[2].strip() for line in lines[2:]] == [*stages, *stages]
    assert all(line.count("|") == 8 for line in lines)
    assert [(clip["clip"], clip["frames"]) for clip in record["clips"]] == [("a.y4m", 5), ("still", 65)]
    for clip, latents in (("a.y4m", 2), ("still", 17)):
        rows = [row for row in record["rows"] if row["clip"] == clip]
        assert [row["stage"] for row in rows] == stages
        for row in rows[:-1]:
            assert row["tokens"] == latents * 3 * 4
            assert row["static"] >= 18
            ideal = (row["first"] + (latents - 1) * row["later"]) / latents
            assert row["exact"] == pytest.approx(ideal * (1 + row["overhead"] / 100))
            assert row["overhead"] > 0
        assert rows[-1]["exact"] == pytest.approx(np.mean([row["exact"] for row in rows[:-1]]))
    (still, first) = (
        next(r for r in record["rows"] if r["clip"] == "still" and r["stage"] == s) for s in ("all", "0")
    )
    assert first["later"] < first["first"]
    whole = record["clips"][1]
    payload = still["tokens"] * still["exact"] / 8
    assert whole["container"] == pytest.approx(100 * (1 - payload / whole["exact_bytes"]))


def test_counting_changes_nothing(monkeypatch):
    """The rows that are looked at code as they would have, and 512 equal values take 9 bits each."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.bits import counted

    tokens = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    words = encode_tokens(uniform_rows(24), tokens)
    bits = np.zeros(2)
    assert np.array_equal(decode_tokens(counted(uniform_rows(24), bits, 24), words, (2, 3, 4)), tokens)
    assert all(math.isclose(each, 12 * 18) for each in bits)
