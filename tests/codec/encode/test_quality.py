"""`--crf`, and what else decides how a video is coded: the profile, the model, what cannot be asked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from codec_support import (
    clip_of,
    contents,
    encoded,
    fail,
    frames_of,
    heads_of,
    payload_of,
    psnr,
    y4m,
)
from video_support import bundled, read_all

import lfqcodec
from lfqcodec.bitstream import Profile
from lfqcodec.errors import WeightsMissing


def quality(source: bytes, data: bytes) -> float:
    """Mean PSNR in dB of the frames of a file."""
    pairs = zip(read_all(io.BytesIO(source))[1], frames_of(data), strict=True)
    return float(np.mean([psnr(a.rgb, b.rgb) for a, b in pairs]))


def test_crf():
    """From one quality of the model to the next, and below the lowest, a higher one is smaller and worse."""
    source = clip_of([f.rgb for f in read_all(bundled("bikes"), scale=(96, 64), max_frames=9)[1]])
    files = [encoded(source, crf=crf) for crf in (24, 30, 36, 42)]
    sizes, qualities = [payload_of(data) for data in files], [quality(source, data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert qualities == sorted(qualities, reverse=True)
    assert sizes[-1] < 0.6 * sizes[0]
    assert qualities[0] > qualities[-1] + 2
    assert encoded(source, crf=30) == encoded(source)


def test_a_still_clip_costs_little():
    """Pictures that bring nothing new."""
    picture = read_all(bundled("bikes"), scale=(96, 64), max_frames=1)[1][0].rgb
    one, many = (payload_of(encoded(clip_of([picture] * count))) for count in (1, 17))
    assert many < 1.5 * one


@pytest.mark.parametrize(
    "options", [{"crf": 20}, {"crf": 40, "profile": "static"}, {"bitrate": 9000}], ids=str
)
def test_measured_quality_is_that_of_the_file(options, tmp_path):
    source, lfq = y4m(20, (40, 32)), tmp_path / "a.lfq"
    report = lfqcodec.encode(io.BytesIO(source), lfq, gop=17, measure=True, **options)
    assert report.psnr == pytest.approx(quality(source, lfq.read_bytes()), abs=1e-4)


def test_a_model_without_a_prior(tmp_path):
    with lfqcodec.open(io.BytesIO(encoded(y4m(3, (16, 16)), profile="static"))) as video:
        assert video.header.profile == Profile.STATIC
        assert video.prior() is None
    model = video.model().path
    lonely = tmp_path / "lonely" / "lonely.safetensors"
    lonely.parent.mkdir()
    lonely.write_bytes(model.read_bytes())
    with pytest.raises(WeightsMissing, match="has no prior"):
        lfqcodec.encode(io.BytesIO(y4m(1, (16, 16))), tmp_path / "a.lfq", model=lonely, profile="exact")
    assert list(contents(tmp_path)) == ["lonely/lonely.safetensors"]
    assert len(heads_of(encoded(y4m(1, (16, 16)), model=lonely))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": 63.5}, "crf must be 0 to 63"),
        ({"crf": float("nan")}, "crf must be finite"),
        ({"bitrate": 0}, "bitrate must be over 0"),
        ({"crf": 30, "bitrate": 1e5}, "cannot both be given"),
        ({"profile": "best"}, "profile must be one of exact, static"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for(options, message, tmp_path):
    with pytest.raises(lfqcodec.LfqError, match=message):
        lfqcodec.encode(io.BytesIO(y4m(1, (16, 16))), tmp_path / "a.lfq", **options)
    assert contents(tmp_path) == {}


def test_wrong_usage(tmp_path):
    (tmp_path / "clip.y4m").write_bytes(y4m(1, (16, 16)))
    line = ("encode", tmp_path / "clip.y4m", tmp_path / "none.lfq", "--crf")
    fail(2, *line, 64)
    assert "cannot both be given" in fail(2, *line, 30, "--bitrate", "100k")
    assert list(contents(tmp_path)) == ["clip.y4m"]
