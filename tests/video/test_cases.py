"""Files that people had trouble with (tests/video/cases), and their siblings, made on the spot.

Nothing of them may be lost without a word: each test holds the pictures, the seconds of sound and the notes.
"""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from bitstream_helpers import Pipe
from video_support import copy, decoded_sound, moving_picture, offset, read_all, tone, write_video

from lfqcodec.errors import InputVideoError
from lfqcodec.media import Frame, Metadata, StreamInfo, StreamPacket, Track, VideoInfo
from lfqcodec.video import open_video, open_writer
from lfqcodec.video.read.flv import is_joined
from lfqcodec.video.write.ebml import SEGMENT, TRACKS, elements

CASES = Path(__file__).parent / "cases"
# Pictures, times of the first two and of the last in seconds, frame rate, packets of each copied stream, and
# words of each note in order.
MORE_COLOUR = "more finely"
FACTS = {
    "amr-sound-3gp.3gp": (6, (0, 1 / 15, 5 / 15), 15, [1], ["amr_nb"]),
    "animated.webp": (2, (0, 0.6, 0.6), 2, [], [MORE_COLOUR]),
    "animated.avif": (2, (0, 0.5, 0.5), 2, [], ["transparency", MORE_COLOUR]),
    "chapters-title-languages-subtitles.mp4": (30, (0, 0.033, 0.967), 30, [45, 32, 4], [MORE_COLOUR]),
    "dolby-vision-profile5.mp4": (10, (0, 1 / 24, 9 / 24), 24, [], ["10-bit", "Dolby Vision"]),
    "h264-bframes-in-avi.avi": (12, (0, 1 / 30, 11 / 30), 30, [1], [MORE_COLOUR, "pcm_u8"]),
    "pcm-stereo-no-layout-mjpeg.avi": (5, (0, 0.04, 0.16), 25, [4], []),
    "raw-30fps-vui.h264": (9, (0, 1 / 30, 8 / 30), 30, [], [MORE_COLOUR]),
    "size-33x31.mkv": (5, (0, 0.04, 0.16), 25, [], [MORE_COLOUR]),
    "slideshow-each-frame-another-colour.gif": (4, (0, 0.1, 0.3), 10, [], [MORE_COLOUR]),
    "sound-starts-0.7s-before-picture.mkv": (30, (0, 0.033, 0.967), 30, [66], [MORE_COLOUR]),
    "still-with-alpha.avif": (1, (0, 0, 0), None, [], ["transparency"]),
    "two-segments-joined-pts-restart.ts": (100, (0, 0.04, 3.96), 25, [176], ["clock of the input jumps"]),
    "video-is-second-stream.mp4": (25, (0, 0.04, 0.96), 25, [45], []),
    "vp9-yuv444.webm": (10, (0, 0.04, 0.36), 25, [], [MORE_COLOUR]),
    "webm-default-duration-1ms.webm": (30, (0, 0.033, 0.967), 30, [51], []),
}
REFUSED = {"float-rgba.tiff": "rgbaf32le"}


def test_every_case_is_tested():
    assert {path.name for path in CASES.iterdir()} == {*FACTS, *REFUSED}


@pytest.mark.parametrize("name", FACTS)
def test_nothing_is_lost_without_a_word(name, tmp_path):
    count, times, rate, packets, notes = FACTS[name]
    size = {"scale": (96, 54)} if name.startswith("dolby") else {}
    info, frames, copied = read_all(CASES / name, **size)
    assert len(frames) == count
    seconds = [float(frames[at].pts * info.time_base) for at in (0, min(1, count - 1), -1)]
    assert np.allclose(seconds, times, atol=1.1e-3)
    assert info.frame_rate == rate
    assert [sum(p.stream == number for p in copied) for number in range(len(info.streams))] == packets
    assert len(info.notes) == len(notes)
    assert all(words in note for words, note in zip(notes, info.notes, strict=True))
    for suffix in (".mp4", ".mkv"):
        dest = tmp_path / f"out{suffix}"
        told = copy(CASES / name, dest, **size)
        losses = [note for note in told if "left out" in note or "could not" in note]
        # MP4 says how its subtitles look; Matroska has their text.
        assert all("styles of subtitles (mov_text)" in note and suffix == ".mkv" for note in losses)
        again, shown, sound = read_all(dest)
        assert len(shown) == count
        assert {s.kind for s in again.streams} == {s.kind for s in info.streams}
        # Both count in milliseconds or finer.
        moved = [float(f.pts * again.time_base) for f in shown]
        assert np.allclose(moved, [float(f.pts * info.time_base) for f in frames], atol=1.1e-3)
        for number, stream in enumerate(info.streams):
            if stream.kind == "audio":
                before, after = (
                    sum(p.duration * s.time_base for p in all_ if p.stream == number)
                    for s, all_ in ((stream, copied), (again.streams[number], sound))
                )
                # Codecs have packets of their own length, of at most 4096 samples here.
                assert abs(before - after) <= Fraction(4096, stream.sample_rate)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_the_right_reason(name):
    with pytest.raises(InputVideoError, match=f"{name}: .*{REFUSED[name]}"):
        read_all(CASES / name)


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_video_may_be_any_stream(tmp_path, form, threads, monkeypatch):
    """The decoder is emptied at the end whatever stream the demuxer's last packet names."""
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    path = tmp_path / "a"
    with av.open(str(path), "w", format=form) as out:
        sounds = [out.add_stream("mp2", rate=48000) for _ in range(2)]
        video = out.add_stream("libx264" if form != "avi" else "mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for packets in [tone(sound, 1.0) for sound in sounds]:
            for _, packet in packets:
                out.mux(packet)
        for number in range(25):
            picture = av.VideoFrame.from_ndarray(moving_picture(64, 48, number), format="rgb24")
            out.mux(video.encode(picture.reformat(format="yuv420p")))
        out.mux(video.encode(None))
    info, frames, _ = read_all(path)
    assert (len(frames), info.notes) == (25, ())


@pytest.mark.parametrize(("codec", "most"), [("mpeg4", 2), ("libx264", 3), ("libx264", 8)])
def test_b_frames_in_avi(tmp_path, codec, most):
    """AVI has one order, that of storage: pictures have its times in theirs, and cuts are counted."""
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.max_b_frames = most
        for number in range(60):
            picture = av.VideoFrame.from_ndarray(moving_picture(64, 48, number), format="rgb24")
            out.mux(video.encode(picture.reformat(format="yuv420p")))
        out.mux(video.encode(None))
    info, frames, _ = read_all(path)
    assert [frame.pts for frame in frames] == list(range(60))
    assert info.notes == ()
    cut = read_all(path, start=1.6, max_frames=5)[1]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(cut, frames[40:45], strict=True))


def joined(tmp_path, form, **second):
    """Two segments of a second each, one behind the other; the second begins at another time."""
    parts = []
    for number, delay in enumerate((0, second.get("delay", 0))):
        made = write_video(
            tmp_path / f"{number}.{form}", frames=25, audio="mp2", form=form, delay=delay, codec="mpeg2video"
        )
        parts.append(made.read_bytes())
    path = tmp_path / f"joined.{form}"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("form", ["mpegts", "mpeg"])
@pytest.mark.parametrize("delay", [0, 25 * 3600])
def test_clocks_that_start_again_or_jump(tmp_path, form, delay):
    info, frames, packets = read_all(joined(tmp_path, form, delay=delay))
    assert len(frames) == 50
    seconds = np.array([float(f.pts * info.time_base) for f in frames])
    assert np.all(np.diff(seconds) < 0.15)
    sound = np.array([float(p.pts * info.streams[0].time_base) for p in packets])
    assert len(packets) >= 80
    # The sound of the second part is heard with its pictures.
    assert abs(sound[-1] - seconds[-1]) < 0.15
    assert any("jumps" in note for note in info.notes)
    # A cut behind the jump cannot be found by its time stamps.
    path = tmp_path / f"joined.{form}"
    start = float(frames[40].pts * info.time_base)
    cut = read_all(path, start=start, max_frames=3)[1]
    assert [np.array_equal(a.rgb, b.rgb) for a, b in zip(cut, frames[40:], strict=False)] == [True] * 3


def test_sound_that_pauses_is_no_jump(tmp_path):
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("mp2", rate=48000)
        heard = tone(sound, 2.0)
        later = [(time + 14 * (time > 1), packet) for time, packet in heard]
        for time, packet in later:
            packet.pts = packet.dts = round(time / packet.time_base)
        seen = []
        for number in range(25 * 16):
            picture = av.VideoFrame.from_ndarray(moving_picture(64, 48, number % 50), format="rgb24")
            seen += video.encode(picture.reformat(format="yuv420p"))
        seen += video.encode(None)
        packets = later + [(float(packet.dts * packet.time_base), packet) for packet in seen]
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    info, frames, copied = read_all(path)
    assert (len(frames), info.notes) == (400, ())
    times = [float(packet.pts * info.streams[0].time_base) for packet in copied]
    assert np.diff(times).max() > 13.9
    assert abs(times[-1] - 15.9) < 0.2


@pytest.mark.parametrize(
    ("stamps", "wanted"),
    [
        ([0, 0, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 50, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 1, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 3, 3], [0, 1, 2, 2.5, 3]),
    ],
)
def test_a_bad_time_stamp_does_not_move_the_others(tmp_path, stamps, wanted):
    """Muxers refuse such stamps, so they are put into a file: of key frames, all in one cluster."""
    path = tmp_path / "a.mkv"
    info = VideoInfo(16, 16, Fraction(1, 1000), frame_rate=Fraction(10))
    with open_writer(path, info) as out:
        for number in range(len(stamps)):
            out.write(Frame(100 * number, moving_picture(16, 16, number)))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x1f\x43\xb6\x75")
    for number, stamp in enumerate(stamps):
        # Number of the track, time, flags.
        at = data.index(b"\x81" + (100 * number).to_bytes(2, "big") + b"\x80", at)
        data[at + 1 : at + 3] = (100 * stamp).to_bytes(2, "big")
        at += 4
    path.write_bytes(data)
    info, frames, _ = read_all(path)
    assert [f.pts for f in frames] == [100 * each for each in wanted]
    assert any("replaced" in note for note in info.notes)


def test_sound_before_the_picture_is_kept_in_mp4(tmp_path):
    source = CASES / "sound-starts-0.7s-before-picture.mkv"
    copy(source, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as made:
        heard = sum(frame.samples for frame in made.decode(audio=0))
    with av.open(str(source)) as given:
        assert abs(heard - sum(frame.samples for frame in given.decode(audio=0))) <= 1024
    info, _, packets = read_all(tmp_path / "a.mp4")
    assert abs(packets[0].pts * info.streams[0].time_base + Fraction(723, 1000)) <= Fraction(1, 500)


SOUNDS = [
    # (encoder, container, what is kept of the codec in .mp4, .mkv and .mov)
    ("pcm_alaw", "mov", ("aac", "pcm_alaw", "pcm_alaw")),
    ("pcm_mulaw", "mov", ("aac", "pcm_mulaw", "pcm_mulaw")),
    ("adpcm_ms", "avi", ("aac", "adpcm_ms", "aac")),
    ("adpcm_ima_wav", "avi", ("aac", "adpcm_ima_wav", "aac")),
    ("adpcm_yamaha", "avi", ("aac", "adpcm_yamaha", "aac")),
    ("adpcm_ima_qt", "mov", ("flac", "flac", "aac")),
]


@pytest.mark.parametrize(("encoder", "form", "codecs"), SOUNDS)
def test_sound_that_few_outputs_hold_is_converted_and_told(tmp_path, encoder, form, codecs):
    source = write_video(tmp_path / "in", frames=25, codec="mpeg4", audio=encoder, form=form)
    with open_video(source) as reader:
        assert any("convert" in note for note in reader.notes)
    before = [p.data for p in read_all(source)[2]]
    heard, rate = decoded_sound(source)
    for suffix, codec in zip((".mp4", ".mkv", ".mov"), codecs, strict=True):
        dest = tmp_path / f"out{suffix}"
        notes = copy(source, dest)
        assert not any("left out" in note or "could not" in note for note in notes)
        info, _, packets = read_all(dest)
        assert info.streams[0].codec == codec
        if codec == encoder:
            assert notes == ()
            assert [p.data for p in packets] == before
        sound, _ = decoded_sound(dest)
        assert abs(len(sound) - len(heard)) <= 1024
        assert abs(offset(heard, sound, rate)) <= 1.01


def test_sound_by_number_beside_a_shape_and_a_title(tmp_path):
    """Both are put into the header of the file after it is written, and its checksum stays right."""
    stream = StreamInfo("audio", "pcm_mulaw", Fraction(1, 8000), 8000, 1, "mono", bit_rate=64000)
    tags = Metadata(video=Track(tags=(("title", "A_REAL/14_4"),)))
    info = VideoInfo(64, 48, Fraction(1, 25), sar=Fraction(4, 3), streams=(stream,), metadata=tags)
    with open_writer(tmp_path / "a.mkv", info) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        out.write_packet(StreamPacket(0, 0, 0, 160, True, bytes(160)))
    assert out.notes == []
    again, _, packets = read_all(tmp_path / "a.mkv")
    assert (again.streams[0].codec, again.streams[0].sample_rate, again.sar) == (
        "pcm_mulaw",
        8000,
        Fraction(4, 3),
    )
    assert [p.data for p in packets] == [bytes(160)]
    data = (tmp_path / "a.mkv").read_bytes()
    segment = next(e for e in elements(data, 0, len(data)) if e.identifier == SEGMENT)
    tracks = next(e for e in elements(data, segment.payload, len(data)) if e.identifier == TRACKS)
    first = next(elements(data, tracks.payload, tracks.end))
    assert data[first.payload : first.end] == zlib.crc32(data[first.end : tracks.end]).to_bytes(4, "little")
    assert dict(again.metadata.video.tags)["title"] == "A_REAL/14_4"


def test_sound_without_packets_does_not_cost_the_file(tmp_path):
    """Some codecs are described in MP4 by what their packets say."""
    source = write_video(tmp_path / "in.mkv", frames=5, audio="ac3")
    with open_video(source) as reader:
        info = reader.info
    with open_writer(tmp_path / "a.mp4", info) as out:
        for number in range(5):
            out.write(Frame(40 * number, moving_picture(64, 48, number)))
    assert len(read_all(tmp_path / "a.mp4")[1]) == 5


@pytest.mark.parametrize("codec", ["subrip", "ass", "webvtt"])
def test_subtitles_become_text_in_mp4(tmp_path, codec):
    lines = {
        "subrip": b"<i>Hello</i>\nthere",
        "webvtt": b"<v Ann>Hello</v>\nthere",
        "ass": rb"0,0,Default,,0,0,0,,{\i1}Hello{\i0}\Nthere",
    }
    header = b"[Script Info]\nScriptType: v4.00+\n" if codec == "ass" else b""
    stream = StreamInfo("subtitle", codec, Fraction(1, 1000), language="eng", extradata=header)
    info = VideoInfo(64, 48, Fraction(1, 25), frame_rate=Fraction(25), streams=(stream,))
    with open_writer(tmp_path / "a.mp4", info) as out:
        for number in range(25):
            out.write(Frame(number, moving_picture(64, 48, number)))
        out.write_packet(StreamPacket(0, 200, 200, 300, True, lines[codec]))
    got, _, packets = read_all(tmp_path / "a.mp4")
    assert [(s.codec, s.language) for s in got.streams] == [("mov_text", "eng")]
    assert [p.data[2:] for p in packets if p.data[:2] != b"\0\0"] == [b"Hello\nthere"]
    assert out.notes == [f"styles of subtitles ({codec}) are left out, their text is kept"]


def test_matroska_files_joined(tmp_path):
    """Their times of decoding are made up and begin anew; pictures and sound stay together all the same."""
    parts = [write_video(tmp_path / f"{number}.mkv", frames=25, audio="aac") for number in range(2)]
    joined = tmp_path / "joined.mkv"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    alone = len(read_all(parts[0])[2])
    info, frames, packets = read_all(joined)
    assert info.notes == ("the clock of the input jumps: pictures and sound go on without a break",)
    assert np.allclose([float(f.pts * info.time_base) for f in frames], np.arange(50) / 25, atol=1.1e-3)
    base = info.streams[0].time_base
    assert len(packets) == 2 * alone
    assert abs(float((packets[alone].pts - packets[0].pts) * base) - 1) < 2e-3


def test_tiff_of_many_pages(tmp_path):
    one, two = tmp_path / "one.tiff", tmp_path / "two.tiff"
    with av.open(str(one), "w", format="image2", options={"update": "1"}) as out:
        video = out.add_stream("tiff", rate=25)
        video.width, video.height, video.pix_fmt = 16, 12, "rgb24"
        out.mux(video.encode(av.VideoFrame.from_ndarray(moving_picture(16, 12, 0), format="rgb24")))
        out.mux(video.encode(None))
    data = bytearray(one.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    directory = bytes(data[at : at + 6 + 12 * entries])
    data[at + 2 + 12 * entries : at + 6 + 12 * entries] = struct.pack("<I", len(data))
    two.write_bytes(data + directory)
    assert read_all(one)[0].notes == ()
    info, frames, _ = read_all(two)
    assert (len(frames), info.notes) == (1, ("only the first of 2 pages is read",))


def test_mp4_files_that_are_not_whole(tmp_path):
    """A download that was broken off, a segment of a stream, and two files joined: each is named so."""
    whole = write_video(tmp_path / "a.mp4", frames=25)
    data = whole.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(InputVideoError, match=r"broken.mp4: is not complete: .* \(moov\) comes last"):
        read_all(broken)
    parts = tmp_path / "parts.mp4"
    with av.open(str(parts), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(moving_picture(64, 48, number), format="rgb24")
            out.mux(video.encode(picture.reformat(format="yuv420p")))
        out.mux(video.encode(None))
    assert len(read_all(parts)[1]) == 5
    segment = tmp_path / "segment.m4s"
    segment.write_bytes(parts.read_bytes()[parts.read_bytes().index(b"moof") - 4 :])
    with pytest.raises(InputVideoError, match=r"segment\.m4s: is a segment of a stream; join it"):
        read_all(segment)
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(data + data)
    info, frames, _ = read_all(joined)
    assert len(frames) == 25
    assert info.notes == ("another file is joined behind the first one, and is not read: split them",)


@pytest.mark.parametrize("lossless", ["0", "1"])
def test_animated_webp(tmp_path, lossless):
    """Pictures that cover a part, with transparency; as a file, a stream and at a cut."""
    path = tmp_path / "a.webp"
    shown = []
    with av.open(str(path), "w") as out:
        video = out.add_stream("libwebp_anim", rate=20, options={"lossless": lossless, "quality": "90"})
        video.width, video.height, video.pix_fmt = 64, 48, "bgra" if lossless == "1" else "yuva420p"
        for number in range(6):
            picture = np.zeros((48, 64, 4), np.uint8)
            picture[8:30, 4 * number : 4 * number + 20] = (40 * number, 200, 90, 255)
            shown.append(picture[..., :3])
            frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 20)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    for source in (path, io.BytesIO(path.read_bytes()), Pipe(path.read_bytes())):
        info, frames, _ = read_all(source)
        assert (info.frame_rate, info.width, info.height, len(frames)) == (20, 64, 48, 6)
        assert [frame.pts * info.time_base for frame in frames] == [Fraction(n, 20) for n in range(6)]
        errors = [np.abs(f.rgb.astype(int) - s).mean() for f, s in zip(frames, shown, strict=True)]
        assert max(errors) < (0.5 if lossless == "1" else 6)
        assert "transparent parts were laid over black" in info.notes
    assert len(read_all(path, start=0.1, duration=0.1)[1]) == 2
    broken = bytearray(path.read_bytes())
    at = broken.rindex(b"ANMF")
    broken[at + 8 : at + 11] = b"\xff\xff\xff"
    with pytest.raises(InputVideoError, match="picture 5 lies outside"):
        read_all(io.BytesIO(broken))
    assert "breaks off" in read_all(io.BytesIO(path.read_bytes()[:at]))[0].notes[0]


@pytest.mark.parametrize(("codec", "audio"), [("libx264", "aac"), ("flv1", None)])
def test_flv_files_joined(tmp_path, codec, audio):
    """The second goes on where the first ends, by name, as a stream, and at a cut."""
    parts = [
        write_video(tmp_path / f"{frames}.flv", frames=frames, codec=codec, audio=audio, seconds=frames / 25)
        for frames in (25, 20, 15)
    ]
    sounds = sum(len(read_all(part)[2]) for part in parts)
    joined = tmp_path / "joined.flv"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    for source in (joined, io.BytesIO(joined.read_bytes()), Pipe(joined.read_bytes())):
        info, frames, packets = read_all(source)
        assert (len(frames), len(packets)) == (60, sounds)
        assert info.notes == ("the clock of the input jumps: pictures and sound go on without a break",)
        seconds = [float(frame.pts * info.time_base) for frame in frames]
        # Behind a join pictures wait for the sound of the part before, of whole packets.
        assert np.allclose(np.diff(seconds), 0.04, atol=0.03)
        assert abs(seconds[-1] - 59 / 25) < 0.06
    assert len(read_all(joined, start=1.2, duration=0.4)[1]) == 10
    assert not is_joined(io.BytesIO(parts[0].read_bytes() + b"noise"))


def test_a_rate_that_the_stamps_deny_is_not_believed(tmp_path):
    assert read_all(CASES / "webm-default-duration-1ms.webm")[0].frame_rate == 30
    for rate in (120, 240):
        source = write_video(tmp_path / f"{rate}.mp4", frames=20, rate=rate, time_base=Fraction(1, rate))
        assert read_all(source)[0].frame_rate == rate


@pytest.mark.parametrize(
    ("codec", "form"), [("libx264", "h264"), ("mpeg4", "m4v"), ("mpeg2video", "mpeg2video")]
)
def test_raw_streams_have_the_rate_that_is_in_them(tmp_path, codec, form):
    rate = Fraction(30000, 1001)
    source = write_video(tmp_path / "a", frames=12, codec=codec, form=form, rate=rate, time_base=1 / rate)
    info, frames, _ = read_all(source)
    assert info.frame_rate == rate
    assert np.allclose(
        [float(f.pts * info.time_base) for f in frames], np.arange(12) / float(rate), atol=1e-5
    )


def test_a_raw_stream_without_a_rate_is_told(tmp_path):
    source = write_video(tmp_path / "a", frames=5, codec="libsvtav1", form="obu")
    info = read_all(source)[0]
    assert info.frame_rate == 25
    assert any("no frame rate" in note for note in info.notes)


def test_start_padding_is_dropped_once(tmp_path):
    """Of sound that is copied, and of sound that is converted."""
    source = CASES / "amr-sound-3gp.3gp"
    copy(source, tmp_path / "a.mkv")
    copy(source, tmp_path / "b.mkv", audio_codec="flac")
    samples = []
    for path in (source, tmp_path / "a.mkv", tmp_path / "b.mkv"):
        with av.open(str(path)) as file:
            samples.append(sum(frame.samples for frame in file.decode(audio=0)))
    assert samples == [110, 110, 110]
    source = CASES / "webm-default-duration-1ms.webm"
    copy(source, tmp_path / "a.mov")
    heard, rate = decoded_sound(source)
    assert abs(offset(heard, decoded_sound(tmp_path / "a.mov")[0], rate)) <= 1.01
