"""Tokens are the same bits under other settings of the machine: the short form of `make determinism`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from codec_support import ENVIRONMENT, encoded, one_thread, succeed, y4m

import lfqcodec
from lfqcodec.codec.decode.file import LfqFile
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.prior.weights import load_prior

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.determinism")


def test_files_of_every_setting_decode_under_every_other() -> None:
    """Fresh processes: 1 and 2 threads, no vector code, MKL's compatible mode."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "determinism", "--short", "--jobs", "2", "--json"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["differences"] == []
    rows = result["rows"]
    assert len(rows) == 4
    assert len({json.dumps(row["tokens"]) for row in rows}) == 1
    assert all(len(digest) == 64 for digest in rows[0]["tokens"].values())
    for row in rows:
        assert row["equal"]
        assert row["payload_equal"]
        assert row["others_decoded"] == row["others"] == 6
    # They really are other settings: ordinary float results differ.
    assert len({row["floats"] for row in rows}) > 1


def test_other_batches_and_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: ModuleType
) -> None:
    """The digest is that of what `lfqcodec tokens` writes, whatever the sizes of the decoder's batches."""
    path, plain = tmp_path / "a.lfq", tmp_path / "a.npy"
    with one_thread():
        path.write_bytes(encoded(y4m(18, (72, 56)), gop=1, stages=2, profile="exact"))
        succeed("tokens", path, plain)
        expected = hashlib.sha256(plain.read_bytes()).hexdigest()
        for options, rows in (
            ({}, 4096),
            ({"group": 1, "int8": False}, 17),
            ({"group": 1 << 16, "int8": True}, 1 << 24),
        ):
            monkeypatch.setitem(GopCoder.__init__.__kwdefaults__, "max_rows", rows)
            with lfqcodec.open(path, device="cpu") as video:
                prior = video.prior()
                assert prior is not None
                network = ExactNetwork(load_prior(prior.path), **options)
                monkeypatch.setattr(LfqFile, "_network", lambda _, network=network: network)
                assert benchmark.tokens_digest([chunk.tokens for chunk in video.tokens()]) == expected
        assert np.load(plain).shape == (2, 6, 7, 9)


def test_differences_name_the_pair(benchmark: ModuleType) -> None:
    good = {"tokens": "1" * 64, "recoded": True}
    one, two, three, four = (benchmark.Run(benchmark.Setting(n), {"crf": "a"}, {"a": good}) for n in "1234")
    assert benchmark.differences([one, two]) == []
    two.decoded = {"a": {"tokens": "2" * 64, "recoded": True}}
    three.decoded = {"a": {"error": "NumericsMismatch: stage 0 of chunk 0"}}
    four.decoded = {"a": {"tokens": "1" * 64, "recoded": False}}
    gone = dataclasses.replace(one, setting=benchmark.Setting("5"), made={}, decoded={}, failure="killed")
    lines = dict(benchmark.differences([one, two, three, four, gone]))
    assert lines.keys() == {"2", "3", "4", "5"}
    assert "decoded under '2': tokens 222222222222, but 111111111111 under '1'" in lines["2"]
    assert "decoded under '3': NumericsMismatch" in lines["3"]
    assert "other bytes" in lines["4"]
    assert "killed" in lines["5"]
    rows = benchmark.table([one, two, three, four, gone])
    assert [row["equal"] for row in rows] == [True, False, False, False, False]
    assert [row["others_decoded"] for row in rows] == [3, 0, 0, 3, 0]
