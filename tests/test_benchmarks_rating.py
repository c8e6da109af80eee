"""The server of a study over HTTP: what raters get, what becomes of their votes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rating_support import ROOT, make_study, serving

from benchmarks.rating.store import Votes
from benchmarks.rating.study import StudyError, load_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")


@pytest.fixture
def server(study: Path) -> Iterator[str]:
    with serving(study) as (address, _):
        yield address


def ask(address: str, data: Any = None, **headers: str) -> Any:
    if data is not None:
        headers = {"Content-Type": "application/json", **headers}
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=20) as answer:
        return json.load(answer)


def state(server: str, rater: str) -> Any:
    return ask(f"{server}api/state?rater={rater}")


def vote(server: str, rater: str, trial: str, side: str = "left") -> Any:
    return ask(f"{server}api/vote", {"rater": rater, "trial": trial, "side": side})


def refused(address: str, data: Any = None, **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(address, data, **headers)
    assert json.load(caught.value)["error"]
    return caught.value.code


def votes_of(study: Path) -> list[Any]:
    votes = Votes(study / "votes.sqlite")
    try:
        return votes.all()
    finally:
        votes.close()


def test_a_rater_answers_all(server: str, study: Path) -> None:
    now = state(server, "ann")
    assert (now["question"], now["count"], now["done"]) == ("Which is better?", 3, 0)
    expected = load_study(study).trials("ann")
    for number in range(3):
        now = vote(server, "ann", now["trial"], "left" if number else "right")
    assert "trial" not in now
    assert now["done"] == 3
    filed = votes_of(study)
    assert [(v.clip, v.left, v.right) for v in filed] == [(t.clip.name, t.left, t.right) for t in expected]
    assert [v.winner for v in filed] == [expected[0].right, expected[1].left, expected[2].left]
    assert all(v.seconds > 0 for v in filed)


def test_a_repeated_vote_counts_once_and_stays(server: str, study: Path) -> None:
    trial = state(server, "ann")["trial"]
    after = vote(server, "ann", trial, "left")
    assert vote(server, "ann", trial, "left") == after
    assert vote(server, "ann", trial, "right")["done"] == 1
    (filed,) = votes_of(study)
    assert filed.winner == filed.left


def test_many_raters_at_once(server: str, study: Path) -> None:
    def rate_all(rater: str) -> None:
        now = state(server, rater)
        while "trial" in now:
            # As a double click: the same twice.
            vote(server, rater, now["trial"])
            now = vote(server, rater, now["trial"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(rate_all, [f"r{n}" for n in range(8)]))
    filed = votes_of(study)
    assert len(filed) == 24
    assert len({(v.rater, v.trial) for v in filed}) == 24


def test_sides_and_order_are_mixed_and_seeded(study: Path) -> None:
    first, again = load_study(study), load_study(study)
    shown = {rater: first.trials(rater) for rater in map(str, range(60))}
    assert all(again.trials(rater) == trials for rater, trials in shown.items())
    left = sum(trial.left == "lfq" for trials in shown.values() for trial in trials)
    assert 60 < left < 120
    assert len({tuple(trial.clip.name for trial in trials) for trials in shown.values()}) == 6


def test_nothing_is_lost_when_the_server_is_killed(study: Path) -> None:
    with serving(study) as (server, process):
        now = vote(server, "ann", state(server, "ann")["trial"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(study) as (server, _):
        again = state(server, "ann")
        assert (again["done"], again["trial"]) == (1, now["trial"])


def test_votes_cannot_be_changed(server: str, study: Path) -> None:
    vote(server, "ann", state(server, "ann")["trial"])
    connection = sqlite3.connect(study / "votes.sqlite")
    for statement in ("UPDATE votes SET rater = 'x'", "DELETE FROM votes"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_the_page_does_not_tell_the_codecs(server: str) -> None:
    text = json.dumps(state(server, "ann"))
    for name in ("page.js", "page.css", ""):
        with urllib.request.urlopen(server + name) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            text += answer.read().decode()
    assert "x265" not in text
    assert '"lfq"' not in text


def test_videos_can_be_read_in_parts(server: str, study: Path) -> None:
    address = server + state(server, "ann")["media"]["reference"]
    request = urllib.request.Request(address, headers={"Range": "bytes=4-7"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206
        assert answer.read() == b"ftyp"


def test_bad_requests(server: str) -> None:
    trial = state(server, "ann")["trial"]
    good = {"rater": "ann", "trial": trial, "side": "left"}
    for wrong in (
        {"rater": ""},
        {"rater": "<b>"},
        {"rater": 5},
        {"trial": "none"},
        {"trial": None},
        {"side": "up"},
    ):
        assert refused(f"{server}api/vote", {**good, **wrong}) == 400
    assert refused(f"{server}api/vote", b"{") == 400
    assert refused(f"{server}api/vote", b"[]") == 400
    assert refused(f"{server}api/vote", good, **{"Content-Type": "text/plain"}) == 415
    assert refused(f"{server}api/vote", b"x" * 5000) == 413
    assert refused(f"{server}api/vote") == 405
    assert refused(f"{server}media/../study.json") == 404
    assert refused(f"{server}study.json") == 404
    assert refused(f"{server}api/state?rater=ann", Host="evil.example") == 403
    assert state(server, "ann")["done"] == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 2}, "has version 2"),
        ({"format": "x"}, "is not a study"),
        ({"clips": []}, "nothing to compare"),
        ({"clips": None}, "TypeError"),
        ({"pairs": [["lfq", "vp9"]]}, "pairs must be"),
        ({"pairs": [["lfq", "lfq"]]}, "pairs must be"),
        ({"clips": [{"name": "a", "reference": "../x.mp4", "videos": {}}]}, "is outside the study"),
        ({"clips": [{"name": "a", "reference": "gone.mp4", "videos": {}}]}, "gone.mp4 is missing"),
    ],
)
def test_faulty_studies(change: dict[str, Any], expected: str, study: Path) -> None:
    path = study / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StudyError, match=expected):
        load_study(study)


def test_command_errors(study: Path, server: str) -> None:
    port = server.rstrip("/").rsplit(":", 1)[1]
    (study / "broken.sqlite").write_text("not a data base, not at all, not in the least")
    for options, expected in (
        (["--port", port], "in use"),
        (["--votes", str(study / "broken.sqlite")], "not a database"),
    ):
        line = [sys.executable, "-m", "benchmarks", "rate", str(study), *options]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_server(study: Path) -> None:
    with serving(study) as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
