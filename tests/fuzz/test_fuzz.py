"""A short run of the fuzzers with a fixed seed, and proof that they notice what they look for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent
sys.path.insert(0, str(FUZZ))

import run as fuzz  # noqa: E402
import targets  # noqa: E402
from coded import coded  # noqa: E402
from mutate import CONFORMANCE, Mutator, mend, seeds, units  # noqa: E402

from lfqcodec.bitstream.reading import steps  # noqa: E402
from lfqcodec.bitstream.syntax import chunk  # noqa: E402


def test_nothing_is_found(tmp_path):
    tally = fuzz.by_mutation(tmp_path, inputs=400, seed=7)
    assert tally.inputs == 400
    assert tally.findings == []
    assert list(tmp_path.iterdir()) == []


def test_seeds_are_let_through():
    for number, data in enumerate(seeds()):
        assert targets.read_all(data)
        assert mend(data) == data
        for name in targets.TARGETS:
            # To count memory takes several times as long.
            targets.attempt(name, data, memory=number % 5 == 0)


@pytest.mark.parametrize("part", range(4))
def test_coded_tokens(part):
    """Both decoders agree on them, and the tokenizer shows what may be."""
    layers = targets.tokenizer().config.layout.counts
    good = shown = 0
    for number in range(50):
        data = coded(f"{part} {number}", layers if number % 2 else None)
        good += targets.read_all(data)
        for name in ("in_order", "shown", "like_the_other", "pictures"):
            try:
                targets.TARGETS[name](data)
                shown += name == "pictures" and number % 2
            except (targets.BitstreamError, targets.NumericsMismatch):
                assert name == "pictures"
    assert 25 < good < 50
    assert shown > 4


@pytest.mark.parametrize("path", sorted(CONFORMANCE.glob("faulty/*.lfq"))[::12], ids=lambda path: path.stem)
def test_faulty_files(path):
    for name in targets.TARGETS:
        targets.attempt(name, path.read_bytes(), memory=True)


@pytest.mark.parametrize("path", sorted((FUZZ / "found").glob("*.lfq")), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path):
    for name in targets.TARGETS:
        targets.attempt(name, path.read_bytes(), memory=True)


def test_the_same_seed_makes_the_same_inputs():
    one, two = (Mutator(seeds(), 3) for _ in range(2))
    made = [one.next() for _ in range(100)]
    assert made == [two.next() for _ in range(100)]
    assert len(set(made)) > 90
    # Half of them have right checksums: of what still has the form of a file.
    whole = [data for data in made if units(data)]
    assert 0.3 < sum(mend(data) == data for data in whole) / len(whole) < 0.9


def planted(monkeypatch, what):
    """Let the reader do `what` where it reads a chunk of 17 frames."""
    parse = chunk.parse_body

    def broken(head, body):
        if head.valid == 17:
            what()
        return parse(head, body)

    monkeypatch.setattr(steps, "parse_body", broken)


def test_a_crash_is_found(tmp_path, monkeypatch):
    planted(monkeypatch, lambda: 1 // 0)
    tally = fuzz.by_mutation(tmp_path, inputs=100, seed=7)
    assert tally.findings
    assert all("ZeroDivisionError" in name for name in tally.findings)
    kept = Path(tally.findings[0])
    assert kept.parent == tmp_path
    with pytest.raises(ZeroDivisionError):
        targets.attempt(kept.name.split("-")[0], kept.read_bytes())


def test_a_wrong_answer_is_found(tmp_path, monkeypatch):
    """Who does not look at the checksums of tokens is not of one mind with the other decoder."""
    monkeypatch.setattr("lfqcodec.codec.tokens.check_tokens", lambda *_: None)
    tally = fuzz.by_mutation(tmp_path, inputs=200, seed=1)
    assert tally.findings


def test_hunger_is_found(monkeypatch):
    data = next(data for data in seeds() if b"LFQC" in data and len(data) < 300)
    monkeypatch.setattr(targets, "read_all", lambda *_, **__: bytearray(targets.MEMORY + 1) and True)
    with pytest.raises(targets.Hungry):
        targets.attempt("in_order", data, memory=True)


def test_slowness_is_found(monkeypatch):
    monkeypatch.setattr(targets, "SECONDS", 0.01)
    monkeypatch.setitem(targets.TARGETS, "heads", lambda data: time.sleep(0.02))
    with pytest.raises(targets.Slow):
        targets.attempt("heads", b"")


def test_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, str(FUZZ / "run.py"), "--seconds", "2", "--out", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"fuzzer": "mutations"' in done.stdout
