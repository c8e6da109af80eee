"""What can go wrong, through the installed command: one line, an exit code, nothing left behind."""

from __future__ import annotations

import io
import json
import subprocess
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from bitstream_helpers import patch_header, unit_offsets
from codec_support import (
    at_once,
    complaint,
    contents,
    fail,
    no_leftovers,
    run,
    succeed,
    y4m,
)
from video_support import tone

import lfqcodec
from lfqcodec.weights.store import resolve_model

TOKENIZER_HASH_OFFSET = 76


@pytest.fixture(scope="module")
def data():
    """20 frames in two GOPs of one chunk; profile static, for which most commands need no torch."""
    out = io.BytesIO()
    lfqcodec.encode(io.BytesIO(y4m(20)), out, gop=17, profile="static")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path, data):
    """good.lfq and good.y4m, and outputs of an earlier run that no failure may touch."""
    (tmp_path / "good.lfq").write_bytes(data)
    (tmp_path / "good.y4m").write_bytes(y4m(20))
    (tmp_path / "old.lfq").write_bytes(b"old video")
    (tmp_path / "old.mkv").write_bytes(b"old video")
    return tmp_path


@contextmanager
def unchanged(folder):
    """Whatever happens inside, the files of `folder` stay as they are, and none is added."""
    before = contents(folder)
    yield
    assert contents(folder) == before
    no_leftovers(folder)


# Inputs of encode ---------------------------------------------------------------------------------


def make_input(folder: Path, kind: str) -> Path:
    path = folder / f"input.{'m4a' if kind == 'sound' else 'mp4'}"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("Dear reader, this is a letter.\n" * 100)
    elif kind == "sound":
        with av.open(str(path), "w", format="mp4") as out:
            for _, packet in tone(out.add_stream("aac", rate=48000), 0.3):
                out.mux(packet)
    return path


def test_no_video(folder):
    says = {
        "missing": "No such file",
        "text": "not a video",
        "sound": "no video",
    }

    def check(kind):
        place = folder / kind
        place.mkdir()
        (place / "old.lfq").write_bytes(b"old video")
        path = make_input(place, kind)
        with unchanged(place):
            line = fail(3, "encode", path, place / "old.lfq", "-f")
        assert line.startswith(f"lfqcodec: {path}: ")
        assert says[kind] in line

    at_once(check, [(kind,) for kind in says])


def test_nothing_on_standard_input(folder):
    with unchanged(folder):
        assert "standard input" in fail(3, "encode", "-", folder / "new.lfq", input=b"")
        assert "standard input" in fail(4, "decode", "-", folder / "new.mkv", input=b"")
        assert "standard input" in fail(4, "verify", "-", input=b"\x89LFQ")


def test_start_beyond_the_end(folder):
    with unchanged(folder):
        line = fail(3, "encode", folder / "good.y4m", folder / "new.lfq", "--start", "1:00")
        assert "no frame at or after 60 s" in line
        line = fail(3, "decode", folder / "good.lfq", folder / "new.mkv", "--start", "1:00")
        assert "no frame in the time asked for" in line


# Inputs of decode, info, verify, tokens, strip ----------------------------------------------------


def test_no_lfq_file(folder):
    for kind in ("missing", "folder"):
        path = make_input(folder, kind)
        with unchanged(folder):
            for arguments in (["info", path], ["verify", path], ["tokens", path, folder / "new.npz"]):
                assert str(path) in fail(3, *arguments)
            assert str(path) in fail(3, "strip", path, folder / "new.lfq")
            assert str(path) in fail(3, "decode", path, folder / "old.mkv", "-f")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but cannot be read")
def test_unreadable(folder):
    with unchanged(folder):
        for name in ("info", "verify"):
            assert "/proc/self/mem: Input/output error" in fail(3, name, "/proc/self/mem")


def test_foreign_file(folder):
    (folder / "video.lfq").write_bytes((folder / "good.y4m").read_bytes())
    (folder / "empty.lfq").write_bytes(b"")
    with unchanged(folder):
        for name in ("info", "verify"):
            assert "video.lfq: not a .lfq file" in fail(4, name, folder / "video.lfq")
            assert "empty.lfq: " in fail(4, name, folder / "empty.lfq")
        assert "not a .lfq file" in fail(4, "decode", folder / "video.lfq", folder / "old.mkv", "-f")


def test_wrong_version(folder, data):
    (folder / "future.lfq").write_bytes(data[:8] + b"\x07\0" + data[10:])
    with unchanged(folder):
        for arguments in (["info"], ["verify"]):
            assert "future.lfq: format version 7" in fail(4, *arguments, folder / "future.lfq")
        assert "format version 7" in fail(4, "decode", folder / "future.lfq", folder / "new.mkv")


def test_truncated(folder, data):
    """In the signature, in the first chunk, between chunks, before the index, in the trailer."""
    offsets = unit_offsets(data)
    ends = (5, offsets[0] + 7, offsets[1], offsets[-2], len(data) - 1)
    paths = [folder / f"cut{number}.lfq" for number in range(len(ends))]
    for path, end in zip(paths, ends, strict=True):
        path.write_bytes(data[:end])

    def check(path):
        assert f"{path}: " in fail(4, "verify", path)
        assert run("info", path).returncode == 4

    def decode(path):
        """Without a whole chunk there is nothing to show."""
        assert f"{path}: " in fail(4, "decode", path, folder / "old.mkv", "-f", "--best-effort")

    def play(path, frames):
        done = run("decode", path, f"{path}.y4m")
        assert done.returncode == 4
        assert Path(f"{path}.y4m").read_bytes().count(b"FRAME\n") == frames
        Path(f"{path}.y4m").unlink()

    with unchanged(folder):
        at_once(check, [(path,) for path in paths])
        decode(paths[1])
        at_once(play, [(paths[2], 17), (paths[4], 20)])
        assert "byte" in fail(4, "strip", paths[1], folder / "old.lfq", "-f")
        assert "byte" in fail(4, "tokens", paths[1], folder / "new.npz")


def test_info_tells_what_is_left_of_a_damaged_file(folder, data):
    (folder / "cut.lfq").write_bytes(data[: unit_offsets(data)[1]])
    done = run("info", folder / "cut.lfq")
    assert b"48x40, 17 frames" in done.stdout
    assert "ends without an index" in complaint(done, 4)


def test_flipped_byte(folder, data):
    """In the second chunk: in its head, so that its frames are concealed, and in its last payload, which
    costs detail. All else is in tests/codec/decode/test_damage.py."""
    offsets = unit_offsets(data)

    def check(output, byte, loss, summary):
        broken = bytearray(data)
        broken[byte] ^= 1
        bad = folder / f"bad{byte}.lfq"
        bad.write_bytes(broken)
        done = run("decode", bad, f"{folder}/{output}", "-f")
        assert done.returncode == 4
        damage, last = done.stderr.decode().splitlines()[-2:]
        assert damage.startswith(f"damage: 0:00.680 to 0:00.800: frames 17 to 19 are {loss}: ")
        assert "damaged (chunk 1, byte " in damage
        assert summary in last
        assert done.stdout.startswith(b"20 frames ")

    lost = (offsets[1] + 9, "lost", "3 frames lost and concealed")
    detail = (offsets[2] - 9, "shown with 1 of 2 streams", "no frame lost, 3 with less detail")
    at_once(check, [("old.mkv", *lost), ("less.mkv", *detail)])
    no_leftovers(folder)


# Models -------------------------------------------------------------------------------------------


def test_unknown_model_hash(folder, data):
    (folder / "other.lfq").write_bytes(patch_header(data, TOKENIZER_HASH_OFFSET, bytes(range(32))))
    with unchanged(folder):
        line = fail(5, "decode", folder / "other.lfq", folder / "old.mkv", "-f")
        assert bytes(range(32)).hex() in line
        assert "model  not available here" in succeed("info", folder / "other.lfq")
        succeed("verify", folder / "other.lfq")


def test_models_that_do_not_work(folder):
    from safetensors.torch import load_file, save_file

    model = resolve_model()
    tensors = load_file(model.path)
    save_file(tensors, folder / "other.safetensors", metadata={**model.metadata, "name": "other"})
    tensors.pop(min(tensors))
    save_file(tensors, folder / "lacking.safetensors", metadata=model.metadata)
    (folder / "cut.safetensors").write_bytes(model.path.read_bytes()[:100_000])
    says = {
        "other": "has SHA-256",
        "lacking": "does not fit its configuration",
        "cut": "not a safetensors file",
    }

    def check(name, *arguments):
        path = folder / f"{name}.safetensors"
        line = fail(5, *arguments, "-f", "--model", path)
        assert f"{path}: {says[name]}" in line

    decode = "decode", folder / "good.lfq", folder / "old.mkv"
    encode = "encode", folder / "good.y4m", folder / "old.lfq"
    with unchanged(folder):
        at_once(check, [("other", *decode), ("lacking", *encode), ("cut", *encode)])


# Outputs ------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be(folder):
    (folder / "full").mkdir()
    (folder / "full" / "letter.txt").write_text("mine")
    good = folder / "good.lfq"
    source = folder / "good.y4m"
    cases = [
        ("decode", good, "old.mkv", "exists already (use -f to overwrite)"),
        ("decode", good, "none/new.mkv", "no such folder"),
        ("decode", good, "new.xyz", "format '.xyz' is not supported"),
        ("decode", good, "full/", "not empty"),
        ("decode", good, "good.lfq", "same file"),
        ("decode", good, "new.png", "holds one picture"),
        ("encode", source, "old.lfq", "exists already"),
        ("encode", source, "full", "is a folder"),
    ]

    def check(what, given, output, says):
        assert says in fail(1, what, given, f"{folder}/{output}")

    with unchanged(folder):
        at_once(check, cases)
        assert "same file" in fail(1, "encode", source, source, "-f")


def test_devices_are_not_replaced(folder):
    """With -f as root, renaming over /dev/null would put a plain file in its place."""
    assert "not a regular file" in fail(1, "encode", folder / "good.y4m", "/dev/null", "-f")
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_standard_output(folder):
    with Path("/dev/full").open("wb") as full:
        for arguments in (["info", folder / "good.lfq"], ["strip", folder / "good.lfq", "-"]):
            done = run(*arguments, stdout=full, stderr=subprocess.PIPE, capture_output=False)
            assert "standard output: No space left on device" in complaint(done, 1)


# Usage --------------------------------------------------------------------------------------------


def test_wrong_usage(folder):
    cases = [
        (["nonsense"], "nonsense"),
        (["encode"], "Missing argument"),
        (["encode", "-"], "OUT is needed"),
        (["encode", "", "new.lfq"], "IN is an empty name"),
        (["decode", "good.lfq", ""], "OUT is an empty name"),
        (["verify", ""], "FILE is an empty name"),
        (["strip", "good.lfq", "https://example.com/a.lfq"], "must be a file, not a URL"),
        (["encode", "good.lfq"], "did you mean lfqcodec decode?"),
        (["encode", "good.lfq", "new.lfq"], "is a .lfq file already"),
        (["encode", "-good.mp4", "new.lfq"], "write ./-good.mp4"),
        (["encode", "-i", "good.y4m", "-o", "new.lfq"], "names need no -i and -o"),
        (["encode", "good.y4m", "new.lfq", "--pass", "1"], "--pass needs stats"),
        (
            ["encode", "good.y4m", "new.lfq", "--pass", "1", "--stats", "./new.lfq"],
            "--stats must be a file of its own",
        ),
        (["encode", "good.y4m", "new.lfq", "--pass", "1", "--stats", "./good.y4m"], "--stats must be"),
        (["decode", "good.lfq", "new.mkv", "-q", "--progress", "bar"], "--quiet and --progress bar"),
        (["train", "prior", "--out", "a", "--pack", "b", "--videos", "c"], "--pack stands in place"),
        (["encode", "good.y4m", "new.lfq", "--bitrate", "9k", "--workers", "2"], "use one worker"),
        (["encode", "good.y4m", "new.lfq", "--resume", "--pass", "1", "--stats", "s"], "cannot be resumed"),
        (["encode", "good.y4m", "-", "--resume"], "--resume needs an OUT"),
        (["decode", "good.lfq", "new.mkv", "--streams", "-1"], "--streams"),
        (["decode", "good.lfq", "new.mkv", "--streams", "two"], "--streams"),
        (["strip", "good.lfq", "new.lfq", "--streams", "0"], "--streams"),
        (["encode", "good.y4m", "new.lfq", "--gop", "2000000"], "--gop"),
        (["encode", "good.y4m", "new.lfq", "--crf", "64"], "--crf"),
        (["encode", "good.y4m", "new.lfq", "--crf", "30", "--bitrate", "100k"], "cannot both be given"),
        (["encode", "good.y4m", "new.lfq", "--scale", "64"], "--scale"),
        (["encode", "good.y4m", "new.lfq", "--scale", "0x64"], "--scale"),
        (["encode", "good.y4m", "new.lfq", "--start", "-1"], "--start"),
        (["decode", "good.lfq", "new.mkv", "--start", "soon"], "--start"),
        (["decode", "good.lfq", "new.mkv", "--duration", "0"], "--duration"),
        (["decode", "good.lfq", "new.mkv", "--device", "abacus"], "--device"),
        (["strip"], "Missing argument"),
        (["verify"], "FILE"),
    ]

    def check(arguments, says):
        line = fail(2, *arguments, cwd=folder)
        assert says in line
        assert "--help)" in line

    with unchanged(folder):
        at_once(check, cases)


@pytest.mark.parametrize(
    ("code", "kind", "arguments"),
    [
        (2, "ArgumentValueError", ["encode", "good.y4m", "new.lfq", "--crf", "30", "--bitrate", "9k"]),
        (1, "OutputError", ["strip", "good.lfq", "old.lfq"]),
        (3, "InputVideoError", ["decode", "none.lfq", "new.mkv"]),
        (4, "Truncated", ["info", "cut.lfq"]),
        (4, "BadMagic", ["tokens", "good.y4m", "new.npz"]),
    ],
)
def test_errors_in_json(folder, code, kind, arguments):
    """One document on standard output, besides the line for people."""
    (folder / "cut.lfq").write_bytes((folder / "good.lfq").read_bytes()[:20])
    with unchanged(folder):
        done = run(*arguments, "--json", cwd=folder)
    line = complaint(done, code)
    told = json.loads(done.stdout)
    assert (told["kind"], told["exit_code"]) == (kind, code)
    assert told["error"] in line


def test_encode_makes_lfq_files_only(folder):
    with unchanged(folder):
        for name in ("encode", "strip", "repair"):
            given = "good.y4m" if name == "encode" else "good.lfq"
            line = fail(2, name, given, "new.mp4", cwd=folder)
            assert "OUT is to be a .lfq file, and new.mp4 is none by its name: use new.lfq, or" in line


def test_what_a_file_that_was_cut_in_half_lacks(folder, data):
    (folder / "cut.lfq").write_bytes(data[: unit_offsets(data)[1] + 20])
    says = "17 of 20 frames are there, 3 (0.12 s) are missing"
    for name in ("info", "verify"):
        done = run(name, "-", input=(folder / "cut.lfq").read_bytes())
        assert says in complaint(done, 4)
    report = json.loads(run("decode", "cut.lfq", "new.mkv", "--json", cwd=folder).stdout)
    assert (report["frames"], report["missing_frames"], report["damage"][0]["frames"]) == (17, 3, 3)
    assert "3 frames missing at the end" in report["error"]


def test_a_picture_larger_than_the_format_allows(folder):
    with unchanged(folder):
        line = fail(3, "encode", folder / "good.y4m", folder / "new.lfq", "--scale", "20000x16000")
    assert "cannot be stored as .lfq: width 20000" in line
