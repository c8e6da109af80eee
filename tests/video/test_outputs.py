"""Outputs appear whole or not at all; pipes; formats; pictures; system failures."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from video_support import copy, moving_picture, pipe, planes_of, read_all, write_video

from lfqcodec.errors import InputVideoError, OutputError
from lfqcodec.media import Colour, Frame, VideoInfo
from lfqcodec.video import open_writer

INFO = VideoInfo(64, 48, Fraction(1, 25), frame_rate=Fraction(25))
OUTPUTS = ["a.mp4", "a.mkv", "a.y4m", "a.png", "a/", "b/%03d.png"]

COPY = """
import sys
from lfqcodec.media import Frame
from lfqcodec.errors import LfqError
from lfqcodec.video import open_video, open_writer
try:
    with open_video(sys.argv[1]) as reader, open_writer(sys.argv[2], reader.info) as out:
        for event in reader.events():
            (out.write if isinstance(event, Frame) else out.write_packet)(event)
except LfqError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def run(*arguments, data=None, limit=None):
    def restrict():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", COPY, *map(str, arguments)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=restrict if limit else None,
    )


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_is_left_after_an_error(tmp_path, name):
    for error in (RuntimeError, KeyboardInterrupt, InputVideoError):
        with pytest.raises(error), open_writer(f"{tmp_path}/{name}", INFO) as out:  # noqa: PT012
            out.write(Frame(0, moving_picture(64, 48, 0)))
            raise error("stop")
        assert list(tmp_path.iterdir()) == [], name


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_appears_before_the_end(tmp_path, name):
    with open_writer(f"{tmp_path}/{name}", INFO) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        top = name.split("/")[0]
        assert not (tmp_path / top).exists()
    assert (tmp_path / top).exists()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m", "a.png"])
def test_existing_files_are_kept(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"), open_writer(path, INFO):
        pass
    assert path.read_bytes() == b"precious"
    with pytest.raises(RuntimeError), open_writer(path, INFO, overwrite=True) as out:  # noqa: PT012
        out.write(Frame(0, moving_picture(64, 48, 0)))
        raise RuntimeError
    assert path.read_bytes() == b"precious"
    with open_writer(path, INFO, overwrite=True) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
    assert len(read_all(path)[1]) == 1


@pytest.mark.parametrize("name", ["a.avi", "a", "a.webm", "a.gif", "a.lfq"])
def test_unknown_formats_name_the_known_ones(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.mp4.*\.mkv.*\.y4m") as caught:
        open_writer(tmp_path / name, INFO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m", "a.png", "a/", "b/%d.png"])
def test_missing_folder(tmp_path, name):
    with pytest.raises(OutputError, match="no such folder"), open_writer(f"{tmp_path}/x/y/{name}", INFO):
        pass


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.png"])
def test_no_frames_is_an_error(tmp_path, name):
    with pytest.raises(OutputError, match="no frame"), open_writer(tmp_path / name, INFO):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_frames_are_refused(tmp_path):
    with open_writer(tmp_path / "a.y4m", INFO) as out:
        out.write(Frame(5, moving_picture(64, 48, 0)))
        with pytest.raises(ValueError, match="does not follow"):
            out.write(Frame(5, moving_picture(64, 48, 0)))
        with pytest.raises(ValueError, match="not uint8"):
            out.write(Frame(6, moving_picture(48, 64, 0)))
        with pytest.raises(ValueError, match="not uint8"):
            out.write(Frame(7, moving_picture(64, 48, 0).astype(np.float32)))


def test_pictures_are_exact(tmp_path):
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12)]
    for name, first, last in (("a/", "000000.png", "000011.png"), ("b/f%04d.png", "f0000.png", "f0011.png")):
        with open_writer(f"{tmp_path}/{name}", INFO) as out:
            for number, picture in enumerate(pictures):
                out.write(Frame(number, picture))
        folder = tmp_path / name.split("/")[0]
        names = sorted(path.name for path in folder.iterdir())
        assert (names[0], names[-1], len(names)) == (first, last, 12)
        for frame, picture in zip(read_all(folder)[1], pictures, strict=True):
            assert np.array_equal(frame.rgb, picture)
    with open_writer(tmp_path / "one.png", INFO) as out:
        out.write(Frame(0, pictures[0]))
    assert np.array_equal(read_all(tmp_path / "one.png")[1][0].rgb, pictures[0])


def test_one_picture_file_refuses_a_video(tmp_path):
    with pytest.raises(OutputError, match="one picture"), open_writer(tmp_path / "a.png", INFO) as out:  # noqa: PT012
        for number in range(2):
            out.write(Frame(number, moving_picture(64, 48, number)))
    counted = VideoInfo(64, 48, Fraction(1, 25), frame_count=2)
    with pytest.raises(OutputError, match="one picture"), open_writer(tmp_path / "a.png", counted):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_keeps_them(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("keep me")
    for count in (5, 3):
        if count == 5:
            with pytest.raises(OutputError, match="not empty"), open_writer(folder, INFO):
                pass
        with open_writer(folder, INFO, overwrite=True) as out:
            for number in range(count):
                out.write(Frame(number, moving_picture(64, 48, number)))
        assert sorted(p.name for p in folder.iterdir()) == [
            *(f"{n:06d}.png" for n in range(count)),
            "letter.txt",
        ]
    with pytest.raises(RuntimeError), open_writer(folder, INFO, overwrite=True) as out:  # noqa: PT012
        out.write(Frame(0, moving_picture(64, 48, 9)))
        raise RuntimeError
    assert len(list(folder.iterdir())) == 4


def test_y4m_through_a_pipe(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=9)
    copy(source, tmp_path / "a.y4m")
    data = (tmp_path / "a.y4m").read_bytes()
    out = run(source, "-")
    assert (out.returncode, out.stderr) == (0, b"")
    assert out.stdout == data
    assert data.startswith(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED\n")
    back = run("-", tmp_path / "b.mkv", data=data)
    assert (back.returncode, back.stderr) == (0, b"")
    # Colours of RGB and back cost a level here and there, but no frame and no chroma position.
    first, second = planes_of(tmp_path / "a.y4m"), planes_of(tmp_path / "b.mkv")
    assert len(first) == len(second) == 9
    for a, b in zip(first, second, strict=True):
        assert max(np.abs(x.astype(int) - y).max() for x, y in zip(a, b, strict=True)) <= 3
    info, frames, _ = read_all(pipe(data))
    assert (len(frames), info.frame_rate) == (9, 25)
    written = io.BytesIO()
    with open_writer(written, info) as out:
        for frame in frames:
            out.write(frame)
    assert written.getvalue()[:9] == b"YUV4MPEG2"
    assert not written.closed


def y4m(tag, planes, extra=b""):
    return b"YUV4MPEG2 W8 H6 F30:1 Ip A1:1 " + tag + extra + b"\n" + b"FRAME\n" + b"".join(planes)


@pytest.mark.parametrize(
    ("tag", "chroma"),
    [
        (b"C420jpeg", 12),
        (b"C420mpeg2", 12),
        (b"C420paldv", 12),
        (b"C422", 24),
        (b"C444", 48),
        (b"Cmono XCOLORRANGE=LIMITED", 0),
    ],
)
def test_y4m_chroma_formats(tag, chroma):
    planes = [bytes([126]) * 48, bytes([128]) * chroma, bytes([128]) * chroma]
    info, frames, _ = read_all(io.BytesIO(y4m(tag, planes)))
    assert (info.frame_rate, len(frames)) == (30, 1)
    assert np.abs(frames[0].rgb.astype(int) - 128).max() <= 1
    tag = tag.split()[0]
    info, frames, _ = read_all(io.BytesIO(y4m(tag, planes, b" XCOLORRANGE=FULL")))
    assert info.colour.full_range
    assert np.abs(frames[0].rgb.astype(int) - 126).max() <= 1


def test_closed_pipe(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=40, size=(320, 240))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", COPY, str(source), "-"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.read(reader, 100)
    os.close(reader)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().strip() == "error: standard output: closed by its reader"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("name", ["a.mp4", "a.y4m", "a/"])
def test_full_disk(tmp_path, name):
    source = write_video(tmp_path / "in.mp4", frames=25, size=(160, 120), audio="aac")
    out = run(source, f"{tmp_path}/{name}", limit=3000)
    assert out.returncode == 1, out.stderr
    lines = out.stderr.decode().splitlines()
    assert len(lines) == 1
    assert "File too large" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_full_range_is_said_in_y4m(tmp_path):
    info = VideoInfo(64, 48, Fraction(1, 25), colour=Colour(1, 1, 6, True))
    with open_writer(tmp_path / "a.y4m", info) as out:
        out.write(Frame(0, moving_picture(64, 48, 3)))
    got, frames, _ = read_all(tmp_path / "a.y4m")
    assert got.colour.full_range
    assert np.abs(frames[0].rgb.astype(int) - moving_picture(64, 48, 3)).mean() < 1.5
