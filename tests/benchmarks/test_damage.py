"""Counting of damage that is noticed, on a tiny file, and on a reader that misses some of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from codec_support import benchmarks

from benchmarks import damage
from lfqcodec.errors import LfqError

TINY = Path(__file__).parents[1] / "conformance" / "uncommon" / "one-pixel-one-frame.lfq"


def test_everything_is_noticed():
    data = TINY.read_bytes()
    tallies = damage.count(data)
    assert [(each.kind, each.tried) for each in tallies] == [
        ("bits flipped", 8 * len(data)),
        ("cut off", len(data)),
        ("bytes lost", len(data)),
        ("bytes doubled", len(data)),
    ]
    assert all(each.noticed == each.tried for each in tallies)
    assert {"ChecksumMismatch", "BadMagic", "UnsupportedVersion", "InvalidField"} <= set(tallies[0].errors)
    assert set(tallies[1].errors) == {"Truncated"}


def test_a_miss_is_counted(monkeypatch):
    """A copy that is no different is one that nobody notices."""
    monkeypatch.setattr(damage, "broken", lambda data: iter([("same", data), ("same", data[:-1])]))
    (tally,) = damage.count(TINY.read_bytes())
    assert (tally.tried, tally.silent, tally.noticed) == (2, 1, 1)


def test_a_damaged_file_is_refused():
    with pytest.raises(LfqError, match="damaged already: Truncated"):
        damage.count(TINY.read_bytes()[:-1])


def test_the_command(tmp_path):
    out = tmp_path / "damage.json"
    done = benchmarks("damage", TINY, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "bits flipped" in done.stdout
    (file,) = json.loads(out.read_text())["files"]
    assert sum(kind["tried"] for kind in file["kinds"]) == 11 * file["bytes"]
