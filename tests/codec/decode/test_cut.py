"""decode --start / --duration: the frames of a full decode at those times, from files and from pipes."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from codec_support import encoded, frames_of, y4m
from video_support import pipe, write_video

import lfqcodec
from lfqcodec.timespan import TOLERANCE, exact_seconds


@pytest.fixture(scope="module")
def variable(tmp_path_factory):
    """60 frames on a millisecond clock, with a picture that stands for two seconds before GOP 2 begins."""
    steps = np.random.default_rng(2).integers(10, 90, 59)
    steps[33] = 2000
    pts = [0, *np.cumsum(steps).tolist()]
    source = write_video(
        tmp_path_factory.mktemp("vfr") / "a.mp4",
        frames=60,
        size=(24, 24),
        pts=pts,
        time_base=Fraction(1, 1000),
        rate=30,
    )
    return encoded(source, gop=17)


def expected(frames, base, start, duration):
    """The wanted part of a full decode, times from its first frame on."""
    begin = (start or 0) - TOLERANCE
    end = None if duration is None else (start or 0) + duration - TOLERANCE
    chosen = [f for f in frames if f.pts * base >= begin and (end is None or f.pts * base < end)]
    return [(f.pts - chosen[0].pts, f.rgb) for f in chosen]


def check(data, frames, base, start, duration):
    wanted = expected(frames, base, start, duration)
    assert wanted
    for source in (io.BytesIO(data), pipe(data)):
        with lfqcodec.open(source, device="cpu") as video:
            frames = list(video.frames(start=start, duration=duration))
        assert [f.pts for f in frames] == [pts for pts, _ in wanted]
        assert all(np.array_equal(f.rgb, rgb) for f, (_, rgb) in zip(frames, wanted, strict=True))
    return len(wanted)


@pytest.mark.parametrize(
    ("start", "duration", "count"),
    [
        (None, Fraction(1, 25), 1),
        (None, Fraction(1), 25),
        (Fraction(0), Fraction(2), 50),
        (Fraction(4, 25), Fraction(4, 25), 4),
        (Fraction(33, 25), None, 47),  # the first frame of GOP 1
        (Fraction(32, 25), Fraction(3, 25), 3),  # over the border of two GOPs
        (Fraction(66, 25), None, 14),
        (Fraction(79, 25), None, 1),
        (Fraction(79, 25), Fraction(100), 1),
        (Fraction("2.6801"), Fraction("0.2"), 5),  # a little behind frame 67, as decimals are
        (Fraction("1.3"), Fraction("0.04"), 1),
    ],
)
def test_constant_frame_rate(steady, frames, start, duration, count):
    assert check(steady, frames, Fraction(1, 25), start, duration) == count


def test_variable_frame_rate(variable):
    with lfqcodec.open(io.BytesIO(variable), device="cpu") as video:
        base, frames = video.info.time_base, list(video.frames())
        borders = [entry.first_frame for entry in video.index().entries]
    times = [frame.pts * base for frame in frames]
    assert len(times) == 60
    assert borders == [0, 17, 34, 51]
    for start, duration in [
        (times[17], None),
        (times[20], times[40] - times[20]),
        (times[16] + Fraction(1, 500), Fraction(1, 2)),
        (times[33] + 1, Fraction(3, 2)),  # while the picture stands: the next one is the first of GOP 2
        (None, times[34] - Fraction(1, 2)),
        (times[59], None),
    ]:
        check(variable, frames, base, start, duration)


def test_floats_are_decimal(steady):
    assert exact_seconds(0.28, "start") == Fraction(28, 100)
    assert exact_seconds(2, "start") == 2
    assert exact_seconds(np.float64(1.5), "start") == Fraction(3, 2)
    assert len(frames_of(steady, start=0.28, duration=0.28)) == 7


@pytest.mark.parametrize("stream", [io.BytesIO, pipe])
def test_nothing_there(steady, stream):
    for start in (Fraction("3.2"), 1000):
        with (
            lfqcodec.open(stream(steady), device="cpu") as video,
            pytest.raises(lfqcodec.InputVideoError, match="no frame in the time asked for"),
        ):
            list(video.frames(start=start))


def test_still_image_has_time_0_only(tmp_path):
    from video_support import moving_picture, png

    (tmp_path / "a.png").write_bytes(png(moving_picture(16, 16, 0)))
    data = encoded(tmp_path / "a.png")
    assert len(frames_of(data, start=0)) == len(frames_of(data, duration=1)) == 1
    with pytest.raises(lfqcodec.InputVideoError, match="no frame in the time asked for"):
        frames_of(data, start=1)


@pytest.mark.parametrize(
    "options",
    [{"start": -1}, {"duration": 0}, {"duration": -2.5}, {"start": float("nan")}, {"duration": float("inf")}],
)
def test_out_of_range(steady, options):
    with pytest.raises(lfqcodec.ArgumentValueError) as caught:
        frames_of(steady, **options)
    assert caught.value.argument == next(iter(options))


def test_file_without_index(steady, frames):
    """Where the index is damaged the GOPs are found by their heads; the missing end is still an error."""
    broken = steady[:-30]
    with lfqcodec.open(io.BytesIO(broken), device="cpu") as video:
        part = list(video.frames(start=Fraction(40, 25), duration=Fraction(5, 25)))
    assert len(part) == 5
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(part, frames[40:45], strict=True))
    with pytest.raises(lfqcodec.BitstreamError):
        frames_of(broken)


def test_only_the_gops_needed_are_read(steady):
    """A cut of a file reads its part and the index, not what lies before and behind."""

    class Counting(io.BytesIO):
        total = 0

        def read(self, count=-1):
            data = super().read(count)
            self.total += len(data)
            return data

    source = Counting(steady)
    with lfqcodec.open(source, device="cpu") as video:
        list(video.frames(start=Fraction(70, 25)))
    assert source.total < len(steady) * 0.6


def test_files_that_do_not_begin_at_zero():
    """Other writers may count ticks from anywhere: seconds count from the first frame."""
    from lfqcodec.bitstream import BitstreamReader, BitstreamWriter

    reader = BitstreamReader(io.BytesIO(encoded(y4m(20, (16, 16)), gop=17)))
    out = io.BytesIO()
    with BitstreamWriter(out, reader.header) as writer:
        for chunk in reader:
            writer.write_chunk(
                gop_start=chunk.head.gop_start,
                pts=[pts + 1000 for pts in chunk.head.pts],
                last_duration=chunk.head.last_duration,
                streams=chunk.streams,
                token_crcs=chunk.head.token_crcs,
            )
    for source in (io.BytesIO, pipe):
        with lfqcodec.open(source(out.getvalue()), device="cpu") as video:
            assert [f.pts for f in video.frames(start=Fraction(16, 25), duration=Fraction(2, 25))] == [0, 1]
    assert [f.pts for f in frames_of(out.getvalue())] == list(range(20))
