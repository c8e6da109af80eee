"""Sound through the codec: the same packets, in sync, in the right GOP, and cut with the pictures."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from codec_support import encoded
from video_support import bundled, decoded_sound, pipe, read_all, write_video

import lfqcodec
from lfqcodec.bitstream import Chunk, Packets
from lfqcodec.media import Frame


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """100 frames (4 s) with AAC."""
    path = tmp_path_factory.mktemp("sound") / "a.mp4"
    return write_video(path, frames=100, size=(24, 24), audio="aac", seconds=4.0)


@pytest.fixture(scope="module")
def short_gops(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.lfq"
    lfqcodec.encode(source, path, gop=17)
    return path


@pytest.fixture(scope="module")
def long_gops(source, tmp_path_factory):
    """All 100 frames in two GOPs, of 81 and 19 frames."""
    path = tmp_path_factory.mktemp("sound") / "a.lfq"
    lfqcodec.encode(source, path, gop=81)
    return path


def packets_of(path):
    info, _, packets = read_all(path)
    return [(p.pts * info.streams[p.stream].time_base, p.data) for p in packets]


def events(path, **cut):
    from lfqcodec.codec.decode.cut import Cut

    with lfqcodec.open(path, device="cpu") as video:
        return list(video.events(Cut(video.header, cut.get("start"), cut.get("duration"))))


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mov"])
def test_packets_come_back_unchanged(source, short_gops, tmp_path, name):
    report = lfqcodec.decode(short_gops, tmp_path / name)
    assert report.notes == ()
    wanted, got = packets_of(source), packets_of(tmp_path / name)
    assert [data for _, data in got] == [data for _, data in wanted]
    for (a, _), (b, _) in zip(wanted, got, strict=True):
        assert abs(a - b) <= Fraction(1, 1000)  # Matroska counts milliseconds


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_a_real_clip_stays_in_sync(tmp_path, name):
    """bigbuckbunny: 5.1 sound. What a player hears, on the clock of the pictures, is the same."""
    lfq = tmp_path / "a.lfq"
    lfqcodec.encode(bundled(), lfq, scale=(32, 24), frames=60)
    lfqcodec.decode(lfq, tmp_path / name)
    before = read_all(bundled(), max_frames=60)[2]
    after = read_all(tmp_path / name)[2]
    assert [p.data for p in after] == [p.data for p in before]
    wanted, rate = decoded_sound(bundled())
    got, same_rate = decoded_sound(tmp_path / name)
    assert rate == same_rate
    length = int(2.2 * rate)
    assert len(got) > length
    assert np.abs(wanted[:length]).max() > 0.01
    assert lag(wanted[:length], got[:length]) == 0


def lag(wanted, got, most=2500):
    """Samples by which `got` comes late."""
    spectrum = np.fft.rfft(got, 2 * len(got)) * np.conj(np.fft.rfft(wanted, 2 * len(wanted)))
    correlation = np.fft.irfft(spectrum)
    shifts = np.arange(-most, most + 1)
    return int(shifts[np.argmax(correlation[shifts])])


def test_no_audio(source):
    with lfqcodec.open(io.BytesIO(encoded(source, audio=False, frames=20))) as video:
        assert video.header.streams == ()
        assert all(isinstance(unit, Chunk) for unit in video.units())


@pytest.mark.parametrize("fixture", ["short_gops", "long_gops"])
def test_packets_lie_in_their_gop(fixture, request):
    """Behind the first chunk of the GOP during which they are heard, before the next (spec section 8)."""
    with lfqcodec.open(request.getfixturevalue(fixture)) as video:
        entries = video.index().entries
        base, sound = video.header.time_base, video.header.streams[0].time_base
        starts = [entry.first_pts * base for entry in entries]
        gop, count, last = -1, 0, None
        for unit in video.units():
            if isinstance(unit, Chunk):
                gop += unit.head.gop_start
                continue
            assert isinstance(unit, Packets)
            assert gop >= 0
            for packet in unit.packets:
                time = packet.pts * sound
                assert gop == 0 or time >= starts[gop]
                assert gop + 1 == len(starts) or time < starts[gop + 1]
                assert last is None or packet.dts >= last
                last, count = packet.dts, count + 1
    assert len(starts) == (6 if fixture == "short_gops" else 2)
    assert count > 150


@pytest.mark.parametrize("fixture", ["short_gops", "long_gops"])
@pytest.mark.parametrize(
    ("start", "duration"),
    [
        (None, Fraction(1, 2)),  # ends in the first chunk of a GOP of five
        (Fraction(17, 25), Fraction(1)),  # begins with a GOP
        (Fraction("1.5"), Fraction("0.9")),
        (Fraction("3.3"), None),
        (Fraction("2.001"), Fraction("0.5")),
    ],
)
def test_sound_is_cut_with_the_pictures(request, fixture, start, duration):
    """Exactly the packets heard during the cut, from a file and from a pipe, moved as the pictures are."""
    path = request.getfixturevalue(fixture)
    full = events(path)
    with lfqcodec.open(path) as video:
        base, sound = video.header.time_base, video.header.streams[0].time_base
    wanted_frames = [
        e for e in full if isinstance(e, Frame) and e.pts * base >= (start or 0) - Fraction(1, 1000)
    ]
    zero = wanted_frames[0].pts * base
    begin = None if start is None else zero
    end = None if duration is None else (start or 0) + duration
    wanted = [
        (p.pts * sound - zero, p.data)
        for p in full
        if not isinstance(p, Frame)
        and (begin is None or (p.pts + p.duration) * sound > begin)
        and (end is None or p.pts * sound < end)
    ]
    assert len(wanted) > 20
    if start is not None:
        assert wanted[0][0] <= 0  # sound from the first picture on, without a gap
    for stream in (path, pipe(path.read_bytes())):
        got = [e for e in events(stream, start=start, duration=duration) if not isinstance(e, Frame)]
        assert [p.data for p in got] == [data for _, data in wanted]
        for packet, (time, _) in zip(got, wanted, strict=True):
            assert abs(packet.pts * sound - time) <= sound


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
@pytest.mark.parametrize("start", [0.68, 1.52])
def test_a_cut_stays_in_sync(source, short_gops, tmp_path, name, start):
    lfqcodec.decode(short_gops, tmp_path / name, start=start, duration=1.5)
    wanted, rate = decoded_sound(source)
    got, _ = decoded_sound(tmp_path / name)
    begin = round(start * rate)
    # The decoder of AAC needs a packet or two before it is right.
    wanted, got = wanted[begin + 4096 : begin + rate], got[4096:rate]
    late = lag(wanted, got)
    assert abs(late) <= (rate // 1000 if name == "b.mkv" else 0)  # Matroska counts milliseconds
    # Its noise is random, so a few samples differ.
    assert np.quantile(np.abs(wanted - np.roll(got, -late)), 0.97) < 0.02


def test_packets_do_not_wait_for_ever(short_gops):
    """A picture that stands while sound goes on: packets from before the first picture move with it."""
    from lfqcodec.codec.decode.cut import Cut

    # 1.34 s lies between frame 33 (1.32 s) and the GOP that begins with frame 34 (1.36 s).
    with lfqcodec.open(short_gops) as video:
        sound = video.header.streams[0].time_base
        everything = list(video.events(Cut(video.header, Fraction("1.34"), Fraction("0.2"))))
    assert isinstance(everything[0], Frame)
    assert everything[0].pts == 0
    times = [e.pts * sound for e in everything if not isinstance(e, Frame)]
    assert -Fraction(1024, 48000) < times[0] <= 0
    steps = np.diff([float(t) for t in times])
    assert np.allclose(steps, 1024 / 48000, atol=1e-4)
