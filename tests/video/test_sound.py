"""Copied audio and subtitles: the same bytes, in sync, in every container that can hold them."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from video_support import bundled, copy, decoded_sound, moving_picture, offset, read_all, write_video

from lfqcodec.media import Frame, StreamInfo, StreamPacket, VideoInfo
from lfqcodec.video import open_video, open_writer

PAIRS = [
    # (container of the source, encoder, codec name, container of the copy)
    ("mp4", "aac", "aac", "mp4"),
    ("mp4", "aac", "aac", "mkv"),
    ("mp4", "aac", "aac", "mov"),
    ("mkv", "libopus", "opus", "mkv"),
    ("mkv", "libopus", "opus", "mp4"),
    ("mp4", "libmp3lame", "mp3", "mkv"),
    ("mkv", "ac3", "ac3", "mp4"),
    ("mkv", "flac", "flac", "mp4"),
    ("mkv", "pcm_s16le", "pcm_s16le", "mkv"),
    ("mov", "pcm_s24le", "pcm_s24le", "mov"),
    ("mkv", "alac", "alac", "mkv"),
    ("mkv", "wavpack", "wavpack", "mkv"),
]


@pytest.mark.parametrize(("source_form", "encoder", "codec", "dest_form"), PAIRS)
def test_sound_is_copied_and_in_sync(tmp_path, source_form, encoder, codec, dest_form):
    source = write_video(tmp_path / f"in.{source_form}", frames=25, audio=encoder)
    info, _, before = read_all(source)
    assert [(s.kind, s.codec, s.sample_rate, s.channels) for s in info.streams] == [
        ("audio", codec, 48000, 2)
    ]
    dest = tmp_path / f"out.{dest_form}"
    assert copy(source, dest) == ()
    again, _, after = read_all(dest)
    assert [p.data for p in after] == [p.data for p in before]
    base, new = info.streams[0].time_base, again.streams[0].time_base
    # Matroska counts in milliseconds; everything else is exact to half a tick of the sound.
    slack = 1.01e-3 if "mkv" in (source_form, dest_form) else 1.1 / 48000
    for p, q in zip(before, after, strict=True):
        assert abs(float(p.pts * base - q.pts * new)) <= slack
    assert all(p.keyframe for p in after)
    heard, rate = decoded_sound(source)
    copied, _ = decoded_sound(dest)
    assert abs(offset(heard, copied, rate)) <= 1.01
    # No more than a packet of the end may differ: trimming of the last packet is not stored as such.
    assert abs(len(heard) - len(copied)) <= 4608


def test_real_film_with_sound(tmp_path):
    source = bundled()
    before, frames, packets = read_all(source, scale=(160, 90), max_frames=25)
    assert 46 <= len(packets) <= 48
    for name in ("a.mp4", "a.mkv"):
        copy(source, tmp_path / name, scale=(160, 90), max_frames=25)
        after, again, copied = read_all(tmp_path / name)
        assert len(frames) == len(again) == 25
        assert [p.data for p in packets] == [p.data for p in copied]
        assert (after.streams[0].channels, after.streams[0].layout) == (6, "5.1")
        assert before.streams[0].extradata == after.streams[0].extradata
        times = [p.pts * before.streams[0].time_base for p in packets]
        new = [p.pts * after.streams[0].time_base for p in copied]
        assert max(abs(a - b) for a, b in zip(times, new, strict=True)) <= Fraction(1, 1000)


def test_transport_stream_sound_gets_its_header(tmp_path):
    """AAC in a transport stream carries a header in every packet and starts late, with the picture."""
    source = write_video(tmp_path / "in.ts", frames=25, audio="aac", form="mpegts")
    heard, rate = decoded_sound(source)
    for name in ("a.mp4", "a.mkv"):
        assert copy(source, tmp_path / name) == ()
        copied, _ = decoded_sound(tmp_path / name)
        assert abs(offset(heard, copied, rate)) <= 1.01


def test_cut_takes_the_sound_along(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=100, audio="aac", seconds=4)
    heard, rate = decoded_sound(source)
    for options in ({"start": 2.0, "duration": 1.0}, {"start": 2.0, "max_frames": 25}):
        info, frames, packets = read_all(source, **options)
        base = info.streams[0].time_base
        assert len(frames) == 25
        assert (packets[0].pts + packets[0].duration) * base > 0 >= packets[0].pts * base > Fraction(-1, 40)
        assert 1 - Fraction(1, 40) <= packets[-1].pts * base < 1
        assert info.streams[0].initial_padding == -packets[0].pts
        for name in ("a.mp4", "a.mkv"):
            copy(source, tmp_path / name, overwrite=True, **options)
            copied, _ = decoded_sound(tmp_path / name)
            want = heard[2 * rate : 3 * rate]
            assert abs(offset(want[4800:], copied[4800:], rate)) <= 1.01
            assert rate <= len(copied) + 1024
            assert len(copied) <= rate + 2048


def test_sound_can_be_left_out():
    info, _, packets = read_all(bundled(), max_frames=1, copy_streams=False, scale=(64, 36))
    assert (info.streams, packets) == ((), [])


def test_what_a_container_cannot_hold_is_left_out(tmp_path):
    base = Fraction(1, 48000)
    odd = (
        StreamInfo("audio", "truehd", base, 48000, 2, "stereo"),
        StreamInfo("audio", "no_such_codec", base, 48000, 2, "stereo"),
        StreamInfo("subtitle", "subrip", Fraction(1, 1000)),
        StreamInfo("audio", "vorbis", base, 48000, 2, "stereo"),
        StreamInfo("audio", "aac", base, 48000, 2, "no layout at all", extradata=b"\x11\x90"),
    )
    info = VideoInfo(64, 48, Fraction(1, 25), frame_rate=Fraction(25), streams=odd)
    for name in ("a.mp4", "a.mov", "a.mkv", "a.y4m", "a/"):
        with open_writer(f"{tmp_path}/{name}", info) as out:
            for number in range(3):
                out.write(Frame(number, moving_picture(64, 48, number)))
                for index, stream in enumerate(odd):
                    tick = int(number / 25 / stream.time_base)
                    out.write_packet(StreamPacket(index, tick, tick, 1, True, b"\x01\x02\x03\x04" * 9))
        assert out.notes, name
        assert len(read_all(tmp_path / name)[1]) == 3
    with open_writer(tmp_path / "b.mkv", info) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        with pytest.raises(ValueError, match="no stream 7"):
            out.write_packet(StreamPacket(7, 0, 0, 0, True, b"x"))


def test_subtitles(tmp_path):
    lines = [(200, 500, b"Hello"), (900, 700, "Größe".encode())]
    stream = StreamInfo("subtitle", "subrip", Fraction(1, 1000), language="ger")
    info = VideoInfo(64, 48, Fraction(1, 25), frame_rate=Fraction(25), streams=(stream,))
    with open_writer(tmp_path / "a.mkv", info) as out:
        for number in range(50):
            out.write(Frame(number, moving_picture(64, 48, number)))
            for begin, length, text in lines:
                if begin == number * 40 or begin == number * 40 + 20:
                    out.write_packet(StreamPacket(0, begin, begin, length, True, text))
    got, _, packets = read_all(tmp_path / "a.mkv")
    assert [(s.kind, s.codec, s.language) for s in got.streams] == [("subtitle", "subrip", "ger")]
    assert [(p.pts, p.duration, p.data) for p in packets] == lines
    assert copy(tmp_path / "a.mkv", tmp_path / "b.mp4") == ()
    got, _, packets_of_mp4 = read_all(tmp_path / "b.mp4")
    assert [(s.kind, s.codec, s.language) for s in got.streams] == [("subtitle", "mov_text", "ger")]
    # Between two texts MP4 has an empty one.
    texts = [(p.pts * got.streams[0].time_base, p.data[2:]) for p in packets_of_mp4 if p.data[:2] != b"\0\0"]
    assert texts == [(Fraction(begin, 1000), text) for begin, _, text in lines]
    copy(tmp_path / "a.mkv", tmp_path / "c.mkv")
    assert read_all(tmp_path / "c.mkv")[2] == packets


def test_mp4_text_becomes_plain_text_in_matroska(tmp_path):
    stream = StreamInfo("subtitle", "mov_text", Fraction(1, 1000))
    info = VideoInfo(64, 48, Fraction(1, 25), streams=(stream,))
    with open_writer(tmp_path / "a.mkv", info) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        out.write_packet(StreamPacket(0, 0, 0, 900, True, b"\x00\x02Hi\x00\x00\x00\x0cstyl...."))
        out.write_packet(StreamPacket(0, 900, 900, 900, True, b"\x00\x00"))
    got, _, packets = read_all(tmp_path / "a.mkv")
    assert got.streams[0].codec == "subrip"
    assert [p.data for p in packets] == [b"Hi"]


def test_sound_before_the_picture_keeps_its_distance(tmp_path):
    source = tmp_path / "late.mkv"
    info = VideoInfo(
        64,
        48,
        Fraction(1, 1000),
        streams=(StreamInfo("audio", "pcm_s16le", Fraction(1, 48000), 48000, 1, "mono"),),
    )
    with open_writer(source, info) as out:
        for number in range(10):
            out.write_packet(StreamPacket(0, number * 4800, number * 4800, 4800, True, bytes(9600)))
            if number >= 5:
                out.write(Frame(number * 100, moving_picture(64, 48, number)))
    _, frames, packets = read_all(source)
    assert frames[0].pts == 0
    assert [p.pts for p in packets] == list(range(-500, 500, 100))
    copy(source, tmp_path / "copy.mkv")
    again = read_all(tmp_path / "copy.mkv")
    assert [f.pts for f in again[1]] == [f.pts for f in frames]
    assert [p.pts for p in again[2]] == [p.pts for p in packets]


def test_streams_that_cannot_be_copied_are_noted(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if hasattr(out, "add_attachment"):
            out.add_attachment("font.ttf", "font/ttf", b"font")
        out.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(stream.encode(None))
    with open_video(path) as reader:
        assert reader.info.streams == ()
        assert not hasattr(out, "add_attachment") or any("attachment" in n for n in reader.info.notes)
