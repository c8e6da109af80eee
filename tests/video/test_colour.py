"""Colour of pictures in and out: matrices, ranges, chroma positions, depths, transparency."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from video_support import LUMA, bar_picture, exact_yuv, planes_of, png, read_all, write_planes

from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.encode.encoder import encode
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.media import Colour, Frame, VideoInfo
from lfqcodec.video import open_writer
from lfqcodec.video.colour import rgb_to_yuv, yuv_frame


def rounded(planes):
    return [np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in planes]


def halved(plane):
    """Reference for left-sited 4:2:0: [1 2 1]/4 across, [1 1]/2 down, in float."""
    wide = np.pad(plane, ((0, plane.shape[0] & 1), (1, 1 + (plane.shape[1] & 1))), mode="edge")
    rows = (wide[0::2] + wide[1::2]) / 2
    return rows[:, 0:-2:2] / 4 + rows[:, 1:-1:2] / 2 + rows[:, 2::2] / 4


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_tagged_colour_is_honoured(tmp_path, codec, matrix, full):
    picture = bar_picture(128, 64)
    y, u, v = rounded(exact_yuv(picture, matrix, full))
    # Bars are 16 wide, so 4:2:0 loses colour only beside their edges, which are left out below.
    path = write_planes(
        tmp_path / "a.mkv",
        [y, u[::2, ::2], v[::2, ::2]],
        "yuv420p",
        codec=codec,
        matrix=matrix,
        full=1 + full,
    )
    info, frames, _ = read_all(path)
    assert (info.colour.matrix, info.colour.full_range) == (matrix, full)
    inner = (np.arange(128) % 16 >= 4) & (np.arange(128) % 16 < 12)
    error = np.abs(frames[0].rgb.astype(int) - picture)[:, inner]
    assert error.max() <= 3
    assert error.mean() < 1


@pytest.mark.parametrize(("size", "matrix"), [((1280, 720), 1), ((640, 360), 6), ((720, 576), 5)])
def test_untagged_video_gets_the_usual_matrix(tmp_path, size, matrix):
    picture = bar_picture(*size)
    y, u, v = rounded(exact_yuv(picture, matrix, False))
    path = write_planes(tmp_path / "a.mkv", [y, u[::2, ::2], v[::2, ::2]], "yuv420p")
    info, frames, _ = read_all(path)
    assert info.colour.matrix == matrix
    assert not info.colour.full_range
    middle = slice(size[0] // 16, None, size[0] // 8)
    assert np.abs(frames[0].rgb.astype(int) - picture)[:, middle].max() <= 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_rgb_to_yuv_is_the_definition(matrix, full):
    picture = np.random.default_rng(3).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    exact = exact_yuv(picture, matrix, full)
    colour = Colour(1, 1, matrix, full)
    for got, want in zip(rgb_to_yuv(picture, colour, subsample=False), exact, strict=True):
        assert np.abs(got - np.clip(want, 0, 255)).max() <= 1.01
    y, u, v = rgb_to_yuv(picture, colour)
    assert y.shape == (37, 51)
    for got, want in ((u, exact[1]), (v, exact[2])):
        assert got.shape == (19, 26)
        assert np.abs(got - halved(want)).max() <= 1.5


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.y4m"])
def test_chroma_does_not_move(tmp_path, name):
    """A sweep of hue comes back in place: half a chroma sample would more than double the error."""
    x = np.arange(256)
    row = np.stack([128 + 90 * np.sin(x / 9), np.full(256, 110), 128 - 90 * np.sin(x / 9)], axis=-1)
    picture = np.broadcast_to(row.astype(np.uint8), (64, 256, 3)).copy()
    path = tmp_path / name
    info = VideoInfo(256, 64, Fraction(1, 25), colour=Colour(6, 6, 6, False))
    with open_writer(path, info) as out:
        out.write(Frame(0, picture))
    _, frames, _ = read_all(path)
    error = np.abs(frames[0].rgb.astype(int) - picture)[:, 8:-8]
    assert error.mean() < 1.3


def test_round_trip_of_colour_tags(tmp_path):
    picture = bar_picture(64, 32)
    for colour in (Colour(9, 16, 9, False), Colour(1, 13, 1, True), Colour(5, 6, 5, False)):
        for name in ("a.mp4", "a.mkv"):
            info = VideoInfo(64, 32, Fraction(1, 25), sar=Fraction(4, 3), colour=colour)
            with open_writer(tmp_path / name, info, overwrite=True) as out:
                out.write(Frame(0, picture))
            got, frames, _ = read_all(tmp_path / name)
            assert got.colour == colour
            assert got.sar == Fraction(4, 3)
            assert out.notes == []
            middle = slice(3, None, 8)
            assert np.abs(frames[0].rgb.astype(int) - picture)[:, middle].max() <= 12


def test_hdr_and_depth_are_noted(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.color_trc = 16
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in zip(frame.planes, (502, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    info, frames, _ = read_all(path)
    assert any("10-bit" in note for note in info.notes)
    assert any("PQ" in note for note in info.notes)
    assert (info.colour.transfer, info.colour.primaries, info.colour.matrix) == (16, 9, 9)
    assert np.abs(frames[0].rgb.astype(int) - 128).max() <= 1


def test_images_are_exact_and_transparency_is_noted(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    (tmp_path / "a%d.png").write_bytes(png(picture))
    info, frames, _ = read_all(tmp_path / "a%d.png")
    assert info.is_image
    assert (info.frame_count, info.frame_rate, len(frames)) == (1, None, 1)
    assert np.array_equal(frames[0].rgb, picture)
    grey = picture[..., 0]
    (tmp_path / "g.png").write_bytes(png(grey, "gray"))
    _, frames, _ = read_all(tmp_path / "g.png")
    assert np.array_equal(frames[0].rgb, np.repeat(grey[..., None], 3, axis=2))
    clear = np.dstack([picture, np.full((31, 45), 255, np.uint8)])
    clear[:10, :, 3] = 0
    (tmp_path / "t.png").write_bytes(png(clear, "rgba"))
    info, frames, _ = read_all(tmp_path / "t.png")
    assert np.array_equal(frames[0].rgb[10:], picture[10:])
    assert not frames[0].rgb[:10].any()
    assert any("transparent" in note for note in info.notes)


def test_jpeg_keeps_its_full_range(tmp_path):
    picture = bar_picture(64, 64)
    with open_writer(tmp_path / "a.jpg", VideoInfo(64, 64, Fraction(1, 25))) as out:
        out.write(Frame(0, picture))
    info, frames, _ = read_all(tmp_path / "a.jpg")
    assert info.colour.full_range
    assert info.colour.transfer == 13
    middle = slice(3, None, 8)
    assert np.abs(frames[0].rgb.astype(int) - picture)[:, middle].max() <= 6


@pytest.mark.parametrize(("size", "form"), [((1, 1), "yuv420p"), ((3, 1), "yuv420p"), ((1, 2), "yuv444p")])
def test_tiny_pictures(size, form):
    picture = np.full((size[1], size[0], 3), 200, np.uint8)
    planes = rgb_to_yuv(picture, Colour(), subsample=form == "yuv420p")
    frame = yuv_frame(planes, form)
    assert (frame.width, frame.height) == size


def test_same_planes_in_every_4_2_0_output(tmp_path):
    rng = np.random.default_rng(5)
    info = VideoInfo(33, 21, Fraction(1, 25), frame_rate=Fraction(25), colour=Colour(1, 1, 1, True))
    pictures = [rng.integers(0, 256, (21, 33, 3), dtype=np.uint8) for _ in range(3)]
    for name in ("a.y4m", "a.mkv"):
        with open_writer(tmp_path / name, info) as out:
            for number, picture in enumerate(pictures):
                out.write(Frame(number, picture))
    lossless, raw = planes_of(tmp_path / "a.mkv"), planes_of(tmp_path / "a.y4m")
    assert len(lossless) == len(raw) == 3
    for first, second, picture in zip(lossless, raw, pictures, strict=True):
        expected = rgb_to_yuv(picture, info.colour)
        for a, b, c in zip(first, second, expected, strict=True):
            assert np.array_equal(a, b)
            assert np.array_equal(a, c)


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((16, 576), 5), ((16, 720), 1), ((1280, 16), 1)])
def test_default_colour_of_y4m(size, matrix):
    """y4m names no matrix: by convention that follows from the size. The file says which one was taken."""
    width, height = size
    yuv = (100, 90, 200)
    chroma = ((width + 1) // 2) * ((height + 1) // 2)
    planes = bytes([yuv[0]]) * (width * height) + bytes([yuv[1]]) * chroma + bytes([yuv[2]]) * chroma
    data = f"YUV4MPEG2 W{width} H{height} F25:1 C420mpeg2\nFRAME\n".encode() + planes
    info, frames, _ = read_all(io.BytesIO(data))
    primaries, transfer = {1: (1, 1), 5: (5, 6), 6: (6, 6)}[matrix]
    assert info.colour == Colour(primaries, transfer, matrix, full_range=False)
    kr, kb = LUMA[matrix]
    y, u, v = (yuv[0] - 16) / 219, (yuv[1] - 128) / 224, (yuv[2] - 128) / 224
    red, blue = y + (2 - 2 * kr) * v, y + (2 - 2 * kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    wanted = np.array([red, green, blue]) * 255
    assert np.abs(frames[0].rgb - wanted).max() <= 1
    made = io.BytesIO()
    encode(io.BytesIO(data), made, EncodeOptions(profile="static"))
    with open_file(io.BytesIO(made.getvalue())) as file:
        assert file.info.colour == info.colour
