"""What goes in comes out: frame counts, times, sizes, rates, colour, streams, cuts of the input."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from codec_support import (
    encoded,
    frames_of,
    payload_of,
    psnr,
    same_frames,
    same_tokens,
    times_of,
    tokens_of,
    y4m,
)
from video_support import copy, moving_picture, png, read_all, write_planes, write_video

import lfqcodec
from lfqcodec.codec.repair.strip import strip


@pytest.fixture(scope="module")
def clip():
    """40 frames in 3 chunks of one GOP: (source, .lfq)."""
    source = y4m(40)
    return source, encoded(source)


# Lengths, sizes, quality --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gop", "lengths"), [(17, (17, 18, 34, 35)), (65, (1, 2, 3, 4, 5, 6, 9, 16, 17, 18, 19, 20, 21, 33, 34))]
)
def test_lengths(gop, lengths):
    """Groups, chunks and GOPs that are full, and those that lack pictures."""
    for length in lengths:
        data = encoded(y4m(length, (16, 16)), gop=gop)
        with lfqcodec.open(io.BytesIO(data), device="cpu") as video:
            assert video.info.frame_count == length
            frames = list(video.frames())
            assert [frame.pts * video.info.time_base for frame in frames] == [
                Fraction(index, 25) for index in range(length)
            ]
            chunks = [chunk.head for chunk in video.tokens()]
        assert sum(head.valid for head in chunks) == length
        assert len(chunks) == 1 + max(0, -(-(length - 17) // (16 if gop > 17 else 17)))
        assert [head.gop_start for head in chunks] == [gop == 17 or k == 0 for k in range(len(chunks))]


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 1), (7, 5), (8, 8), (9, 8), (33, 17), (50, 38), (16, 100)], ids=str
)
def test_every_size(size):
    frames = frames_of(encoded(y4m(3, size)))
    assert [frame.rgb.shape for frame in frames] == [(size[1], size[0], 3)] * 3
    assert all(frame.rgb.dtype == np.uint8 for frame in frames)


def test_frames_show_the_scene(clip):
    """Any working model draws a smooth clip well; wrong order or swapped channels would be far off."""
    source, data = clip
    originals = read_all(io.BytesIO(source))[1]
    decoded = frames_of(data)
    assert len(decoded) == len(originals) == 40
    quality = [psnr(a.rgb, b.rgb) for a, b in zip(originals, decoded, strict=True)]
    assert min(quality) > 15
    reversed_ = [psnr(a.rgb, b.rgb) for a, b in zip(originals, decoded[::-1], strict=True)]
    assert np.mean(quality) > np.mean(reversed_) + 1
    swapped = [psnr(a.rgb[..., ::-1], b.rgb) for a, b in zip(originals, decoded, strict=True)]
    assert np.mean(quality) > np.mean(swapped) + 1


def test_the_same_input_gives_the_same_file(clip):
    source, data = clip
    assert encoded(source) == data


# Streams and GOPs ---------------------------------------------------------------------------------


def test_pictures_between_are_left_out(clip, tmp_path):
    """What is decoded of one stream is what is left of the file without the other: anchors are the same."""
    _, data = clip
    (tmp_path / "a.lfq").write_bytes(data)
    strip(tmp_path / "a.lfq", tmp_path / "b.lfq", 1)
    alone = (tmp_path / "b.lfq").read_bytes()
    assert payload_of(alone) < payload_of(data)
    assert same_frames(frames_of(data, streams=1), frames_of(alone))
    assert same_tokens(tokens_of(data, 1), tokens_of(alone))
    assert len(tokens_of(data)) > len(tokens_of(alone))
    kept = [np.array_equal(a.rgb, b.rgb) for a, b in zip(frames_of(data), frames_of(alone), strict=True)]
    assert all(kept[:33:4])
    assert not all(kept)
    assert same_frames(frames_of(data, streams=99), frames_of(data))


def test_gops_do_not_know_each_other():
    """With GOPs of 17 a later chunk is coded as if the video began there; with 33 every other one."""
    source = y4m(51, (24, 24))
    tokens = {}
    for gop, valid in ((17, [17, 17, 17]), (33, [17, 16, 17, 1]), (65, [17, 16, 16, 2])):
        with lfqcodec.open(io.BytesIO(encoded(source, gop=gop))) as video:
            chunks = list(video.tokens())
        assert [chunk.head.valid for chunk in chunks] == valid
        tokens[gop] = [[layer for group in chunk.groups for layer in group.values()] for chunk in chunks]
    from_17 = encoded(source, start=Fraction(17, 25), frames=17)
    assert same_tokens(tokens_of(from_17), tokens[17][1])
    assert same_tokens(tokens[33][1], tokens[65][1])


# Time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [25, 50, Fraction(30000, 1001), Fraction(24000, 1001), 10])
def test_frame_rate(rate, tmp_path):
    data = encoded(y4m(4, (16, 16), rate))
    with lfqcodec.open(io.BytesIO(data)) as video:
        assert video.info.frame_rate == rate
        assert times_of(list(video.frames()), video.info.time_base) == [i / Fraction(rate) for i in range(4)]
    lfq, mp4 = tmp_path / "a.lfq", tmp_path / "a.mp4"
    lfq.write_bytes(data)
    report = lfqcodec.decode(lfq, mp4)
    assert report.seconds == pytest.approx(float(4 / Fraction(rate)))
    info, frames, _ = read_all(mp4)
    assert info.frame_rate == rate
    assert times_of(frames, info.time_base) == [i / Fraction(rate) for i in range(4)]


def test_variable_frame_rate(tmp_path):
    """Times on a millisecond clock, over several chunks, through .lfq, .mp4 and .mkv."""
    rng = np.random.default_rng(1)
    pts = [0, *np.cumsum(rng.integers(5, 130, 37)).tolist()]
    source = write_video(
        tmp_path / "a.mp4", frames=38, size=(32, 32), pts=pts, time_base=Fraction(1, 1000), rate=30
    )
    wanted = [Fraction(p, 1000) for p in pts]
    _, original, _ = read_all(source)
    assert len(original) == 38
    lfq = tmp_path / "a.lfq"
    report = lfqcodec.encode(source, lfq, gop=17)
    assert report.seconds == pytest.approx(float(wanted[-1] + wanted[-1] - wanted[-2]))
    with lfqcodec.open(lfq) as video:
        assert times_of(list(video.frames()), video.info.time_base) == wanted
    for name in ("b.mp4", "b.mkv"):
        lfqcodec.decode(lfq, tmp_path / name)
        info, frames, _ = read_all(tmp_path / name)
        assert times_of(frames, info.time_base) == wanted


def test_one_frame_has_a_length(tmp_path):
    lfq = tmp_path / "a.lfq"
    report = lfqcodec.encode(io.BytesIO(y4m(1, (16, 16), 10)), lfq)
    assert report.seconds == pytest.approx(0.1)
    assert lfqcodec.decode(lfq, tmp_path / "a.y4m").seconds == pytest.approx(0.1)


# The part of the input that is taken --------------------------------------------------------------


def test_start_duration_frames(tmp_path):
    """A cut of the input is coded as if it had been the input."""
    source = tmp_path / "a.y4m"
    source.write_bytes(y4m(30))
    part = y4m_of(range(10, 18))
    assert frames_equal(encoded(source, start=0.4, duration=Fraction(8, 25)), encoded(part))
    assert frames_equal(encoded(source, start=Fraction(10, 25), frames=8), encoded(part))
    assert frames_equal(encoded(source, frames=8), encoded(y4m(8)))
    assert frames_equal(encoded(source, duration=0.32), encoded(y4m(8)))
    with pytest.raises(lfqcodec.InputVideoError, match="no frame at or after"):
        encoded(source, start=2)


def y4m_of(indices):
    from lfqcodec.media import Frame, VideoInfo
    from lfqcodec.video import open_writer

    out = io.BytesIO()
    info = VideoInfo(48, 40, Fraction(1, 25), Fraction(25))
    with open_writer(out, info) as writer:
        for number, index in enumerate(indices):
            writer.write(Frame(number, moving_picture(48, 40, index)))
    return out.getvalue()


def frames_equal(left, right):
    a, b = frames_of(left), frames_of(right)
    return same_frames(a, b) and [x.pts for x in a] == [x.pts for x in b]


def test_scale():
    source = y4m(3, (64, 48))
    frames = frames_of(encoded(source, scale=(31, 20)))
    assert {frame.rgb.shape for frame in frames} == {(20, 31, 3)}
    expected = read_all(io.BytesIO(source), scale=(31, 20))[1]
    assert psnr(frames[0].rgb, expected[0].rgb) > 15


# Colour and orientation ---------------------------------------------------------------------------


@pytest.mark.parametrize(("matrix", "full"), [(1, 1), (1, 2), (5, 1), (6, 2)])
def test_colour_tags(tmp_path, matrix, full):
    planes = [
        np.full((24, 32), 120, np.uint8),
        np.full((12, 16), 100, np.uint8),
        np.full((12, 16), 150, np.uint8),
    ]
    suffix, codec = ".mkv", "ffv1"
    source = write_planes(tmp_path / f"a{suffix}", planes, "yuv420p", codec=codec, matrix=matrix, full=full)
    lfq = tmp_path / "a.lfq"
    lfqcodec.encode(source, lfq)
    with lfqcodec.open(lfq) as video:
        assert video.info.colour.matrix == matrix
        assert video.info.colour.full_range == (full == 2)
        original = read_all(source)[1][0].rgb.reshape(-1, 3).mean(0)
        shown = next(video.frames()).rgb.reshape(-1, 3).mean(0)
        assert np.abs(original - shown).max() < 30
    for name in ("b.mp4", "b.mkv"):
        lfqcodec.decode(lfq, tmp_path / name)
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
            assert (int(frame.colorspace), int(frame.color_range)) == (matrix, full)
        again = read_all(tmp_path / name)[1][0].rgb.reshape(-1, 3).mean(0)
        assert np.abs(again - shown).max() < 4


def test_sample_aspect_ratio(tmp_path):
    data = encoded(y4m(2, sar=Fraction(4, 3)))
    with lfqcodec.open(io.BytesIO(data)) as video:
        assert video.info.sar == Fraction(4, 3)
    lfqcodec.decode(io.BytesIO(data), tmp_path / "a.mp4")
    assert read_all(tmp_path / "a.mp4")[0].sar == Fraction(4, 3)


def test_rotation(tmp_path):
    """A video whose container asks for a quarter turn is coded, and decoded, upright."""
    source = write_video(tmp_path / "a.mp4", frames=3, size=(48, 32))
    turned = tmp_path / "turned.mp4"
    data = bytearray(source.read_bytes())
    # The matrix of the track header: 90 degrees, as phones write it.
    unit, one = (0x10000).to_bytes(4, "big"), (0x40000000).to_bytes(4, "big")
    upright = unit + bytes(12) + unit + bytes(12) + one
    quarter = bytes(4) + unit + bytes(4) + (-0x10000).to_bytes(4, "big", signed=True) + bytes(16) + one
    at = data.index(upright, data.index(b"tkhd"))
    data[at : at + 36] = quarter
    turned.write_bytes(data)
    original = read_all(turned)[1]
    assert original[0].rgb.shape == (48, 32, 3)
    frames = frames_of(encoded(turned))
    assert frames[0].rgb.shape == (48, 32, 3)
    assert psnr(frames[0].rgb, original[0].rgb) > 15
    with lfqcodec.open(io.BytesIO(encoded(turned))) as video:
        assert video.info.rotation == 0


# Still images -------------------------------------------------------------------------------------


def picture_file(folder, name, size=(50, 38)):
    rgb = moving_picture(*size, 3)
    path = folder / name
    if name.endswith(".png"):
        path.write_bytes(png(rgb))
    else:
        from lfqcodec.media import Frame, VideoInfo
        from lfqcodec.video import open_writer

        with open_writer(path, VideoInfo(*size, Fraction(1, 25))) as writer:
            writer.write(Frame(0, rgb))
    return path, rgb


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_still_image(tmp_path, name):
    path, rgb = picture_file(tmp_path, name)
    lfq = tmp_path / "a.lfq"
    report = lfqcodec.encode(path, lfq, measure=True)
    assert (report.frames, report.chunks, report.gops) == (1, 1, 1)
    with lfqcodec.open(lfq) as video:
        assert video.header.still_image
        assert video.info.is_image
        (frame,) = video.frames()
        assert frame.pts == 0
        assert psnr(frame.rgb, rgb) > 15
        assert report.psnr == pytest.approx(psnr(frame.rgb, read_all(path)[1][0].rgb), abs=0.01)
    lfqcodec.decode(lfq, tmp_path / "b.png")
    (shown,) = read_all(tmp_path / "b.png")[1]
    assert np.array_equal(shown.rgb, frame.rgb)
    lfqcodec.decode(lfq, tmp_path / "b.jpg")
    (near,) = read_all(tmp_path / "b.jpg")[1]
    assert psnr(near.rgb, frame.rgb) > 30


def test_a_picture_is_its_own_first_frame(tmp_path):
    """An image is the one-frame case of a video: the same tokens as the first frame of any clip of it."""
    path, rgb = picture_file(tmp_path, "a.png")
    (frame,) = frames_of(encoded(path))
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(png(rgb))
    first = frames_of(encoded(folder))[0]
    assert np.array_equal(first.rgb, frame.rgb)


def test_one_picture_out_of_a_video(clip, tmp_path):
    _, data = clip
    with pytest.raises(lfqcodec.OutputError, match="holds one picture"):
        lfqcodec.decode(io.BytesIO(data), tmp_path / "a.png")
    report = lfqcodec.decode(io.BytesIO(data), tmp_path / "a.png", start=0.8, duration=0.04)
    assert report.frames == 1
    (shown,) = read_all(tmp_path / "a.png")[1]
    assert np.array_equal(shown.rgb, frames_of(data)[20].rgb)


# Outputs of the decoder against each other --------------------------------------------------------


def test_outputs_hold_what_was_decoded(clip, tmp_path):
    """PNG frames are the frames of the API; y4m and FFV1 hold the same planes."""
    _, data = clip
    frames = frames_of(data)
    for name in ("a.mkv", "a.y4m", "frames/"):
        report = lfqcodec.decode(io.BytesIO(data), f"{tmp_path}/{name}")
        assert (report.frames, report.width, report.height) == (40, 48, 40)
    pictures = [read_all(tmp_path / "frames" / f"{i:06}.png")[1][0] for i in range(40)]
    assert len(list((tmp_path / "frames").iterdir())) == 40
    assert same_frames(pictures, frames)
    planes = {name: raw_planes(tmp_path / name) for name in ("a.mkv", "a.y4m")}
    assert planes["a.mkv"] == planes["a.y4m"]
    assert len(planes["a.y4m"]) == 40


def raw_planes(path):
    from video_support import planes_of

    return [b"".join(plane.tobytes() for plane in frame) for frame in planes_of(path)]


def test_mp4_is_close_to_what_was_decoded(clip, tmp_path):
    _, data = clip
    lfqcodec.decode(io.BytesIO(data), tmp_path / "a.mp4")
    again = read_all(tmp_path / "a.mp4")[1]
    # 4:2:0 costs some colour detail; the coding itself next to nothing.
    copy(io.BytesIO(y4m_again(data)), tmp_path / "reference.mkv")
    reference = read_all(tmp_path / "reference.mkv")[1]
    assert np.mean([psnr(a.rgb, b.rgb) for a, b in zip(again, reference, strict=True)]) > 35


def y4m_again(data):
    out = io.BytesIO()
    lfqcodec.decode(io.BytesIO(data), out)
    return out.getvalue()
