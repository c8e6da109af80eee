"""Rate control: a bitrate is met in one pass and in two, from any state between two GOPs."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from codec_support import clip_of, fail, succeed
from video_support import moving_picture

import lfqcodec
from lfqcodec.codec.encode.options import MAX_CRF, EncodeOptions
from lfqcodec.codec.encode.rate.control import OnePass, SecondPass
from lfqcodec.codec.encode.rate.stats import ChunkStats, load_stats, save_stats
from lfqcodec.codec.encode.source.chunk import SourceChunk
from lfqcodec.errors import ArgumentValueError, LfqError

TICK = Fraction(1, 25)
SIZE = (144, 176)
PICTURE = np.zeros((1, 1, 3), np.uint8)


def chunks(pictures, gop=129, change=4.0, detail=8.0):
    """A video in chunks, all of it alike."""
    made, at = [], 0
    while at < pictures:
        place = at % gop
        count = min(16 if place else 17, pictures - at, gop - place)
        end = place + count == gop or at + count == pictures
        pts = list(range(at, at + count))
        sums = {"change": change * (count - (not place)), "detail": detail * count}
        made.append(SourceChunk([PICTURE] * count, pts, 1, not place, end, [], "", False, **sums))
        at += count
    return made


class Video:
    """What an encoder would make of chunks: sizes fall with crf by `slope`, and scatter."""

    def __init__(self, level, slope, noise=0.08, seed=0):
        self._level, self._slope, self._noise = level, slope, noise
        self._random = np.random.default_rng(seed)

    def bits(self, chunk, crf):
        size = 1850.0 * len(chunk.pictures) + 18000.0 * chunk.gop_start
        return int(self._level * size * 2 ** (self._noise * self._random.normal() - self._slope * (crf - 30)))


def code(control, video, parts):
    """(bits, crf) of all chunks."""
    made = []
    for chunk in parts:
        crf = control.crf(chunk)
        bits = video.bits(chunk, crf)
        control.coded(bits)
        made.append((bits, crf))
    return made


def one_pass(rate, pictures=None, gop=129):
    return OnePass(rate, TICK, spent=0, size=SIZE, gop=gop, pictures=pictures)


def stats_of(video, parts, crf=30.0):
    return [ChunkStats(len(part.pictures), part.gop_start, video.bits(part, crf), crf) for part in parts]


# One pass -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pictures", "tolerance"), [(50, 0.1), (129, 0.05), (300, 0.05), (2000, 0.02)])
@pytest.mark.parametrize("level", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("slope", [0.11, 0.17, 0.23])
def test_one_pass_meets_the_bitrate(pictures, tolerance, level, slope):
    parts = chunks(pictures)
    made = code(one_pass(40000.0, pictures), Video(level, slope), parts)
    assert sum(bits for bits, _ in made) == pytest.approx(40000 * pictures / 25, rel=tolerance)


def test_a_video_of_unknown_length_that_ends_with_a_gop():
    made = code(one_pass(40000.0), Video(1.3, 0.15), chunks(258))
    assert sum(bits for bits, _ in made) == pytest.approx(40000 * 258 / 25, rel=0.05)


def test_quality_hardly_moves_where_nothing_changes():
    made = code(one_pass(40000.0, 1290), Video(1.0, 1 / 6, noise=0), chunks(1290))
    later = [crf for _, crf in made[20:-8]]
    assert max(later) - min(later) < 1


def test_a_scene_that_gets_harder_does_not_overshoot_for_long():
    """Twice the bits from the middle on: no 10 seconds of it take more than a fifth too much."""
    easy, hard = chunks(516), chunks(516)
    control, sizes = one_pass(40000.0, 1032), []
    for parts, video in ((easy, Video(1.0, 1 / 6)), (hard, Video(2.0, 1 / 6))):
        shift = 516 if parts is hard else 0
        for part in parts:
            part.pts[:] = [each + shift for each in part.pts]
        sizes += [bits for bits, _ in code(control, video, parts)]
    assert sum(sizes) == pytest.approx(40000 * 1032 / 25, rel=0.03)
    # 16 chunks are two GOPs of 129 pictures.
    most = max(sum(sizes[k : k + 16]) for k in range(len(sizes) - 15))
    assert most < 1.2 * 40000 * 258 / 25


@pytest.mark.parametrize(("rate", "end"), [(100.0, MAX_CRF), (1e9, 0.0)])
def test_a_bitrate_out_of_reach_ends_at_the_range_of_crf(rate, end):
    made = code(one_pass(rate, 400), Video(1.0, 1 / 6), chunks(400))
    assert made[-1][1] == end


def test_from_a_state_it_goes_on_as_it_would_have():
    parts = chunks(400, gop=33)
    whole = code(one_pass(40000.0, 400, gop=33), Video(1.4, 0.14, noise=0), parts)
    first = one_pass(40000.0, 400, gop=33)
    begun = code(first, Video(1.4, 0.14, noise=0), parts[:8])
    assert parts[8].gop_start
    second = one_pass(40000.0, 400, gop=33)
    second.restore(json.loads(json.dumps(first.state())))
    assert begun + code(second, Video(1.4, 0.14, noise=0), parts[8:]) == whole


# Two passes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pictures", [50, 129, 600])
@pytest.mark.parametrize("rate", [15000.0, 40000.0, 90000.0])
def test_two_passes_meet_the_bitrate(pictures, rate):
    parts = chunks(pictures)
    stats = stats_of(Video(1.0, 0.15, noise=0.5), parts)
    control = SecondPass(rate, TICK, 0, stats, "stats")
    # The second time each chunk differs a little from what it was, and sizes fall faster than expected.
    made = code(control, Video(1.0, 0.2, noise=0.5), parts)
    ends = 8 * 80 / (rate * pictures / 25)
    assert sum(bits for bits, _ in made) == pytest.approx(rate * pictures / 25, rel=0.03 + ends)


def test_the_second_pass_gives_hard_parts_their_bits():
    """One crf for all, where the first pass told the truth."""
    parts = chunks(600)
    stats = stats_of(Video(1.0, 1 / 6, noise=1.0, seed=4), parts)
    control = SecondPass(40000.0, TICK, 0, stats, "stats")
    crfs = []
    for part, known in zip(parts, stats, strict=True):
        crfs.append(control.crf(part))
        control.coded(round(known.bits * 2 ** ((30 - crfs[-1]) / 6)))
    assert max(crfs) - min(crfs) < 0.5


@pytest.mark.parametrize("other", [chunks(120), chunks(200), chunks(129, gop=65)])
def test_stats_of_something_else(other):
    stats = stats_of(Video(1.0, 1 / 6), chunks(129))
    with pytest.raises(LfqError, match="another input"):
        code(SecondPass(40000.0, TICK, 0, stats, "the file"), Video(1.0, 1 / 6), other)


CHUNK = '{"format": 1, "chunks": [{"pictures": 2.5, "gop_start": true, "bits": 9, "crf": 30.0}]}'


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 1, "chunks": []}', '{"format": 1, "chunks": [{"pictures": 0}]}', CHUNK],
)
def test_stats_that_are_none(tmp_path, text):
    path = tmp_path / "stats"
    path.write_text(text)
    with pytest.raises(LfqError, match="statistics"):
        load_stats(path)


def test_stats_are_read_as_written(tmp_path):
    stats = stats_of(Video(1.0, 1 / 6), chunks(129), crf=27.5)
    save_stats(tmp_path / "stats", stats)
    assert load_stats(tmp_path / "stats") == stats


# Options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crf": 30.0, "bitrate": 9000.0}, "cannot both"),
        ({"crf": 64.0}, "0 to 63"),
        ({"bitrate": 0.0}, "over 0"),
        ({"passes": 1}, "stats"),
        ({"stats": "file"}, "stats"),
        ({"passes": 3, "stats": "file"}, "must be 1 to 2"),
        ({"passes": 1, "stats": "file", "bitrate": 9000.0}, "pass 2"),
        ({"passes": 2, "stats": "file"}, "needs a bitrate"),
        ({"bitrate": 9000.0, "workers": 2}, "one worker"),
        ({"passes": 1, "stats": "file", "resume": True}, "cannot be resumed"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(ArgumentValueError, match=words):
        EncodeOptions(**options)


@pytest.mark.parametrize(("gop", "count"), [(1, 1), (17, 1), (18, 2), (33, 2), (34, 3), (129, 8), (257, 16)])
def test_chunks_of_a_gop(gop, count):
    assert EncodeOptions(gop=gop).gop_chunks == count


# For real -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """52 frames of 64x48, 2.1 seconds."""
    path = tmp_path_factory.mktemp("clip") / "a.y4m"
    path.write_bytes(clip_of([moving_picture(64, 48, index) for index in range(52)]))
    return path


def test_files_keep_to_a_bitrate(clip, tmp_path):
    stats = tmp_path / "stats.json"
    first = lfqcodec.encode(clip, tmp_path / "a.lfq", crf=34, passes=1, stats=stats, device="cpu")
    assert first.crf == 34
    assert sum(each.pictures for each in load_stats(stats)) == 52
    options = {"bitrate": 1.15 * first.bitrate, "device": "cpu"}
    one = lfqcodec.encode(clip, tmp_path / "b.lfq", **options)
    two = lfqcodec.encode(clip, tmp_path / "c.lfq", passes=2, stats=stats, **options)
    assert one.bitrate == pytest.approx(options["bitrate"], rel=0.15)
    assert two.bitrate == pytest.approx(options["bitrate"], rel=0.04)


def test_the_command(clip, tmp_path):
    out, stats = tmp_path / "a.lfq", tmp_path / "stats"
    fail(2, "encode", clip, out, "--pass", 2, "--bitrate", "9k")
    fail(2, "encode", clip, out, "--crf", 30, "--bitrate", "9k")
    fail(1, "encode", clip, out, "--pass", 2, "--bitrate", "9k", "--stats", stats)
    succeed("encode", clip, out, "--pass", 1, "--stats", stats, "--frames", 5)
    assert "another input" in fail(
        1, "encode", clip, out, "-f", "--pass", 2, "--bitrate", "9k", "--stats", stats
    )
