"""Killed, interrupted, out of space, without a reader: the old output or none is there, and no litter."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from bitstream_helpers import unit_offsets
from codec_support import (
    ENVIRONMENT,
    at_once,
    command,
    complaint,
    contents,
    encoded,
    no_leftovers,
    run,
    succeed,
    y4m,
)

from lfqcodec.errors import OutputError
from lfqcodec.output import TEMPORARY_SUFFIX, replacing
from lfqcodec.startup import undisturbed

resource = pytest.importorskip("resource")
fcntl = pytest.importorskip("fcntl")

OLD = b"old video"
SIZE = (96, 80)


@pytest.fixture(scope="module")
def source():
    """More than FFmpeg wants to see before it begins with a stream."""
    return y4m(60, SIZE)


@pytest.fixture(scope="module")
def data(source):
    return encoded(source, gop=17, profile="static")


@pytest.fixture
def folder(tmp_path, source, data):
    (tmp_path / "in.y4m").write_bytes(source)
    (tmp_path / "in.lfq").write_bytes(data)
    for name in ("old.lfq", "old.mkv", "old.mp4", "old.y4m"):
        (tmp_path / name).write_bytes(OLD)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "000000.png").write_bytes(OLD)
    (tmp_path / "old" / "letter.txt").write_bytes(OLD)
    return tmp_path


def temporaries(folder):
    return sorted(path for path in folder.rglob("*") if TEMPORARY_SUFFIX in path.name)


def commands(folder):
    """Every kind of output, over an old one: its name, and a command that writes it, its input a pipe."""
    encode = ["encode", "-q", "-f", "--gop", "17", "--profile", "static", "-"]
    return {
        "old.lfq": [*encode, str(folder / "old.lfq")],
        **{
            name: ["decode", "-q", "-f", "-", str(folder / name)]
            for name in ("old.mkv", "old.mp4", "old.y4m", "old")
        },
    }


def first_part(folder, name):
    """So much of the input that some of the output is made, and then no more."""
    if name == "old.lfq":
        whole = (folder / "in.y4m").read_bytes()
        return whole[: len(whole) * 9 // 10]
    whole = (folder / "in.lfq").read_bytes()
    return whole[: unit_offsets(whole)[2] + 30]


def whole_input(folder, name):
    return (folder / ("in.y4m" if name == "old.lfq" else "in.lfq")).read_bytes()


@contextmanager
def stuck(folder, name, arguments):
    """The command, at work on its output, waiting for the rest of its input."""
    before = set(temporaries(folder))
    with subprocess.Popen(
        [*command(), *arguments],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            process.stdin.write(first_part(folder, name))
            process.stdin.flush()
            for _ in range(1200):
                if set(temporaries(folder)) - before:
                    break
                time.sleep(0.05)
            else:
                pytest.fail("the work did not begin")
            time.sleep(random.random())
            assert process.poll() is None
            yield process
        finally:
            process.kill()


# kill -9 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["old.lfq", "old.mp4", "old"])
def test_killed(folder, name):
    before = contents(folder)
    arguments = commands(folder)[name]
    with stuck(folder, name, arguments) as process:
        process.kill()
        process.wait(30)
    after = contents(folder)
    assert {path: after[path] for path in before} == before
    assert temporaries(folder)
    done = run(*arguments, input=whole_input(folder, name))
    assert done.returncode == 0, done.stderr
    no_leftovers(folder)
    new = contents(folder)
    changed = {path for path in before if new[path] != before[path]}
    assert changed == ({"old/000000.png"} if name == "old" else {name})
    assert (len(new) == len(before)) == (name != "old")


def test_a_live_run_is_left_alone(folder):
    """Two runs to one output: the second does not take the first one's file for litter, and both succeed."""
    name, arguments = "old.y4m", commands(folder)["old.y4m"]
    given = whole_input(folder, name)
    with stuck(folder, name, arguments) as process:
        (live,) = temporaries(folder)
        assert run(*arguments, input=given).returncode == 0
        assert temporaries(folder) == [live]
        (folder / name).write_bytes(OLD)
        rest = given[len(first_part(folder, name)) :]
        _, errors = process.communicate(rest, timeout=60)
        assert process.returncode == 0, errors
    assert (folder / name).read_bytes().count(b"FRAME\n") == 60
    no_leftovers(folder)


def test_only_ones_own_litter_is_removed(folder):
    """Names of other outputs, names that are nearly right, folders and files of all kinds."""
    mark = f".{TEMPORARY_SUFFIX.lstrip('.')}"
    prefix = f".out{mark}-"
    own = [folder / f"{prefix}abcd_123.y4m", folder / f"{prefix}00000000.y4m"]
    others = [
        *(folder / f"{prefix}abcd_123{end}" for end in (".mkv", "", ".y4m.old")),
        *(folder / f"{prefix}{middle}.y4m" for middle in ("abc", "abcd_1234", "ABCD_123", "abcd-123")),
        folder / f".other{mark}-abcd_123.y4m",
        folder / "out.y4m.old",
    ]
    for path in (*own, *others):
        path.write_bytes(OLD)
    held = folder / f"{prefix}heldheld.y4m"
    held.write_bytes(OLD)
    link = folder / f"{prefix}linklink.y4m"
    link.symlink_to(folder / "old.y4m")
    with held.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with replacing(folder / "out.y4m") as path:
            path.write_bytes(b"new")
        assert not any(path.exists() for path in own)
        assert all(path.exists() for path in (*others, held))
    assert (folder / "old.y4m").read_bytes() == OLD
    assert (folder / "out.y4m").read_bytes() == b"new"
    with replacing(folder / "out.y4m", overwrite=True) as path:
        path.write_bytes(b"newer")
    assert not held.exists()


def test_many_runs_at_once(tmp_path):
    """Threads that clean up and write the same output all the time never lose a file to each other."""
    failed = []

    def work(number):
        try:
            for turn in range(60):
                with replacing(tmp_path / "out.txt", overwrite=True) as path:
                    path.write_text(f"{number} {turn}")
                    time.sleep(0.001)
                    assert path.read_text() == f"{number} {turn}"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


# Ctrl-C and SIGTERM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_while_at_work(folder, number):
    before = contents(folder)
    for name in ("old.lfq", "old.mp4", "old"):
        with stuck(folder, name, commands(folder)[name]) as process:
            process.send_signal(number)
            code = process.wait(30)
            done = subprocess.CompletedProcess([], code, b"", process.stderr.read())
        assert complaint(done, 130) == "lfqcodec: interrupted"
        assert contents(folder) == before


def test_interrupted_at_any_moment(folder):
    """From the start of the process to its end; it may also be done by then."""
    rng = random.Random(5)
    before = contents(folder)

    def check(turn):
        place = folder / f"turn{turn}"
        place.mkdir()
        name = ("out.lfq", "out.mkv", "out.y4m", "frames")[turn % 4]
        old = place / name
        if turn % 4 < 3:
            old.write_bytes(OLD)
        what = ["encode", "--profile", "static", "in.y4m"] if turn % 4 == 0 else ["decode", "in.lfq"]
        end = "/" if turn % 4 == 3 else ""
        with subprocess.Popen(
            [*command(), *what, "-q", "-f", f"{old}{end}"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(rng.uniform(0.5, 5))
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
        there = contents(place)
        if code == 0:
            assert old.exists()
            assert there.get(name) != OLD
        elif turn % 4 < 3:
            # After the renaming, too, Ctrl-C may come: then it is the new one.
            assert list(there) == [name]
        else:
            assert len(there) in (0, 60)
        no_leftovers(place)

    at_once(check, [(turn,) for turn in range(8)])
    assert {path: each for path, each in contents(folder).items() if not path.startswith("turn")} == before


def test_a_short_step_is_not_cut():
    done = []

    def step():
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with undisturbed():
        pass


# No space ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["old.lfq", "old.mp4", "old"])
def test_no_space_at_any_moment(folder, name):
    before = contents(folder)
    arguments = commands(folder)[name]
    given = whole_input(folder, name)
    whole = folder / "whole"
    whole.mkdir()
    again = [*arguments[:-1], str(whole / name) + ("/" if name == "old" else "")]
    assert run(*again, input=given).returncode == 0
    end = max(path.stat().st_size for path in whole.rglob("*"))
    for path in sorted(whole.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    whole.rmdir()

    def check(size):
        done = run(*arguments, input=given, file_size=size)
        line = complaint(done, 1)
        assert re.search("File too large|No space left|cannot|could not", line), line

    # Sizes of H.264 differ a little from run to run.
    for size in (1000, end // 3, end * 9 // 10):
        check(size)
        assert contents(folder) == before
        no_leftovers(folder)


def test_no_space_on_a_real_disk(folder, source):
    """A file system of 256 KiB that fills up while a video is decoded into it."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs to mount a file system")
    try:
        (place / "old.y4m").write_bytes(OLD)
        for name in ("old.y4m", "frames/", "new.y4m"):
            line = complaint(run("decode", "-f", folder / "in.lfq", f"{place}/{name}"), 1)
            assert "No space left on device" in line
            assert contents(place) == {"old.y4m": OLD}
        (folder / "long.y4m").write_bytes(source + source.split(b"\n", 1)[1] * 9)
        (place / "filler").write_bytes(bytes(230 << 10))
        line = complaint(
            run(
                "encode",
                "--resume",
                "--gop",
                17,
                "--profile",
                "static",
                folder / "long.y4m",
                f"{place}/a.lfq",
            ),
            1,
        )
        assert "No space left on device" in line
        kept = contents(place)
        assert sorted(kept) == ["a.lfq.part", "a.lfq.part.jsonl", "filler", "old.y4m"]
        (place / "filler").unlink()
        (place / "old.y4m").unlink()
        succeed(
            "encode", "--resume", "--gop", 17, "--profile", "static", folder / "long.y4m", f"{place}/a.lfq"
        )
        assert list(contents(place)) == ["a.lfq"]
        assert succeed("verify", place / "a.lfq").endswith("ok, 600 frames in 40 chunks\n")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_errors_of_the_system_name_the_output(tmp_path):
    with pytest.raises(OutputError, match=r"out\.txt: No space"), replacing(tmp_path / "out.txt"):
        raise OSError(28, "No space left on device")
    assert contents(tmp_path) == {}


# No reader ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 20_000])
def test_closed_pipe(folder, count):
    """| head -c COUNT"""
    for arguments in (["decode", "in.lfq", "-"], ["encode", "--profile", "static", "in.y4m", "-"]):
        with subprocess.Popen(
            [*command(), *arguments, "-q"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            taken = process.stdout.read(count)
            process.stdout.close()
            error = process.stderr.read()
            code = process.wait(60)
        if code == 0:
            assert len(taken) < count or arguments[0] == "encode"  # all of it was taken
            continue
        done = subprocess.CompletedProcess(arguments, code, b"", error)
        assert complaint(done, 1) == "lfqcodec: standard output: closed by its reader"
    assert not temporaries(Path(folder))
