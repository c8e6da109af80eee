"""Tokens are the same bits under other settings of the machine: the short form of `make determinism`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from codec_support import benchmarks, encoded, y4m
from fixture_model import EXACT_NAME, PROFILES

from benchmarks.determinism import worker
from benchmarks.determinism.command import render, table
from benchmarks.determinism.runs import Apart, Run, compare_pixels, differences, furthest
from benchmarks.determinism.settings import Setting
from lfqcodec.prior.motion.group import MotionRates
from lfqcodec.prior.motion.learned import LearnedMotionRates


def test_files_of_every_setting_decode_under_every_other() -> None:
    """Fresh processes: 1 and 2 threads, no vector code, MKL's compatible mode, bfloat16."""
    done = benchmarks(*("determinism", "--short", "--jobs", 2, "--json", "--model", EXACT_NAME))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["differences"] == []
    rows = result["rows"]
    assert len(rows) == 5
    assert len({json.dumps(row["tokens"]) for row in rows}) == 1
    assert set(rows[0]["tokens"]) == {"static", "learned"}
    assert all(len(digest) == 64 for digest in rows[0]["tokens"].values())
    for row in rows:
        assert row["equal"]
        assert row["payload_equal"]
        assert row["others_decoded"] == row["others"] == 4 * len(row["tokens"])
        assert row["pictures_apart"]["psnr"] >= 40
    # They really are other settings: ordinary float results differ.
    assert len({row["floats"] for row in rows}) > 1


@pytest.mark.parametrize("profile", PROFILES)
def test_tokens_and_payload_do_not_depend_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    path = tmp_path / "a.lfq"
    path.write_bytes(encoded(y4m(7, (40, 32)), **PROFILES[profile]))
    chunks = worker.tokens(str(path), None, {"device": "cpu"})
    assert [len(groups) for groups in chunks] == [3]
    expected = worker.tokens_digest(chunks)
    for rates in (MotionRates, LearnedMotionRates):
        monkeypatch.setattr(rates.__init__, "__kwdefaults__", dict(rates.__init__.__kwdefaults__))
    for rows in (17, 1 << 24):
        worker.apply(Setting("rows", max_rows=rows))
        assert MotionRates.__init__.__kwdefaults__["max_rows"] == rows
        again = worker.tokens(str(path), None, {"device": "cpu"})
        assert worker.tokens_digest(again) == expected
        assert worker.recode(str(path), again, None, {"device": "cpu"})
    other = [[tuple(layer + (layer.size == 1) for layer in group) for group in groups] for groups in chunks]
    assert worker.tokens_digest(other) != expected
    assert not worker.recode(str(path), other, None, {"device": "cpu"})


def test_differences_name_the_pair() -> None:
    good = {"tokens": "1" * 64, "recoded": True}
    one, two, three, four, five = (Run(Setting(n), {"static": "a"}, {"a": good}) for n in "12345")
    assert differences([one, two]) == []
    two.decoded = {"a": {"tokens": "2" * 64, "recoded": True}}
    three.decoded = {"a": {"error": "NumericsMismatch: stream 0 of chunk 0"}}
    four.decoded = {"a": {"tokens": "1" * 64, "recoded": False}}
    five.apart = Apart("1", 39.9, 17, 2)
    gone = dataclasses.replace(one, setting=Setting("6"), made={}, decoded={}, failure="killed")
    runs = [one, two, three, four, five, gone]
    lines = dict(differences(runs))
    assert lines.keys() == {"2", "3", "4", "5", "6"}
    assert "decoded under '2': tokens 222222222222, but 111111111111 under '1'" in lines["2"]
    assert "decoded under '3': NumericsMismatch" in lines["3"]
    assert "other bytes" in lines["4"]
    assert "picture 17 is 39.9 dB from that under '1'" in lines["5"]
    assert "killed" in lines["6"]
    rows = table(runs)
    assert [row["equal"] for row in rows] == [True, *[False] * 5]
    assert [row["others_decoded"] for row in rows] == [4, 0, 0, 4, 4, 0]
    assert "39.9 dB, +-2" in render(rows)


def test_pictures_furthest_apart(tmp_path: Path) -> None:
    pictures = np.full((3, 8, 8, 3), 100, np.uint8)
    other, third = pictures.copy(), pictures.copy()
    other[1, 0, 0, 0] += 1
    third[2] += 4
    assert furthest(pictures, pictures) == (100.0, 0, 0)
    assert furthest(pictures, other) == (pytest.approx(10 * np.log10(255**2 * 192)), 1, 1)
    paths, runs = {}, [Run(Setting(name)) for name in "abc"]
    for run, each in zip(runs, (pictures, other, third), strict=True):
        paths[run.setting.name] = tmp_path / f"{run.setting.name}.npy"
        np.save(paths[run.setting.name], each)
    compare_pixels({**paths, "d": tmp_path / "none.npy"}, [*runs, Run(Setting("d"))])
    assert [(run.apart.other, run.apart.picture) for run in runs] == [("c", 2), ("c", 2), ("a", 2)]
    assert runs[0].apart.psnr == pytest.approx(10 * np.log10(255**2 / 16))
