"""The sweep as a user runs it: real codecs on real videos, stopped and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from codec_support import benchmarks
from safetensors.numpy import save_file

from benchmarks import codecs, results
from benchmarks.codecs.anchors import without_notes
from benchmarks.datasets import Preparation, find_origins, prepare
from benchmarks.datasets.find import Expected, Origin
from benchmarks.process import ProcessFailed, run_process
from benchmarks.rating.study import load_study
from benchmarks.sweep import Sweep
from lfqcodec.errors import LfqError
from lfqcodec.media import Frame
from lfqcodec.video import open_video
from lfqcodec.weights.store import resolve_model

ROOT = Path(__file__).parents[2]
POINTS = ["--codecs", "lfq,x265-medium,x264-medium,svtav1-8", "--points", "lfq=20,60"]
for _point in ("x265-medium=30,45", "x264-medium=30", "svtav1-8=50"):
    POINTS += ["--points", _point]


def write_clip(
    path: Path, frames: int = 6, size: tuple[int, int] = (192, 176), form: str = "yuv420p"
) -> None:
    """A lossless video of a pattern that moves."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, form
        for number in range(frames):
            wave = np.sin((x + 5 * number) / 9) * np.cos(y / 7)
            rgb = np.stack([127 + 90 * wave, 127 + 60 * np.cos(wave * 3), (x + y) % 256], -1).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=form)))
        output.mux(stream.encode(None))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "one.mkv")
    write_clip(folder / "two.mkv", frames=4, size=(176, 192))
    return folder


def run(*arguments: object, expected: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m benchmarks` without what is set or kept here."""
    clean = {name: value for name, value in os.environ.items() if name != "LFQCODEC_LPIPS"}
    clean |= {"XDG_CACHE_HOME": "/nonexistent", **environment}
    done = benchmarks(*arguments, env=clean)
    assert done.returncode == expected, done.stderr
    return done


def planes(path: Path) -> list[np.ndarray]:
    """The samples of every frame as they are stored."""
    with av.open(str(path)) as media:
        return [frame.to_ndarray() for frame in media.decode(video=0)]


@pytest.fixture(scope="module")
def swept(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    done = run("sweep", "--dataset", clips, "--out", out, "--jobs", 2, *POINTS)
    assert "no LPIPS" in done.stderr
    return out


def test_rows_say_what_the_files_are(swept: Path) -> None:
    record = results.load(swept)
    assert len(record.rows) == 12
    assert not record.failures
    for row in record.rows.values():
        file = swept / row.file
        assert row.bytes == file.stat().st_size
        assert row.bpp == pytest.approx(8 * row.bytes / (row.frames * row.width * row.height))
        assert row.kbps == pytest.approx(8 * row.bytes / (row.frames / 25) / 1000)
        assert row.lpips is None
        assert row.encode.seconds > 0
        assert row.encode.cpu_seconds > 0
        assert row.decode.peak_mib > 10
        assert str(swept) not in row.encode_command + row.decode_command
    assert record.sequences["one"].frames == 6
    assert record.sequences["two"].frames == 4
    assert record.codecs["x265-medium"]["version"].startswith("x265 (build ")
    assert record.codecs["x264-medium"]["version"].startswith("x264 - core ")
    assert record.codecs["svtav1-8"]["version"].startswith("SVT-AV1 Encoder Lib ")
    assert len(record.codecs["lfq"]["model_sha256"]) == 64
    assert record.runs[0]["measured"] == 12


def test_more_rate_is_more_quality(swept: Path) -> None:
    record = results.load(swept)
    for codec in ("lfq", "x265-medium"):
        low, high = record.curve(codec, "one")
        assert low.bpp < high.bpp
        assert low.psnr < high.psnr


def test_metrics_are_those_of_the_decoded_file(swept: Path, tmp_path: Path) -> None:
    record = results.load(swept)
    row = record.rows["x265-medium", "crf=30", "one"]
    decoded = tmp_path / "decoded.mkv"
    codec = codecs.get("x265-medium")
    run_process(codec.decode_command(swept / row.file, decoded))
    errors = []
    with open_video(swept / "sources/one.mkv") as source, open_video(decoded) as video:
        pictures = ([e.rgb for e in opened.events() if isinstance(e, Frame)] for opened in (source, video))
        for original, result in zip(*pictures, strict=True):
            errors.append(np.square(original.astype(float) - result.astype(float)).mean())
    assert row.psnr == pytest.approx(np.mean([10 * np.log10(255**2 / e) for e in errors]), abs=1e-4)
    assert row.psnr_of_mse == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=1e-4)


def test_second_run_does_nothing(swept: Path, clips: Path) -> None:
    before = (swept / results.FILE).read_bytes()
    times = {path: path.stat().st_mtime_ns for path in swept.rglob("*.*") if path.name != results.FILE}
    done = run("sweep", "--dataset", clips, "--out", swept, *POINTS)
    assert done.stdout.startswith("0 files measured")
    assert (swept / results.FILE).read_bytes() == before
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_killed_sweep_goes_on(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["sweep", "--codecs", "x264-medium", "--dataset", str(clips), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *line],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / results.FILE).exists():
        time.sleep(0.02)
    while time.monotonic() < deadline and len(results.load(out).rows) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = results.load(out).rows
    assert 2 <= len(done) < 12
    run(*line)
    after = results.load(out).rows
    assert len(after) == 12
    assert all(after[key] == row for key, row in done.items())
    assert len(results.load(out).runs) == 2


def test_one_bad_video_does_not_stop_the_rest(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    (folder / "two.mkv").unlink()
    out = tmp_path / "out"
    line = (
        "sweep",
        "--codecs",
        "x264-medium",
        "--points",
        "x264-medium=40",
        "--dataset",
        folder,
        "--out",
        out,
    )
    done = run(*line, expected=1)
    assert "broken.mp4" in done.stderr
    assert "1 left out" in done.stderr
    assert [row.sequence for row in results.load(out).rows.values()] == ["one"]


def test_a_failing_item_is_noted_and_tried_again(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("sweep", "--codecs", "lfq", "--points", "lfq=60", "--dataset", clips, "--out", out)
    # A model that is described and has no weights: the command itself fails, item by item.
    empty = tmp_path / "models" / "empty.safetensors"
    empty.parent.mkdir()
    save_file({"none": np.zeros(1, np.float32)}, empty, resolve_model().metadata)
    done = run(*line, "--model", empty, expected=1)
    record = results.load(out)
    assert not record.rows
    assert len(record.failures) == 2
    assert "does not fit its configuration" in next(iter(record.failures.values())).error
    assert "lfq crf=60 one" in done.stderr
    run(*line)
    record = results.load(out)
    assert len(record.rows) == 2
    assert not record.failures


def test_wrong_requests_are_one_clear_line(clips: Path, tmp_path: Path) -> None:
    base = ("sweep", "--dataset", clips, "--out", tmp_path / "out", "--codecs")
    cases = [
        ((*base, "h267"), "no codec 'h267'"),
        ((*base, "lfq", "--points", "lfq=70"), "no setting 'crf=70'"),
        ((*base, "lfq", "--points", "x264=30"), "not in --codecs"),
        ((*base, "lfq", "--lpips-weights", "missing.safetensors"), "missing.safetensors: no such file"),
        ((*base, "lfq", "--scale", "640"), "640x360"),
        (("sweep", "--dataset", "nowhere", "--out", tmp_path / "out"), "nowhere: no such folder"),
        (("sweep", "--dataset", "mcl-jcv", "--out", tmp_path / "out"), "--data"),
    ]
    for arguments, expected in cases:
        done = benchmarks(*arguments)
        assert done.returncode not in (0, 2), arguments
        assert expected in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "does not hold results"),
        (json.dumps({"format": results.FORMAT, "version": 0}), "has version 0"),
        (json.dumps({"format": results.FORMAT, "version": results.VERSION, "rows": [{}]}), "is damaged"),
    ],
)
def test_bad_result_files(content: str | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / results.FILE).write_text(content)
    with pytest.raises(results.ResultsError, match=expected):
        results.load(tmp_path)


def test_results_of_another_data_set_are_not_mixed(clips: Path, swept: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(clips, other)
    done = run("sweep", "--dataset", other, "--out", swept, expected=1)
    assert "not for other" in done.stderr


def test_source_keeps_the_samples(clips: Path, tmp_path: Path) -> None:
    sequence = prepare(Origin("one", clips / "one.mkv"), Preparation(), tmp_path)
    copied, original = planes(tmp_path / sequence.file), planes(clips / "one.mkv")
    assert all(np.array_equal(a, b) for a, b in zip(copied, original, strict=True))
    assert (sequence.width, sequence.height, sequence.frames, sequence.frame_rate) == (192, 176, 6, "25")


def test_source_is_cut_scaled_and_made_even(tmp_path: Path) -> None:
    write_clip(tmp_path / "odd.mkv", size=(101, 75), form="yuv444p")
    sequence = prepare(Origin("odd", tmp_path / "odd.mkv"), Preparation(frames=2), tmp_path)
    assert (sequence.width, sequence.height, sequence.frames) == (100, 74, 2)
    sequence = prepare(Origin("odd", tmp_path / "odd.mkv"), Preparation(size=(64, 48)), tmp_path)
    assert (sequence.width, sequence.height, sequence.frames) == (64, 48, 6)


def test_source_is_made_again_when_it_was_changed(clips: Path, tmp_path: Path) -> None:
    origin = Origin("one", clips / "one.mkv")
    sequence = prepare(origin, Preparation(), tmp_path)
    copy = tmp_path / sequence.file
    made = copy.stat().st_mtime_ns
    assert prepare(origin, Preparation(), tmp_path) == sequence
    assert copy.stat().st_mtime_ns == made
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    assert prepare(origin, Preparation(), tmp_path).sha256 == sequence.sha256


def test_manifest_is_checked(tmp_path: Path) -> None:
    size, frames = (64, 48), 3
    raw = np.random.default_rng(0).integers(0, 256, (frames, size[0] * size[1] * 3 // 2), np.uint8)
    path = tmp_path / "videoSRC01_1920x1080_30.yuv"
    path.write_bytes(raw.tobytes())
    expected = Expected(*size, Fraction(30), frames)
    sequence = prepare(Origin("a", path, expected), Preparation(), tmp_path)
    assert np.array_equal(np.stack(planes(tmp_path / sequence.file)).reshape(frames, -1), raw)
    with pytest.raises(LfqError, match="has 3 frames, not 4"):
        prepare(Origin("a", path, Expected(*size, Fraction(30), 4)), Preparation(frames=1), tmp_path)
    write_clip(tmp_path / "b.mkv", size=size)
    with pytest.raises(LfqError, match="has pictures of 64x48, not 32x48"):
        prepare(Origin("b", tmp_path / "b.mkv", Expected(32, 48, Fraction(25), 6)), Preparation(), tmp_path)
    origins = find_origins("mcl-jcv", tmp_path)
    assert len(origins) == 30
    assert origins[0].path == path
    assert origins[4].expected == Expected(1920, 1080, Fraction(25), 125)
    assert origins[1].path is None


def test_samples_are_there() -> None:
    origins = find_origins("samples", None)
    assert [origin.name for origin in origins][:2] == ["bigbuckbunny", "bikes"]
    assert all(origin.path is not None and origin.path.is_file() for origin in origins)


@pytest.mark.parametrize("name", [name for name in codecs.NAMES if not name.startswith("lfq")])
def test_anchor_decodes_what_ffmpeg_decodes(name: str, clips: Path, tmp_path: Path) -> None:
    """The elementary streams are complete: FFmpeg reads them without us, to the same samples."""
    codec = codecs.get(name)
    coded, decoded = tmp_path / f"a{codec.suffix}", tmp_path / "a.mkv"
    run_process(codec.encode_command(clips / "one.mkv", coded, "crf=35"))
    run_process(codec.decode_command(coded, decoded))
    assert len(planes(decoded)) == 6
    assert all(np.array_equal(a, b) for a, b in zip(planes(coded), planes(decoded), strict=True))
    with open_video(decoded) as video:
        assert video.info.frame_rate == 25


def test_notes_of_x264_are_left_out(clips: Path, tmp_path: Path) -> None:
    codec = codecs.get("x264-medium")
    coded = tmp_path / "a.h264"
    run_process(codec.encode_command(clips / "one.mkv", coded, "crf=35"))
    data = coded.read_bytes()
    assert b"x264" not in data
    note = b"\x00\x00\x01\x06\x05\x04abcd\x80"
    slices = b"\x00\x00\x00\x01\x67abc\x00\x00\x01\x65def"
    assert without_notes(note + slices + note) == slices


def test_a_failing_command_tells_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"nothing\.lfq"):
        run_process(codecs.get("lfq").decode_command(tmp_path / "nothing.lfq", tmp_path / "a.mkv"))


def test_a_codec_that_is_not_here_is_left_out(
    monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path
) -> None:
    """As with a PyAV that was built without libx264: the other codec goes on."""
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(codecs.CodecUnavailable, match="x264-medium: this PyAV was built without libx264"):
        codecs.get("x264-medium").version()
    work = Sweep(results.Results(tmp_path, "clips"), None, "cpu", 1)
    work.prepare(str(clips), None, Preparation())
    chosen = [codecs.get("x264-medium"), codecs.get("x265-medium")]
    left = work.items(chosen, ["x265-medium=40"], frozenset())
    assert [item.key for item in left] == [("x265-medium", "crf=40", name) for name in ("one", "two")]
    assert len(work.problems) == 1
    missing = codecs.get("lfq", model=str(tmp_path / "missing.safetensors"))
    with pytest.raises(codecs.CodecUnavailable, match=r"missing\.safetensors"):
        missing.version()


def test_a_study_is_made_of_the_results(swept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    names = "x265-medium,x264-medium"
    done = run("study", swept, folder, "--codecs", names, "--bpp", 0.2)
    assert done.stdout.strip() == f"2 clips in {folder}"
    study = load_study(folder)
    assert [clip.name for clip in study.clips] == ["one", "two"]
    with av.open(str(study.clips[0].videos["x264-medium"])) as media:
        assert media.streams.video[0].codec_context.name == "h264"
        copied = [frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)]
    with open_video(swept / "sources/one.mkv") as source:
        originals = [event.rgb for event in source.events() if isinstance(event, Frame)]
    assert len(copied) == len(originals) == 6
    assert np.abs(copied[3].astype(int) - originals[3].astype(int)).mean() < 8
    assert "exists already" in run("study", swept, folder, "--codecs", names, expected=1).stderr
    # One of them was not measured: nothing to compare.
    wanted = ("--codecs", "x264-medium,x264-veryslow")
    done = run("study", swept, tmp_path / "none", *wanted, expected=1)
    assert "no sequence can be compared" in done.stderr
    assert not (tmp_path / "none").exists()
