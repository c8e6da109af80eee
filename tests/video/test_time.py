"""Frame counts, time stamps, cuts, rotation and sizes."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from video_support import bundled, copy, moving_picture, png, read_all, write_video

from lfqcodec.errors import InputVideoError
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.video import open_video, open_writer


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.y4m", "frames/"])
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_every_frame_comes_through(tmp_path, name, count):
    source = write_video(tmp_path / "in.mp4", frames=count)
    copy(source, f"{tmp_path}/{name}")
    info, frames, _ = read_all(tmp_path / name)
    assert len(frames) == count
    assert (info.width, info.height) == (64, 48)
    if name != "frames/":
        assert info.frame_rate == 25 or count == 1
    sources = np.stack([moving_picture(64, 48, index) for index in range(count)]).astype(np.int16)
    nearest = [int(np.abs(sources - frame.rgb).mean((1, 2, 3)).argmin()) for frame in frames]
    assert nearest == list(range(count))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_time_stamps_survive(tmp_path, name):
    pts = [0, 400, 1000, 1100, 2600, 3000, 3700, 3800, 5000]
    source = write_video(tmp_path / "in.mp4", frames=len(pts), pts=pts, time_base=Fraction(1, 3000))
    before, frames, _ = read_all(source)
    assert [f.pts * before.time_base for f in frames] == [Fraction(p, 3000) for p in pts]
    copy(source, tmp_path / name)
    after, frames, _ = read_all(tmp_path / name)
    got = [f.pts * after.time_base for f in frames]
    slack = 0 if name == "a.mp4" else Fraction(1, 2000)  # Matroska counts in milliseconds
    assert all(abs(a - Fraction(p, 3000)) <= slack for a, p in zip(got, pts, strict=True))


def test_y4m_keeps_the_time_by_repeating_and_leaving_out(tmp_path):
    info = VideoInfo(64, 48, Fraction(1, 100), frame_rate=Fraction(10))
    shown = {0: 0, 10: 1, 12: 2, 20: 3, 60: 4, 70: 5}
    with open_writer(tmp_path / "a.y4m", info) as out:
        for pts, number in shown.items():
            out.write(Frame(pts, moving_picture(64, 48, 20 * number)))
    assert out.notes == ["3 pictures are repeated and 1 left out: y4m has one frame rate"]
    got, frames, _ = read_all(tmp_path / "a.y4m")
    assert (got.frame_rate, len(frames)) == (10, 8)
    numbers = [round((float(f.rgb.mean()) - float(frames[0].rgb.mean())) / 20) for f in frames]
    assert numbers == [0, 1, 3, 3, 3, 3, 4, 5]


@pytest.mark.parametrize(
    "base", [Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 10**6)]
)
def test_any_time_base(tmp_path, base):
    step = max(1, round(Fraction(1001, 30000) / base))
    info = VideoInfo(64, 48, base, frame_rate=Fraction(30000, 1001))
    with open_writer(tmp_path / "a.mp4", info) as out:
        for number in range(5):
            out.write(Frame(number * step, moving_picture(64, 48, number)))
    got, frames, _ = read_all(tmp_path / "a.mp4")
    assert [f.pts * got.time_base for f in frames] == [n * step * base for n in range(5)]


@pytest.mark.parametrize("form", ["h264", "avi", "mpegts"])
def test_missing_or_late_time_stamps(tmp_path, form):
    """Raw H.264 has no time stamps, AVI only those of decoding, a transport stream starts anywhere."""
    codec = "mpeg4" if form == "avi" else "libx264"
    source = write_video(
        tmp_path / f"a.{form}", frames=12, form=form, codec=codec, delay=0 if form != "mpegts" else 50
    )
    info, frames, _ = read_all(source)
    times = [float(f.pts * info.time_base) for f in frames]
    assert np.allclose(times, np.arange(12) / 25, atol=1e-3)
    means = [float(f.rgb.mean()) for f in frames]
    assert all(b > a for a, b in itertools.pairwise(means))


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts", "avi", "h264"])
def test_cuts_are_exact(tmp_path, form):
    codec = "mpeg4" if form == "avi" else "libx264"
    source = write_video(tmp_path / f"a.{form}", frames=120, form=form, codec=codec, gop=30)
    whole = read_all(source)[1]
    for start, duration in ((0.04, 0.04), (1.2, 0.4), (2.0, None), (3.32, 1.0), (4.76, None)):
        info, frames, _ = read_all(source, start=start, duration=duration)
        first = round(start * 25)
        last = 120 if duration is None else min(120, first + round(duration * 25))
        assert len(frames) == last - first
        for got, want in zip(frames, whole[first:last], strict=True):
            assert np.array_equal(got.rgb, want.rgb)
        assert frames[0].pts == 0
        assert info.frame_count is None
    assert len(read_all(source, start=1, max_frames=7)[1]) == 7
    with pytest.raises(InputVideoError, match="no frame at or after 100 s"):
        open_video(source, start=100)


def test_cut_with_open_gops(tmp_path):
    """Pictures shown before a keyframe but stored behind it need the group before it."""
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = 2
        stream.bit_rate = 2_000_000
        for number in range(75):
            picture = av.VideoFrame.from_ndarray(moving_picture(64, 48, number), format="rgb24")
            out.mux(stream.encode(picture.reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    whole = read_all(source)[1]
    for first in range(30, 60, 3):
        _, frames, _ = read_all(source, start=first / 25, max_frames=1)
        assert np.array_equal(frames[0].rgb, whole[first].rgb)


def test_estimates_and_counts(tmp_path):
    source = bundled("bikes")
    with open_video(source) as reader:
        assert reader.info.frame_count == reader.estimated_frames == 250
    with open_video(source, max_frames=10) as reader:
        assert reader.info.frame_count == reader.estimated_frames == 10
    with open_video(source, start=2, duration=3) as reader:
        assert reader.info.frame_count is None
        assert reader.estimated_frames == 75


def rotated(path, matrix):
    """Put a display matrix into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    assert data[at] == 0
    at += 40
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, -1)),
        ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, 2)),
        ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, 1)),
        ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), lambda p: p[:, ::-1]),
        ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda p: p[::-1]),
        ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.swapaxes(p, 0, 1)),
    ],
)
def test_display_matrix_is_applied(tmp_path, matrix, turn):
    source = write_video(tmp_path / "a.mp4", frames=2)
    plain = read_all(source)[1]
    info, frames, _ = read_all(rotated(source, matrix))
    want = turn(plain[0].rgb)
    assert (info.height, info.width) == want.shape[:2]
    assert info.rotation == 0
    assert np.array_equal(frames[0].rgb, want)
    assert frames[0].rgb.flags["C_CONTIGUOUS"]
    info, frames, _ = read_all(source, scale=(40, 20))
    assert frames[0].rgb.shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("value", "turn"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: np.rot90(p, 2)),
        (4, lambda p: p[::-1]),
        (5, lambda p: np.swapaxes(p, 0, 1)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(np.swapaxes(p, 0, 1), 2)),
        (8, lambda p: np.rot90(p, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, value, turn):
    path = tmp_path / "a.jpg"
    with open_writer(path, VideoInfo(64, 32, Fraction(1, 25))) as out:
        out.write(Frame(0, moving_picture(64, 32, 0)))
    plain = read_all(path)[1][0].rgb
    data = path.read_bytes()
    for order, magic in (("<", b"II*\0"), (">", b"MM\0*")):
        block = b"Exif\0\0" + magic + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, value, 0, 0)
        path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
        assert np.array_equal(read_all(path)[1][0].rgb, turn(plain))


@pytest.mark.parametrize(
    "size", [(33, 21), (33, 20), (32, 21), (1, 1), (3, 5), (1, 40), (16, 16), (33, 31), (8, 300), (719, 4)]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m", "a/"])
def test_any_size(tmp_path, size, name):
    width, height = size
    info = VideoInfo(width, height, Fraction(1, 25), frame_rate=Fraction(25))
    pictures = [moving_picture(width, height, 20 * n) for n in range(3)]
    with open_writer(f"{tmp_path}/{name}", info) as out:
        for number, picture in enumerate(pictures):
            out.write(Frame(number, picture))
    got, frames, _ = read_all(tmp_path / name)
    # Few players know H.264 with full chroma, and with less it has even sizes only.
    padded = (width + width % 2, height + height % 2) if name == "a.mp4" else size
    assert (got.width, got.height) == padded
    assert any("padded" in note for note in out.notes) == (padded != size)
    for frame, picture in zip(frames, pictures, strict=True):
        shown = frame.rgb[:height, :width]
        assert np.abs(shown.astype(int) - picture).mean() < (0.01 if name == "a/" else 12)


def test_scaling_keeps_the_picture_and_its_shape(tmp_path):
    source = write_video(tmp_path / "a.mp4", size=(128, 96), frames=1)
    info, frames, _ = read_all(source, scale=(64, 48))
    whole = read_all(source)[1][0].rgb.astype(float)
    halved = whole.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert info.sar == 1
    assert np.abs(frames[0].rgb - halved).mean() < 1.5
    info, _, _ = read_all(source, scale=(64, 96))
    assert info.sar == 2


def test_folder_of_pictures(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"p{number}.png").write_bytes(png(moving_picture(32, 24, number)))
    (tmp_path / "notes.txt").write_text("not a picture")
    info, frames, _ = read_all(tmp_path)
    assert (info.frame_rate, info.frame_count, info.is_image) == (25, 3, False)
    for frame, number in zip(frames, (1, 2, 10), strict=True):
        assert np.array_equal(frame.rgb, moving_picture(32, 24, number))
    assert [f.pts for f in frames] == [0, 1, 2]
    assert len(read_all(tmp_path, start=0.04, max_frames=1)[1]) == 1


def test_wrong_arguments(tmp_path):
    source = write_video(tmp_path / "a.mp4", frames=1)
    for options in ({"start": -1}, {"duration": 0}, {"max_frames": 0}, {"scale": (0, 4)}):
        with pytest.raises(ValueError, match="must be"):
            open_video(source, **options)
    with open_video(source) as reader:
        list(reader.events())
        with pytest.raises(RuntimeError):
            next(reader.events())
