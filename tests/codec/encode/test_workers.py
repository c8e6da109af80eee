"""encode --workers: the same bytes as one process, whatever is asked for, and no process left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from codec_support import (
    ENVIRONMENT,
    command,
    complaint,
    contents,
    encoded,
    fail,
    no_leftovers,
    run,
    y4m,
)

import lfqcodec
from lfqcodec.codec.workers import Workers


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        ({"gop": 33}, 3),
        ({"gop": 49, "crf": 40, "measure": True, "frames": 70}, 2),
        ({"gop": 17, "audio": False, "frames": 17}, 2),
        ({"gop": 1601}, 2),
    ],
    ids=str,
)
def test_the_same_bytes(uneven, options, workers):
    one, many = io.BytesIO(), io.BytesIO()
    seen = ([], [])
    reports = [
        lfqcodec.encode(uneven, out, device="cpu", workers=count, progress=frames.append, **options)
        for out, count, frames in ((one, 1, seen[0]), (many, workers, seen[1]))
    ]
    assert many.getvalue() == one.getvalue()
    left, right = ({**report.to_dict(), "elapsed": 0} for report in reports)
    assert left == right
    assert {p.frames for p in seen[0]} == {p.frames for p in seen[1]}
    for each in seen:
        assert (each[-1].read, each[-1].coded) == (reports[0].frames, reports[0].frames)
        assert any(p.coded > p.frames for p in each)


def test_resumed_with_another_number_of_workers(uneven, tmp_path):
    options = {"gop": 17, "profile": "static", "device": "cpu"}
    whole = encoded(uneven, gop=17, profile="static")

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.frames >= 60:
            raise Stopped

    out = tmp_path / "a.lfq"
    for first, second in ((1, 2), (3, 1)):
        with pytest.raises(Stopped):
            lfqcodec.encode(uneven, out, resume=True, workers=first, progress=stop, **options)
        report = lfqcodec.encode(uneven, out, resume=True, workers=second, **options)
        assert any("went on from frame 51" in note for note in report.notes)
        assert contents(tmp_path) == {"a.lfq": whole}
        out.unlink()


def test_refused(uneven):
    with pytest.raises(lfqcodec.LfqError, match="use one worker"):
        lfqcodec.encode(uneven, io.BytesIO(), workers=2, bitrate=9000)
    with pytest.raises(lfqcodec.LfqError, match="at least 1"):
        lfqcodec.encode(uneven, io.BytesIO(), workers=0)
    assert "--workers" in fail(2, "encode", uneven, "-", "--workers", 0)


def test_an_error_in_a_worker_is_an_error(uneven, monkeypatch):
    """A worker that fails says why; one that dies is named."""

    def lost(self, chunks):
        process = self._idle.popleft()
        self._busy.append(process)
        process.kill()

    monkeypatch.setattr(Workers, "give", lost)
    with pytest.raises(lfqcodec.LfqError, match=r"ended early \(SIGKILL\)"):
        lfqcodec.encode(uneven, io.BytesIO(), workers=2, device="cpu", gop=17)

    def broken(self, chunks):
        give(self, [([picture[:, :0] for picture in pictures], size) for pictures, size in chunks])

    monkeypatch.undo()
    give = Workers.give
    monkeypatch.setattr(Workers, "give", broken)
    with pytest.raises(RuntimeError):
        lfqcodec.encode(uneven, io.BytesIO(), workers=2, device="cpu", gop=17)


def children_of(process):
    """Processes whose parent this is, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process.pid:
                found.append(int(entry.name))
    return found


def gone(number):
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_no_process_is_left(tmp_path, number):
    """While the encoder waits for its input, workers at work or idle: they go with it."""
    out = tmp_path / "a.lfq"
    arguments = ["encode", "-q", "--workers", "2", "--gop", "17", "--profile", "static", "-", str(out)]
    with subprocess.Popen(
        [*command(), *arguments], env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        source = y4m(200, (48, 40))
        process.stdin.write(source[: len(source) * 3 // 4])
        process.stdin.flush()
        for _ in range(600):
            workers = children_of(process)
            if len(workers) == 2:
                break
            time.sleep(0.05)
        assert len(workers) == 2
        time.sleep(1)
        os.kill(process.pid, number)
        code = process.wait(30)
        done = subprocess.CompletedProcess([], code, b"", process.stderr.read())
    if number == signal.SIGINT:
        assert complaint(done, 130) == "lfqcodec: interrupted"
        no_leftovers(tmp_path)
    for _ in range(600):
        if all(gone(worker) for worker in workers):
            break
        time.sleep(0.05)
    assert all(gone(worker) for worker in workers)
    assert not out.exists()


def test_the_command(uneven, tmp_path):
    done = run("encode", uneven, tmp_path / "a.lfq", "--workers", 2, "--gop", 17, "--profile", "static")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.lfq").read_bytes() == encoded(uneven, gop=17, profile="static")


def test_who_gives_the_work_does_without_torch(tmp_path):
    """Its import takes a second, before which no worker would begin."""
    source, made = tmp_path / "in.y4m", tmp_path / "out.lfq"
    source.write_bytes(y4m(34))
    code = (
        "import sys, lfqcodec\n"
        f"lfqcodec.encode({str(source)!r}, {str(made)!r}, device='cpu', gop=17, workers=2)\n"
        f"lfqcodec.decode({str(made)!r}, {str(tmp_path / 'out.y4m')!r}, device='cpu', workers=2)\n"
        "print('torch' in sys.modules)\n"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "False\n", done.stderr
    assert (tmp_path / "out.y4m").stat().st_size > source.stat().st_size / 2
