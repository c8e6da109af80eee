"""The installed command where nothing goes wrong: every subcommand, its text and its JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_support import (
    at_once,
    complaint,
    fail,
    no_leftovers,
    run,
    same_frames,
    succeed,
    y4m,
)
from video_support import moving_picture, png, read_all, write_video

import lfqcodec
from lfqcodec.bitstream import ChunkHead
from lfqcodec.cli.shared.progress import describe
from lfqcodec.codec.progress import Progress
from lfqcodec.weights.store import resolve_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """clip.mp4 (40 frames with sound) and clip.lfq, picture.lfq and, of profile static, a.lfq (20 frames)."""
    root = tmp_path_factory.mktemp("files")
    write_video(root / "clip.mp4", frames=40, size=(48, 40), audio="aac", seconds=1.6)
    (root / "picture.png").write_bytes(png(moving_picture(50, 38, 0)))
    lfqcodec.encode(root / "clip.mp4", root / "clip.lfq", gop=33)
    lfqcodec.encode(io.BytesIO(y4m(20)), root / "a.lfq", gop=17, profile="static")
    lfqcodec.encode(root / "picture.png", root / "picture.lfq")
    return root


# Encode and decode --------------------------------------------------------------------------------


def test_encode_and_decode(folder, tmp_path):
    """All options at once, as text; the same as the API gives."""
    lfq = tmp_path / "out.lfq"
    options = ("--crf", 24, "--gop", 17, "--start", "0:00.4", "--duration", "0.8", "--scale", "32x24")
    text = succeed(
        "encode", folder / "clip.mp4", lfq, *options, "--audio", "none", "--psnr", "--device", "cpu"
    )
    size = lfq.stat().st_size
    assert text.startswith("20 frames 32x24, 0.80 s -> ")
    assert f"{8 * size / (20 * 32 * 24):.4f} bpp" in text
    assert "PSNR" in text
    assert len(text.splitlines()) == 1
    with lfqcodec.open(lfq) as video:
        assert (video.info.width, video.info.height, video.info.frame_count) == (32, 24, 20)
        assert (video.header.gop_chunks, video.header.streams) == (1, ())
    text = succeed("decode", lfq, f"{tmp_path}/frames/", "--streams", 1, "--start", 0.2, "--duration", 0.2)
    assert text.startswith("5 frames 32x24, 0.20 s")
    with lfqcodec.open(lfq) as video:
        frames = list(video.frames(start=0.2, duration=0.2, streams=1))
    shown = [read_all(tmp_path / "frames" / f"{i:06}.png")[1][0] for i in range(5)]
    assert same_frames(frames, shown)
    no_leftovers(tmp_path)


def test_encode_json(folder, tmp_path):
    lfq = tmp_path / "out.lfq"
    report = json.loads(
        succeed("encode", folder / "clip.mp4", lfq, "--json", "--psnr", "--frames", 18, "--gop", 17)
    )
    assert report["file_bytes"] == lfq.stat().st_size
    assert report["bpp"] == pytest.approx(8 * lfq.stat().st_size / (18 * 48 * 40))
    assert (report["frames"], report["chunks"], report["gops"]) == (18, 2, 2)
    assert report["psnr"] > 15
    assert report["ms_ssim"] is None
    report = json.loads(succeed("decode", lfq, tmp_path / "out.mkv", "--json"))
    assert (report["frames"], report["width"], report["height"]) == (18, 48, 40)
    assert report["seconds"] == pytest.approx(18 / 25)


def test_outputs_without_a_name(folder, tmp_path):
    """They lie beside the input, and are never the input, nor overwrite what is there."""
    for name in ("clip.mp4", "a.lfq", "picture.lfq"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    made = {
        ("encode", "clip.mp4", "--frames", "2"): "clip.lfq",
        ("decode", "a.lfq", "--duration", "0.1"): "a-decoded.mp4",
        ("decode", "picture.lfq"): "picture-decoded.png",
        ("strip", "a.lfq"): "a-stripped.lfq",
        ("repair", "a.lfq"): "a-repaired.lfq",
        ("tokens", "a.lfq"): "a.npz",
    }

    def check(arguments, name):
        report = json.loads(succeed(*arguments, "--json", cwd=tmp_path))
        assert report["file"] == name
        assert (tmp_path / name).stat().st_size == report.get("file_bytes", (tmp_path / name).stat().st_size)

    at_once(check, made.items())
    assert "clip.lfq: exists already" in fail(1, "encode", tmp_path / "clip.mp4")
    assert succeed("strip", "a.lfq", "-f", cwd=tmp_path).startswith("a-stripped.lfq: ")


def test_progress_is_for_terminals(folder, tmp_path):
    done = run("decode", folder / "picture.lfq", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"1 frame 50x38")
    drawn = run("decode", "-f", "--progress", "bar", folder / "picture.lfq", tmp_path / "a.png").stderr
    assert drawn.startswith(b"\rdecoding  reading, 0:00\x1b[K")
    assert drawn.endswith(b"\r\x1b[K")
    for never in (("-q",), ("--progress", "never")):
        assert run("decode", "-f", *never, folder / "picture.lfq", tmp_path / "a.png").stderr == b""


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (Progress(0, 40, 0, 0.0), "encoding  reading, 1:05"),
        (Progress(0, 40, 0, 0.0, read=7), "encoding  reading, 7 pictures read, 1:05"),
        (Progress(0, 40, 0, 0.0, 9, 4), "encoding  4/40 pictures  10%  0.5 pictures/s  1:12 left"),
        (
            Progress(17, 40, 8500, 0.68, 40, 21),
            "encoding  21/40 pictures  52%  0.5 pictures/s  100 kbit/s  0:38 left",
        ),
        (Progress(0, None, 0, 0.0, 9, 4), "encoding  4 pictures  0.5 pictures/s"),
        (Progress(0, 3, 0, 0.0, 9, 4), "encoding  4 pictures  0.5 pictures/s"),
    ],
)
def test_what_progress_says(state, line):
    assert describe("encoding", state, 0.5, 65) == line


# Pipes --------------------------------------------------------------------------------------------


def test_y4m_through_pipes(tmp_path):
    """cat x.y4m | lfqcodec encode - - | lfqcodec decode - - > y.y4m"""
    source = y4m(20)
    encoded = run("encode", "-", "-", "--gop", 17, input=source)
    assert encoded.returncode == 0
    assert b"20 frames 48x40" in encoded.stderr
    decoded = run("decode", "-", "-", input=encoded.stdout)
    assert decoded.returncode == 0
    assert b"20 frames 48x40" in decoded.stderr
    checked = run("verify", "-", input=encoded.stdout)
    assert checked.stdout == b"-: ok, 20 frames in 2 chunks\n"
    (tmp_path / "a.lfq").write_bytes(encoded.stdout)
    succeed("decode", tmp_path / "a.lfq", tmp_path / "a.y4m")
    assert (tmp_path / "a.y4m").read_bytes() == decoded.stdout
    assert decoded.stdout.count(b"FRAME\n") == 20


def test_standard_output_may_be_appended_to(tmp_path):
    """>> opens a file in which going back to the header is not possible."""
    path = tmp_path / "a.lfq"
    with path.open("ab") as out:
        done = run(
            "encode",
            "-",
            "-",
            input=y4m(2, (16, 16)),
            stdout=out,
            stderr=subprocess.PIPE,
            capture_output=False,
        )
    assert done.returncode == 0
    assert "2 frames" in succeed("verify", path)


def test_decode_reads_a_redirected_file(folder):
    with (folder / "a.lfq").open("rb") as file:
        done = run("decode", "-", "-", "--start", "0.72", stdin=file)
    assert done.returncode == 0
    assert done.stdout.count(b"FRAME\n") == 2


def test_json_and_data_do_not_mix(folder):
    for command, source in (("encode", "clip.mp4"), ("decode", "a.lfq")):
        assert "standard output" in fail(2, command, folder / source, "-", "--json")


# Info, verify, tokens, strip, weights -------------------------------------------------------------


def test_info(folder):
    text = succeed("info", folder / "clip.lfq")
    assert "48x40, 40 frames, 1.600 s, 25 frames/s" in text
    assert "aac stereo, 48000 Hz" in text
    assert "bits per pixel" in text
    assert resolve_model().name in text
    text = succeed("info", folder / "picture.lfq")
    assert "picture  50x38\n" in text
    assert "kbit/s" not in text


def test_info_json(folder):
    facts = json.loads(succeed("info", folder / "clip.lfq", "--json"))
    size = (folder / "clip.lfq").stat().st_size
    assert facts["bytes"] == size == facts["payload_bytes"] + facts["copied_bytes"] + facts["container_bytes"]
    assert facts["bpp"] == pytest.approx(8 * size / (40 * 48 * 40))
    assert facts["bitrate"] == pytest.approx(8 * size / 1.6)
    assert (facts["frames"], facts["chunks"], facts["gops"], facts["gop_chunks"]) == (40, 3, 2, 2)
    assert facts["seconds"] == 1.6
    assert facts["frame_rate"] == "25"
    assert facts["token_streams"] == {"2": 3}
    assert facts["tokenizer_sha256"] == resolve_model().sha256.hex()
    assert [s["codec"] for s in facts["streams"]] == ["aac"]
    with lfqcodec.open(folder / "clip.lfq") as video:
        units = list(video.units())
    assert facts["packets"] == sum(len(u.packets) for u in units if hasattr(u, "packets")) > 70
    assert facts["damage"] is None


def test_verify_damage(folder, tmp_path):
    data = bytearray((folder / "a.lfq").read_bytes())
    data[len(data) // 2] ^= 4
    bad, missing = tmp_path / "bad.lfq", tmp_path / "none.lfq"
    bad.write_bytes(data)
    done = run("verify", folder / "a.lfq", bad, folder / "clip.lfq", missing)
    assert done.stdout.decode().splitlines() == [
        f"{folder}/a.lfq: ok, 20 frames in 2 chunks",
        f"{folder}/clip.lfq: ok, 40 frames in 3 chunks",
    ]
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"lfqcodec: {bad}: ")
    assert lines[1] == f"lfqcodec: {missing}: No such file or directory"
    assert done.returncode == 4
    done = run("verify", "--json", missing, bad, folder / "a.lfq")
    assert done.returncode == 3
    results = json.loads(done.stdout)
    assert [r["ok"] for r in results] == [False, False, True]
    assert [r["kind"] for r in results] == ["InputVideoError", "ChecksumMismatch", None]


def test_verify_frame_count(folder, tmp_path):
    """A header that announces another number of frames is a damaged file, not a missing video."""
    from bitstream_helpers import patch_header

    from lfqcodec.bitstream.syntax.header import FRAME_COUNT_OFFSET

    bad = tmp_path / "bad.lfq"
    data = (folder / "a.lfq").read_bytes()
    for count in (19, 21):
        bad.write_bytes(patch_header(data, FRAME_COUNT_OFFSET, count.to_bytes(8, "little")))
        assert "frames announced" in fail(4, "verify", bad)


def test_tokens(folder, tmp_path):
    out = tmp_path / "tokens.npz"
    lines = succeed("tokens", folder / "a.lfq", out).splitlines()
    wanted: dict[str, list[np.ndarray]] = {}
    with lfqcodec.open(folder / "a.lfq") as video:
        for chunk in video.tokens():
            for group in chunk.groups:
                for name, layer in group.items():
                    wanted.setdefault(name, []).append(layer)

    def check(found):
        assert list(found) == list(wanted)
        for name, parts in wanted.items():
            assert found[name].dtype == np.int32
            assert np.array_equal(found[name], np.concatenate(parts))

    found = dict(np.load(out))
    check(found)
    assert lines == [f"{name}: int32 {list(array.shape)}" for name, array in found.items()]
    piped = run("tokens", "-", "-", input=(folder / "a.lfq").read_bytes())
    check(dict(np.load(io.BytesIO(piped.stdout))))
    report = json.loads(succeed("tokens", folder / "a.lfq", out, "-f", "--json"))
    assert report["layers"] == {name: list(array.shape) for name, array in found.items()}
    assert "exists already" in fail(1, "tokens", folder / "a.lfq", out)
    before = (folder / "a.lfq").read_bytes()
    assert "same file" in fail(1, "tokens", folder / "a.lfq", folder / "a.lfq", "-f")
    assert (folder / "a.lfq").read_bytes() == before


def test_strip(folder, tmp_path):
    """A stripped file decodes to what the whole one decodes to with one stream; sound stays."""
    out = tmp_path / "small.lfq"
    succeed("strip", folder / "clip.lfq", out)
    assert out.stat().st_size < (folder / "clip.lfq").stat().st_size
    with lfqcodec.open(out) as small, lfqcodec.open(folder / "clip.lfq") as full:
        assert {head.stream_count for head in small.heads() if isinstance(head, ChunkHead)} == {1}
        assert same_frames(list(small.frames()), list(full.frames(streams=1)))
        packets = [[p for u in file.units() for p in getattr(u, "packets", ())] for file in (small, full)]
        assert packets[0] == packets[1]
    succeed("verify", out)
    piped = run("strip", "-", "-", "--streams", 1, input=(folder / "clip.lfq").read_bytes())
    assert run("verify", "-", input=piped.stdout).returncode == 0
    assert "same file" in fail(1, "strip", out, out, "-f")


def test_weights():
    model = resolve_model()
    text = succeed("weights")
    assert f"{model.name} (default)" in text
    assert model.sha256.hex() in text
    models = json.loads(succeed("weights", "--json"))
    (default,) = [m for m in models if m["default"]]
    assert default["sha256"] == model.sha256.hex()
    assert default["bytes"] == model.path.stat().st_size


# Help, and what is not imported -------------------------------------------------------------------


def test_help():
    text = succeed("--help")
    names = (
        *("encode", "decode", "repair", "strip", "info", "verify"),
        *("tokens", "weights", "train", "generate"),
    )
    assert all(f"  {name} " in text for name in names)

    def check(name):
        assert "Usage: lfqcodec" in succeed(name, "--help")

    at_once(check, [(name,) for name in names])
    assert succeed("-h") == text
    assert succeed("--version").strip() == f"lfqcodec, version {lfqcodec.__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["encode", "--help"],
        ["info", "a.lfq"],
        ["verify", "a.lfq"],
        ["tokens", "-f", "a.lfq", "a.npz"],
        ["weights"],
        ["generate", "--help"],
        ["nonsense"],
    ],
)
def test_no_torch_is_imported(folder, arguments):
    assert imported({"torch", "av", "numba"}, folder, arguments) == set()


@pytest.mark.skipif(not torch.__version__.startswith("2.13."), reason="only where that was tried")
def test_compilers_of_torch_are_not_imported(folder, tmp_path):
    """A quarter of the start of a command, and more; the files are those of a process that has them."""
    compilers = {"torch._decomp", "torch._dynamo", "torch._prims", "torch._refs", "sympy"}
    options = ["--gop", "33", "--device", "cpu"]
    lfq, back = tmp_path / "clip.lfq", tmp_path / "clip.y4m"
    found = imported({"torch", *compilers}, folder, ["encode", "clip.mp4", str(lfq), *options])
    assert found == {"torch"}
    assert lfq.read_bytes() == (folder / "clip.lfq").read_bytes()
    assert imported({"torch", *compilers}, folder, ["decode", str(lfq), str(back)]) == {"torch"}
    lfqcodec.decode(lfq, tmp_path / "other.y4m")
    assert back.read_bytes() == (tmp_path / "other.y4m").read_bytes()


def imported(modules: set[str], folder: Path, arguments: list[str]) -> set[str]:
    """Those of the modules that the command imports."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted(set({sorted(modules)}) & set(sys.modules))))\n"
        "from lfqcodec.cli.main import main\n"
        f"sys.argv = ['lfqcodec', *{arguments}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, timeout=60, check=False
    )
    return set(done.stdout.decode().splitlines()[-1].split())


def test_module_is_the_command(folder):
    done = subprocess.run(
        [sys.executable, "-m", "lfqcodec", "info", "none.lfq"], cwd=folder, capture_output=True, check=False
    )
    assert complaint(done, 3) == "lfqcodec: none.lfq: No such file or directory"
