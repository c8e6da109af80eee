"""`lfqcodec batch` on processes: real files, workers that are killed, batches that are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from batch_support import BROKEN, batch, make_clips, outputs, report_of, states
from codec_support import ENVIRONMENT, command, encoded, fail, no_leftovers, run, succeed, y4m

from lfqcodec.batch.engines.processes import Processes
from lfqcodec.batch.slots import make_slots, take_one
from lfqcodec.batch.team import GopTeam
from lfqcodec.codec.encode.encoder import encode
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.workers import Workers

NAMES = ["a.y4m", "deep/b.y4m", "deep/er/c.y4m"]
SECONDS = 500
BIG = (96, 80)
"""With 60 pictures it is more than FFmpeg wants to see before it begins with a pipe."""

fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


def wait_for(what, seconds=SECONDS):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
    return found


def children() -> list[int]:
    """Processes of this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += (task / "children").read_text().split()
    return [int(pid) for pid in found]


@contextmanager
def feeding(pipe, data):
    """Write to a named pipe; its reader gets no end before the block is left."""
    # With a reader of its own, so that it does not matter who opens and closes it meanwhile.
    handle = os.open(pipe, os.O_RDWR)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        yield
    finally:
        os.close(handle)


def test_every_kind_of_work(tmp_path):
    """The outputs are those of the single commands; what is broken is told, and the rest is done."""
    folder, out = tmp_path / "in", tmp_path / "out"
    clips = make_clips(folder, NAMES)
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
    options = ("--jobs", 2, "--crf", 28, "-q")
    done = run("batch", folder, out, *options, "--json", timeout=SECONDS)
    assert done.returncode == 1, done.stderr.decode()
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed"]) == (3, len(BROKEN))
    assert summary["failures"] == {"InputVideoError": len(BROKEN)}
    assert summary["frames"] == 3 + 4 + 5
    coded = {str(Path(n).with_suffix(".lfq")): encoded(c, crf=28) for n, c in zip(NAMES, clips, strict=True)}
    assert outputs(out) == coded
    failed = {Path(line["source"]).name: line for line in report_of(out) if line["status"] == "failed"}
    assert set(failed) == set(BROKEN)
    assert all(line["exit_code"] == 3 for line in failed.values())
    text = (out / "report.txt").read_text()
    assert all(name in text for name in BROKEN)

    again = run("batch", folder, out, *options, timeout=SECONDS)
    assert again.returncode == 1
    assert f"0 done, 3 skipped, {len(BROKEN)} failed" in again.stdout.decode()
    assert again.stderr.decode().count("failed: ") == len(BROKEN)

    (out / "deep/b.lfq").write_bytes(coded["deep/b.lfq"][:-40])
    for kind, end in (("--decode", ".y4m"), ("--tokens", ".npz"), ("--verify", None)):
        made = tmp_path / kind
        form = ("--format", "y4m") if kind == "--decode" else ()
        done = run("batch", kind, out, made, "--jobs", 1, "-q", *form, timeout=SECONDS)
        assert done.returncode == 1, done.stderr.decode()
        assert states(made) == {"a.lfq": "done", "b.lfq": "failed", "c.lfq": "done"}
        (damaged,) = (line for line in report_of(made) if line["status"] == "failed")
        assert damaged["exit_code"] == 4
        names = [f"{Path(name).with_suffix('')}{end}" for name in NAMES if end]
        if kind == "--tokens":
            # Pictures can be shown of a damaged file, its tokens are all there or they are not.
            names.remove("deep/b.npz")
        assert sorted(outputs(made)) == names
    succeed("decode", out / "a.lfq", tmp_path / "a.y4m", "-q")
    assert (tmp_path / "--decode/a.y4m").read_bytes() == (tmp_path / "a.y4m").read_bytes()


def test_wrong_use_is_one_line(tmp_path):
    out = tmp_path / "out"
    for arguments, said in (
        ((out,), "IN... and OUT_DIR"),
        (("-", out), "standard input"),
        ((tmp_path, out, "--decode", "--crf", 20), "--crf is not for --decode"),
        ((tmp_path, out, "--streams", 1), "--streams is not for encoding"),
        ((tmp_path, out, "--address", "local"), "--address is not for --engine processes"),
        ((tmp_path, out, "--crf", 20, "--bitrate", "9k"), "cannot both"),
    ):
        assert said in fail(2, "batch", *arguments)
    assert "none-such.csv" in fail(1, "batch", "--manifest", tmp_path / "none-such.csv", out)
    assert not out.exists() or not outputs(out)


def test_gops_of_a_long_video_go_to_free_places(tmp_path, monkeypatch):
    """The bytes are those of one process, and no place stays taken."""
    (tmp_path / "slots").mkdir()
    make_slots(tmp_path / "slots", 2)
    clip = tmp_path / "long.y4m"
    clip.write_bytes(y4m(70, (48, 40)))
    given = []
    give = Workers.give
    monkeypatch.setattr(Workers, "give", lambda self, job: (given.append(len(job)), give(self, job)))
    told = []
    options = EncodeOptions(gop=9, scene_cuts=False, device="cpu")
    gather = partial(GopTeam, tmp_path / "slots")
    report = encode(clip, tmp_path / "out.lfq", options, gather=gather, progress=told.append)
    assert (tmp_path / "out.lfq").read_bytes() == encoded(clip, gop=9, scene_cuts=False)
    assert report.gops == 8
    assert 1 <= len(given) < 8, "some are coded here, some beside"
    assert told[-1].coded == 70
    held = [take_one(tmp_path / "slots") for _ in range(3)]
    assert [slot is not None for slot in held] == [True, True, False]


def stuck_batch(tmp_path, count=2):
    """A batch that has done two clips and waits for a third, which comes through a named pipe."""
    folder, out = tmp_path / "in", tmp_path / "out"
    make_clips(folder, NAMES[1:])
    os.mkfifo(folder / "a.y4m")
    notes, results = [], []
    inputs = [folder / "a.y4m", folder / "deep"]
    before = set(children())
    thread = threading.Thread(
        target=lambda: results.append(batch(Processes(count, notes.append), inputs, out)), daemon=True
    )
    thread.start()
    wait_for(lambda: len(outputs(out)) == 2)
    return folder, out, thread, notes, lambda: [pid for pid in children() if pid not in before]


@fifo
def test_a_crash_takes_one_file_along(tmp_path):
    _, out, thread, notes, workers = stuck_batch(tmp_path)
    (worker,) = wait_for(lambda: len(found := workers()) == 1 and found)
    os.kill(worker, signal.SIGSEGV)
    thread.join(SECONDS)
    assert states(out) == {"a.y4m": "failed", "b.y4m": "done", "c.y4m": "done"}
    (line,) = (line for line in report_of(out) if line["status"] == "failed")
    assert "ended early (SIGSEGV)" in line["error"]
    assert notes == []
    no_leftovers(out)


@fifo
@pytest.mark.parametrize("kills", [1, 2])
def test_a_worker_without_memory_is_tried_with_fewer(tmp_path, kills):
    """Where memory is short the system kills with SIGKILL."""
    folder, out, thread, notes, workers = stuck_batch(tmp_path)
    killed = set()
    for _ in range(kills):
        (worker,) = wait_for(lambda: len(found := [p for p in workers() if p not in killed]) == 1 and found)
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
    if kills == 1:
        with feeding(folder / "a.y4m", y4m(60, BIG)):
            pass
    thread.join(SECONDS)
    assert len(notes) == 1
    assert "going on with 1 at a time" in notes[0]
    assert states(out)["a.y4m"] == ("done" if kills == 1 else "failed")
    if kills == 2:
        (line,) = (line for line in report_of(out) if line["status"] == "failed")
        assert "may lack memory" in line["error"]
    no_leftovers(out)


@fifo
def test_terminated_it_leaves_nothing_halfway(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    os.mkfifo(folder / "a.y4m")
    line = [*command(), "batch", str(folder / "a.y4m"), str(out), "-q", "--jobs", "1", "--gop", "17"]
    with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        with feeding(folder / "a.y4m", y4m(60, BIG)[:-3000]):
            wait_for(lambda: list(out.glob(".a*")))
            process.terminate()
            assert process.wait(SECONDS) == 130
        assert process.stderr.read().decode() == "lfqcodec: interrupted\n"
    no_leftovers(out)
    assert outputs(out) == {}


def test_killed_it_goes_on(tmp_path):
    """What is complete stays as it is; what was under way, or not noted, is made again."""
    folder, out = tmp_path / "in", tmp_path / "out"
    names = [f"{number}.y4m" for number in range(5)]
    make_clips(folder, names, frames=9)
    arguments = ("batch", str(folder), str(out), "-q", "--jobs", "1")
    with subprocess.Popen([*command(), *arguments], env=ENVIRONMENT) as process:
        wait_for(lambda: len(outputs(out)) >= 2)
        process.kill()
    kept = (out / "0.lfq").stat().st_mtime_ns
    said = succeed(*arguments, timeout=SECONDS)
    assert "0 failed" in said
    assert not said.startswith("5 done")
    assert (out / "0.lfq").stat().st_mtime_ns == kept
    assert set(outputs(out)) == {f"{number}.lfq" for number in range(5)}
    wait_for(lambda: not [path for path in out.iterdir() if "partial" in path.name])
    assert succeed(*arguments).startswith("0 done, 5 skipped, 0 failed")


def test_two_commands_share_a_folder(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    names = [f"{number}.y4m" for number in range(4)]
    clips = make_clips(folder, names)
    line = [*command(), "batch", str(folder), str(out), "-q", "--jobs", "1"]
    both = [subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=SECONDS)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert outputs(out) == {f"{c.stem}.lfq": encoded(c) for c in clips}
    assert succeed(*line[len(command()) :]).startswith("0 done, 4 skipped, 0 failed")
    no_leftovers(out)
