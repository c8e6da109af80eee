"""The server of a study over HTTP: what raters get, what becomes of their votes."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from codec_support import benchmarks
from rating_support import make_study, serving

from benchmarks.rating.store import Votes
from benchmarks.rating.study import StudyError, load_study
from benchmarks.results import Cost, Results, Row, Sequence
from lfqcodec.media import Frame
from lfqcodec.video import open_video

# The videos of `make_study` last 0.48 s; no vote is taken before most of that.
SHOWING = 0.5


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
    time.sleep(SHOWING)
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
    assert all(v.seconds >= SHOWING for v in filed)


def test_a_repeated_vote_counts_once_and_stays(server: str, study: Path) -> None:
    trial = state(server, "ann")["trial"]
    after = vote(server, "ann", trial, "left")
    assert vote(server, "ann", trial, "left") == after
    assert vote(server, "ann", trial, "right")["done"] == 1
    (filed,) = votes_of(study)
    assert filed.winner == filed.left


def test_no_vote_before_the_videos_were_shown(server: str, study: Path) -> None:
    trial = state(server, "ann")["trial"]
    assert refused(f"{server}api/vote", {"rater": "ann", "trial": trial, "side": "left"}) == 409
    assert votes_of(study) == []
    assert vote(server, "ann", trial)["done"] == 1


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


def test_repeats_change_sides(study: Path) -> None:
    change(study, {"repeats": 2})
    trials = load_study(study).trials("ann")
    assert len(trials) == len({trial.identity for trial in trials}) == 6
    for clip in ("clip0", "clip1", "clip2"):
        shown = [(trial.left, trial.right) for trial in trials if trial.clip.name == clip]
        assert sorted(shown) == [("lfq", "x265"), ("x265", "lfq")]


def test_nothing_is_lost_when_the_server_is_killed(study: Path) -> None:
    with serving(study) as (server, process):
        now = vote(server, "ann", state(server, "ann")["trial"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(study) as (server, _):
        # A page that is still open can go on: with its trial, and the videos under their names.
        assert vote(server, "ann", now["trial"])["done"] == 2
        with urllib.request.urlopen(server + now["media"]["left"]) as answer:
            assert answer.status == 200
        assert state(server, "ann")["done"] == 2


def test_votes_cannot_be_changed(server: str, study: Path) -> None:
    vote(server, "ann", state(server, "ann")["trial"])
    connection = sqlite3.connect(study / "votes.sqlite")
    for statement in ("UPDATE votes SET rater = 'x'", "DELETE FROM votes"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    # REPLACE would delete the old row without a word.
    row = "1, study, rater, trial, clip, left_codec, right_codec, right_codec, 0, ''"
    for first in (row, row.replace("1, study", "NULL, study"), row.replace("rater,", "'x',")):
        connection.execute(f"INSERT OR REPLACE INTO votes SELECT {first} FROM votes")
        connection.commit()
    connection.close()
    (filed,) = votes_of(study)
    assert (filed.rater, filed.winner) == ("ann", filed.left)


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
    for host in ("evil.example", "evil.example:80", "192.0.2.1", "[2001:db8::1]:80", ""):
        assert refused(f"{server}api/state?rater=ann", Host=host) in (400, 403)
    assert ask(f"{server}api/state?rater=ann", Host="LOCALHOST:1")["done"] == 0


def test_bound_to_all_addresses_it_answers_to_addresses_only(study: Path) -> None:
    with serving(study, "--host", "0.0.0.0") as (server, process):
        assert ask(f"{server}api/state?rater=ann", Host="192.0.2.1:80")["done"] == 0
        assert refused(f"{server}api/state?rater=ann", Host="evil.example") == 403
        process.send_signal(signal.SIGINT)
        assert "can be reached from other machines" in process.communicate(timeout=20)[1]


def change(study: Path, changes: dict[str, Any]) -> None:
    path = study / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, "has version 2"),
        ({"format": "x"}, "is not a study"),
        ({"clips": []}, "nothing to compare"),
        ({"clips": None}, "clips must be a list"),
        ({"clips": [5]}, r"clips\[0\]: must be an object"),
        ({"clips": [{"name": "a", "videos": {}}]}, r"clips\[0\]: reference is missing"),
        ({"clips": [{"name": "a", "reference": "a\0b", "videos": {}}]}, "cannot be a path"),
        ({"seed": "7"}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"repeats": 0}, "repeats must be 1 to"),
        ({"pairs": [["lfq", "x265"], ["x265", "lfq"]]}, "named twice"),
        ({"pairs": ["ab"]}, "pairs must be"),
        ({"pairs": [["lfq", "vp9"]]}, "pairs must be"),
        ({"pairs": [["lfq", "lfq"]]}, "pairs must be"),
        ({"clips": [{"name": "a", "reference": "../x.mp4", "videos": {}}]}, "is outside the study"),
        ({"clips": [{"name": "a", "reference": "gone.mp4", "videos": {}}]}, "gone.mp4 is missing"),
    ],
)
def test_faulty_studies(changes: dict[str, Any], expected: str, study: Path) -> None:
    change(study, changes)
    with pytest.raises(StudyError, match=expected) as caught:
        load_study(study)
    assert str(caught.value).startswith(str(study / "study.json"))
    assert "\n" not in str(caught.value)


def test_command_errors(study: Path, server: str) -> None:
    port = server.rstrip("/").rsplit(":", 1)[1]
    (study / "broken.sqlite").write_text("not a data base, not at all, not in the least")
    for options, expected in (
        (["--port", port], "in use"),
        (["--votes", str(study / "broken.sqlite")], "not a database"),
        # The last one: the server before has no use for it any more.
        (["--port", "0"], "0-lfq.mp4: is not a video"),
    ):
        if "0" in options:
            (study / "0-lfq.mp4").write_text("no video")
        done = benchmarks("rate", study, *options)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_server(study: Path) -> None:
    with serving(study) as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


# Rates as if measured: of the pairs that are close, the second is nearest to 0.1 bit per pixel.
RATES = {"x265-medium": (0.02, 0.11, 0.5), "x264-medium": (0.021, 0.1, 0.9), "svtav1-8": (0.09, 0.2, 0.4)}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results on one untagged HD picture. The file of x265 is in RGB, which lfqcodec gives."""
    folder = tmp_path_factory.mktemp("swept")
    picture = np.full((720, 1280, 3), (190, 60, 30), np.uint8)
    for name, form in (("yuv", "yuv420p"), ("rgb", "bgr0")):
        if name == "rgb":
            with open_video(folder / "yuv.mkv") as media:
                picture = next(event.rgb for event in media.events() if isinstance(event, Frame))
        with av.open(str(folder / f"{name}.mkv"), "w") as output:
            stream = output.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 1280, 720, form
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=form)))
            output.mux(stream.encode(None))
    record = Results(folder, "Test", codecs={name: {} for name in RATES})
    none = Cost(0, 0, 0)
    for sequence in ("one", "two"):
        record.sequences[sequence] = Sequence(sequence, 1280, 720, 1, "25", "yuv.mkv", "", "", "")
        for name, rates in RATES.items():
            for number, bpp in enumerate(rates):
                where = (name, f"crf={number}", sequence)
                file = "rgb.mkv" if name == "x265-medium" else "yuv.mkv"
                ones = [1] * 6
                row = Row(*where, 1280, 720, 1, 1, bpp, *ones, none, none, "", "", file, *4 * ("",))
                record.rows[where] = row
    record.save()
    return folder


def make(swept: Path, dest: Path, *options: str, expected: int = 0) -> Any:
    """What `python -m benchmarks study` chose for each clip, or what it complained of."""
    done = benchmarks("study", swept, dest, *options)
    assert done.returncode == expected, done.stderr
    if expected:
        assert not dest.exists()
        return done.stderr
    load_study(dest)
    clips = json.loads((dest / "study.json").read_text())["clips"]
    return {c["name"]: {codec: rate["bpp"] for codec, rate in c["rates"].items()} for c in clips}


def test_a_study_of_the_most_similar_rates(swept: Path, tmp_path: Path) -> None:
    chosen = make(swept, tmp_path / "a", "--codecs", ",".join(RATES), "--bpp", "0.1")
    assert chosen["one"] == chosen["two"] == {"x265-medium": 0.11, "x264-medium": 0.1, "svtav1-8": 0.09}
    pixels = []
    for name in ("reference", "x264-medium", "x265-medium"):
        with av.open(str(tmp_path / "a/000" / f"{name}.mp4")) as media:
            frame = next(media.decode(video=0))
            assert (frame.colorspace, frame.color_trc, frame.format.name) == (1, 1, "yuv420p")
            pixels.append(frame.to_ndarray(format="rgb24").mean((0, 1)))
    assert np.abs(np.diff(pixels, axis=0)).max() < 1.5
    chosen = make(swept, tmp_path / "b", "--codecs", "x265-medium,x264-medium", "--bpp", "0.02")
    assert chosen["one"] == {"x265-medium": 0.02, "x264-medium": 0.021}


def test_a_study_chosen_by_hand(swept: Path, tmp_path: Path) -> None:
    path = tmp_path / "match.json"
    good, far = {"svtav1-8": "crf=2", "x265-medium": "crf=2"}, {"svtav1-8": "crf=2", "x265-medium": "crf=0"}
    path.write_text(json.dumps({"two": good, "one": far}))
    chosen = make(swept, tmp_path / "a", "--match", str(path))
    assert chosen == {"two": {"svtav1-8": 0.4, "x265-medium": 0.5}}
    assert len([entry for entry in (tmp_path / "a").iterdir() if entry.is_dir()]) == 1
    for wrong, expected in (
        ({"one": far}, "one: rates are more than 1.5x apart (svtav1-8 0.4000, x265-medium 0.0200 bpp)"),
        ({"one": {**good, "lfq": "crf=9"}}, "one: lfq has no results at crf=9"),
        ({"three": good}, "no sequence three"),
        ({"one": "crf=2"}, "must be {sequence"),
        ({}, "must be {sequence"),
    ):
        path.write_text(json.dumps(wrong))
        assert expected in make(swept, tmp_path / "b", "--match", str(path), expected=1)
    for options in (["--bpp", "0.1"], ["--codecs", "x265-medium,x264-medium"]):
        assert "--match says" in make(swept, tmp_path / "b", "--match", str(path), *options, expected=2)
    for names in ("lfq", "lfq,lfq", "lfq,vp9"):
        assert "--codecs takes" in make(swept, tmp_path / "b", "--codecs", names, expected=1)
