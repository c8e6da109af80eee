"""`python -m benchmarks quality`: the places of pictures, and means over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from codec_support import benchmarks, encoded, y4m

from benchmarks.metrics import FrameScores
from benchmarks.quality import Place, places_of, rows


def test_places(tmp_path: Path) -> None:
    """Two GOPs of 1 + 4 + 3 and 1 + 1 pictures."""
    path = tmp_path / "a.lfq"
    path.write_bytes(encoded(y4m(10, (32, 24)), gop=8, scene_cuts=False))
    parts = ["first", "quarters", "middle", "quarters", "anchor", "quarters", "middle", "anchor"]
    parts += ["first", "anchor"]
    numbers = [*range(8), 0, 1]
    assert list(places_of(path, None)) == [Place(*each) for each in zip(numbers, parts, strict=True)]


def test_means_by_part_and_along_the_gop() -> None:
    scores = [(Place(0, "first"), FrameScores(float("inf"), None, 0.5, 0.6))]
    scores += [(Place(n, "anchor"), FrameScores(30.0 + n, None, 0.1, 0.2)) for n in (1, 16, 17)]
    table = {row.place: row for row in rows("a", scores)}
    assert list(table) == ["first", "anchor", "1 to 16", "17 to 32", "all"]
    assert (table["first"].psnr, table["first"].lpips_shifted) == (100.0, 0.6)
    assert (table["1 to 16"].pictures, table["1 to 16"].psnr) == (2, 38.5)
    assert table["17 to 32"].psnr == 47.0
    assert table["all"].lpips == pytest.approx(0.2)
    assert table["all"].ms_ssim is None


def test_the_command(tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "quality.json"
    clips.mkdir()
    (clips / "a.y4m").write_bytes(y4m(6, (32, 24)))
    done = benchmarks("quality", clips, "--frames", 6, "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    pictures = record["pictures"]["a.y4m"]
    assert [picture["part"] for picture in pictures] == [
        *("first", "quarters", "middle", "quarters", "anchor", "anchor")
    ]
    whole = next(row for row in record["rows"] if (row["clip"], row["place"]) == ("a.y4m", "all"))
    assert whole["psnr"] == pytest.approx(np.mean([picture["psnr"] for picture in pictures]))
    assert whole["psnr"] > 20
    assert f"{whole['psnr']:.2f}" in done.stdout
    assert whole["lpips"] is None or whole["lpips_shifted"] is not None
