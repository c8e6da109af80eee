"""encode --resume: whatever moment it stops at, the next run makes the same bytes, or says why it cannot."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time

import pytest
from bitstream_helpers import unit_offsets
from codec_support import (
    ENVIRONMENT,
    command,
    complaint,
    contents,
    encoded,
    fail,
    no_leftovers,
    run,
    succeed,
    y4m,
)
from video_support import write_video

import lfqcodec
from lfqcodec.output import lock

OPTIONS = {
    "static": {"gop": 33, "profile": "static"},
    "short": {"gop": 17},
    "bitrate": {"gop": 33, "bitrate": 9000.0},
    "measured": {"gop": 33, "crf": 40, "measure": True},
}


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """90 frames of 24x24 with AAC."""
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    return write_video(path, frames=90, size=(24, 24), audio="aac", seconds=3.6)


@pytest.fixture(scope="module")
def whole(clip):
    """What uninterrupted runs write."""
    return encoded(clip, **OPTIONS["static"])


def stop_at(frames):
    def progress(state):
        if state.frames >= frames:
            raise Stopped

    return progress


def interrupted(clip, out, frames, **options):
    """An encode that ends early."""
    with pytest.raises(Stopped):
        lfqcodec.encode(clip, out, resume=True, device="cpu", progress=stop_at(frames), **options)


def resumed(clip, out, **options):
    return lfqcodec.encode(clip, out, resume=True, device="cpu", **options)


@pytest.fixture(scope="module")
def left(clip, tmp_path_factory):
    """A folder with the part that a run left after 66 frames (two GOPs)."""
    folder = tmp_path_factory.mktemp("left")
    interrupted(clip, folder / "a.lfq", 83, **OPTIONS["static"])
    return folder


@pytest.fixture
def begun(left, tmp_path):
    """Where the file will be; beside it lies what is `left`."""
    shutil.copytree(left, tmp_path, dirs_exist_ok=True)
    return tmp_path / "a.lfq"


def part(out):
    return out.with_name("a.lfq.part")


def journal(out):
    return out.with_name("a.lfq.part.jsonl")


# The same bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_bytes(clip, tmp_path, name):
    options = OPTIONS[name]
    expected = io.BytesIO()
    wanted = lfqcodec.encode(clip, expected, device="cpu", **options)
    out = tmp_path / "a.lfq"
    for frames in (17, 60, 89):
        interrupted(clip, out, frames, **options)
        assert not out.exists()
        report = resumed(clip, out, **options)
        assert out.read_bytes() == expected.getvalue()
        assert list(contents(tmp_path)) == ["a.lfq"]
        for field in ("frames", "chunks", "gops", "payload_bytes", "copied_bytes", "bitrate", "psnr"):
            assert getattr(report, field) == getattr(wanted, field), field
        out.unlink()


def test_many_stops(clip, whole, tmp_path):
    """Stopped again and again, each time after a little more."""
    out = tmp_path / "a.lfq"
    for frames in (20, 40, 70, 71):
        interrupted(clip, out, frames, **OPTIONS["static"])
    report = resumed(clip, out, **OPTIONS["static"])
    assert out.read_bytes() == whole
    assert any("went on from frame 66" in note for note in report.notes)


def test_nothing_is_kept_before_the_first_gop(clip, tmp_path):
    interrupted(clip, tmp_path / "a.lfq", 17, **OPTIONS["static"])
    assert contents(tmp_path) == {}


def test_a_run_that_is_not_stopped(clip, whole, tmp_path):
    out = tmp_path / "a.lfq"
    assert resumed(clip, out, **OPTIONS["static"]).notes == ()
    assert contents(tmp_path) == {"a.lfq": whole}
    with pytest.raises(lfqcodec.OutputError, match="exists already"):
        resumed(clip, out, **OPTIONS["static"])
    resumed(clip, out, overwrite=True, **OPTIONS["static"])
    assert contents(tmp_path) == {"a.lfq": whole}


def test_only_the_rest_is_coded(clip, begun):
    seen = []
    lfqcodec.encode(clip, begun, resume=True, device="cpu", progress=seen.append, **OPTIONS["static"])
    assert list(dict.fromkeys(each.frames for each in seen)) == [66, 83, 90]
    assert min(each.coded for each in seen) == 66
    assert [each.read for each in seen if each.coded == 66][-1] >= 83


# Parts that are not quite there ----------------------------------------------------------------------


def test_a_part_that_lacks_bytes(clip, whole, begun):
    """As after a power failure: the journal knows more than the part has. An earlier GOP will do."""
    data, lines = part(begun).read_bytes(), journal(begun).read_bytes()
    offsets = unit_offsets(whole)
    for broken, text in (
        (data[:-40], lines),
        (data[: offsets[4]], lines),
        (data[: offsets[3] + 9], lines),
        (data[: offsets[3] + 9] + bytes(300), lines),
        (data[:60], lines),
        (data[:60] + b"\x01" + data[61:], lines),
        (b"", lines),
        (data, lines[:-20]),
        (data, lines[: lines.index(b"\n") + 1]),
        (data, b""),
        (data, b"{not json"),
        (data, lines + b'{"chunks": 9}\n'),
        (data + bytes(1000), lines),
        (whole, lines),  # stopped while index and frame count were written
    ):
        part(begun).write_bytes(broken)
        journal(begun).write_bytes(text)
        resumed(clip, begun, overwrite=True, **OPTIONS["static"])
        assert contents(begun.parent) == {"a.lfq": whole}


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gop": 17}, "begun with gop 33, now it is 17"),
        ({"crf": 40}, "begun with crf"),
        ({"scene_cuts": False}, "begun with scene"),
        ({"start": 1}, "begun with start None, now it is 1"),
        ({"duration": 3}, "begun with duration"),
        ({"frames": 80}, "begun with frames"),
        ({"scale": (16, 16)}, "begun with scale"),
        ({"audio": False}, "begun with audio True, now it is False"),
        ({"measure": True}, "begun with psnr"),
    ],
    ids=str,
)
def test_other_options(clip, begun, change, says):
    before = contents(begun.parent)
    with pytest.raises(lfqcodec.LfqError, match=says) as caught:
        resumed(clip, begun, **{**OPTIONS["static"], **change})
    assert "remove it to start over" in str(caught.value)
    assert contents(begun.parent) == before


def test_another_model(clip, begun, tmp_path):
    from safetensors.torch import load_file, save_file

    from lfqcodec.weights.store import resolve_model

    model = resolve_model()
    other = tmp_path / "other.safetensors"
    save_file(load_file(model.path), other, metadata={**model.metadata, "name": "other"})
    with pytest.raises(lfqcodec.LfqError, match="begun with another model"):
        resumed(clip, begun, model=other, **OPTIONS["static"])


def test_another_input(begun, tmp_path):
    before = contents(begun.parent)
    others = {
        "size": {"size": (32, 24)},
        "rate": {"rate": 30},
        "silent": {"audio": ""},
        "short": {"frames": 50, "seconds": 2.0},
    }
    for name, change in others.items():
        usual = {"frames": 90, "size": (24, 24), "audio": "aac", "seconds": 3.6}
        other = write_video(tmp_path.parent / f"{tmp_path.name}-{name}.mp4", **{**usual, **change})
        with pytest.raises(lfqcodec.LfqError, match="made from another input"):
            resumed(other, begun, **OPTIONS["static"])
        assert contents(begun.parent) == before


def test_another_picture_or_sound(tmp_path):
    """The same size and length, one frame or one packet different: found at the next checkpoint."""
    clip = y4m(80, (24, 24))
    out = tmp_path / "a.lfq"
    interrupted(io.BytesIO(clip), out, 66, gop=17, profile="static")
    frame = clip.index(b"FRAME") + 6 + 20 * (6 + 24 * 24 * 3 // 2)
    other = clip[:frame] + bytes((clip[frame] ^ 128,)) + clip[frame + 1 :]
    with pytest.raises(lfqcodec.LfqError, match="made from another input"):
        resumed(io.BytesIO(other), out, gop=17, profile="static")
    # Behind the part it may be any: the file is then that of this input.
    later = clip[:-5] + bytes((clip[-5] ^ 128,)) + clip[-4:]
    resumed(io.BytesIO(later), out, gop=17, profile="static")
    assert out.read_bytes() == encoded(later, gop=17, profile="static")


def test_an_output_without_a_name(clip):
    for dest in ("-", io.BytesIO()):
        with pytest.raises(lfqcodec.LfqError, match="needs an output file"):
            resumed(clip, dest)
    assert "--resume needs an OUT" in fail(2, "encode", clip, "-", "--resume")


def test_two_runs_at_once(clip, begun):
    before = contents(begun.parent)
    with part(begun).open("rb") as other:
        assert lock(other.fileno())
        with pytest.raises(lfqcodec.OutputError, match="another run is at work"):
            resumed(clip, begun, **OPTIONS["static"])
        # A run without --resume does not need it, and leaves it alone.
        lfqcodec.encode(clip, begun, device="cpu", **OPTIONS["static"])
        begun.unlink()
        assert contents(begun.parent) == before


def test_a_plain_run_keeps_what_is_left_and_says_so(clip, whole, begun):
    before = contents(begun.parent)
    report = lfqcodec.encode(clip, begun, device="cpu", **OPTIONS["static"])
    assert contents(begun.parent) == {**before, "a.lfq": whole}
    assert f"{part(begun)} is of another run, with --resume" in report.notes[0]


def test_the_output_was_made_meanwhile(clip, begun):
    """Nobody's work is replaced, and one's own is kept."""

    def other(state):
        begun.write_bytes(b"of another run")

    with pytest.raises(lfqcodec.OutputError, match="made by another run meanwhile"):
        resumed(clip, begun, progress=other, **OPTIONS["static"])
    assert begun.read_bytes() == b"of another run"
    begun.unlink()
    resumed(clip, begun, **OPTIONS["static"])
    assert list(contents(begun.parent)) == ["a.lfq"]


def test_the_input_is_gone(clip, begun, tmp_path):
    """An error before anything is done keeps the part."""
    before = contents(begun.parent)
    with pytest.raises(lfqcodec.InputVideoError):
        resumed(tmp_path / "none.mp4", begun, **OPTIONS["static"])
    assert contents(begun.parent) == before


# The command -------------------------------------------------------------------------------------------


def test_killed_and_resumed(tmp_path):
    """kill -9 while it waits for the rest of its input; then the whole input again."""
    source, out = y4m(160, (48, 40)), tmp_path / "a.lfq"
    arguments = ["encode", "-q", "--resume", "--gop", "17", "--profile", "static", "-", str(out)]
    with subprocess.Popen([*command(), *arguments], env=ENVIRONMENT, stdin=subprocess.PIPE) as process:
        process.stdin.write(source[: len(source) * 3 // 4])
        process.stdin.flush()
        for _ in range(1200):
            if journal(out).exists() and journal(out).read_bytes().count(b"\n") >= 4:
                break
            time.sleep(0.05)
        process.kill()
    assert sorted(contents(tmp_path)) == ["a.lfq.part", "a.lfq.part.jsonl"]
    # What is there plays, and can be repaired.
    shutil.copy(part(out), tmp_path / "cut.lfq")
    frames = json.loads(succeed("repair", tmp_path / "cut.lfq", tmp_path / "mended.lfq", "--json"))["frames"]
    assert frames >= 51
    (tmp_path / "cut.lfq").unlink()
    (tmp_path / "mended.lfq").unlink()
    done = run(*arguments, input=source)
    assert done.returncode == 0, done.stderr
    assert b"note: went on from frame " in done.stderr
    assert contents(tmp_path) == {"a.lfq": encoded(source, gop=17, profile="static")}
    no_leftovers(tmp_path)


def test_the_command_refuses(tmp_path):
    (tmp_path / "a.y4m").write_bytes(y4m(60, (24, 24)))
    interrupted(tmp_path / "a.y4m", tmp_path / "a.lfq", 51, gop=17, profile="static")
    done = run(
        "encode", tmp_path / "a.y4m", tmp_path / "a.lfq", "--resume", "--gop", 33, "--profile", "static"
    )
    assert complaint(done, 1).startswith(
        f"lfqcodec: {tmp_path}/a.lfq.part: was begun with gop 17, now it is 33;"
    )
    assert "--resume" in succeed("encode", "--help")
