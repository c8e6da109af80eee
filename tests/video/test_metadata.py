"""Tags, titles, languages, marks of tracks, chapters and aspect ratio survive, through .lfq too."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from bitstream_helpers import HEADER, make_file
from click.testing import CliRunner
from video_support import copy, moving_picture, read_all, tone

from lfqcodec.cli.commands.info import command as info_command
from lfqcodec.codec.decode.decoder import decode
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.decode.options import DecodeOptions
from lfqcodec.codec.encode.encoder import encode
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.media import Chapter, Frame, Metadata, StreamInfo, StreamPacket, Track, VideoInfo
from lfqcodec.video import open_writer

HOLIDAY = Path(__file__).parent / "cases" / "chapters-title-languages-subtitles.mp4"
SECOND = 10**9
TAGS = (
    ("album", "Alps"),
    ("artist", "A. N. Other"),
    ("comment", "none"),
    ("creation_time", "2023-01-14T00:47:27.000000Z"),
    ("location", "+52.5200+013.4050/"),
    ("title", "Größe & Übung"),
)
PCM = StreamInfo("audio", "pcm_s16le", Fraction(1, 48000), 48000, 1, "mono", language="eng")
STREAMS = (
    PCM,
    StreamInfo("audio", "pcm_s16le", Fraction(1, 48000), 48000, 1, "mono", language="deu"),
    StreamInfo("subtitle", "subrip", Fraction(1, 1000), language="fra"),
)


def write(path, metadata, *, sar=Fraction(1), size=(64, 48)):
    """Two seconds with two sounds and subtitles; the notes of the writer."""
    info = VideoInfo(
        *size, Fraction(1, 25), frame_rate=Fraction(25), sar=sar, streams=STREAMS, metadata=metadata
    )
    with open_writer(path, info, overwrite=True) as out:
        for number in range(50):
            out.write(Frame(number, moving_picture(*size, number)))
            for stream in (0, 1):
                out.write_packet(StreamPacket(stream, 1920 * number, 1920 * number, 1920, True, bytes(3840)))
            if number % 10 == 0:
                out.write_packet(StreamPacket(2, 40 * number, 40 * number, 200, True, b"text"))
    return out.notes


def metadata(*flags, tags=TAGS):
    return Metadata(
        tags,
        Track((("language", "eng"), ("title", "Film")), ("default",)),
        tuple(
            Track((("title", name),), own)
            for name, own in zip(("Main", "Kommentar", "Forcés"), flags, strict=True)
        ),
        (Chapter(0, SECOND, "Eins"), Chapter(SECOND, 2 * SECOND, "Zwei & Ü")),
    )


def test_matroska_keeps_everything(tmp_path):
    given = metadata(
        ("default", "original"), ("comment", "visual_impaired"), ("forced",), tags=(*TAGS, ("x_own", "y"))
    )
    assert write(tmp_path / "a.mkv", given) == []
    assert read_all(tmp_path / "a.mkv")[0].metadata == given


def test_mp4_keeps_what_it_can_and_the_rest_is_told(tmp_path):
    given = metadata(("default",), ("comment",), ("default", "forced"))
    assert write(tmp_path / "a.mp4", given) == []
    assert read_all(tmp_path / "a.mp4")[0].metadata == given
    more = metadata(
        ("default", "original"), ("comment",), ("default", "forced"), tags=(*TAGS, ("x_own", "y"))
    )
    notes = write(tmp_path / "a.mp4", more)
    assert [note.rpartition(": ")[2] for note in notes] == ["x_own", "original"]
    assert read_all(tmp_path / "a.mp4")[0].metadata == given


def test_mov_keeps_languages_and_titles(tmp_path):
    write(tmp_path / "a.mov", metadata((), ("default",), ("default",)))
    info = read_all(tmp_path / "a.mov")[0]
    assert [stream.language for stream in info.streams] == ["eng", "ger", "fra"]
    assert [track.flags for track in info.metadata.streams] == [(), ("default",), ("default",)]
    assert [dict(track.tags)["title"] for track in info.metadata.streams] == ["Main", "Kommentar", "Forcés"]


def test_the_usual_marks_take_no_room(tmp_path):
    """The first sound plays: a file that says so and no more has no metadata."""
    assert write(tmp_path / "a.mkv", Metadata()) == []
    info = read_all(tmp_path / "a.mkv")[0]
    assert info.metadata == Metadata()


@pytest.mark.parametrize("sar", [Fraction(64, 45), Fraction(16, 11), Fraction(8, 9), Fraction(999, 1000)])
@pytest.mark.parametrize("title", ["", "Größe", "x" * 300])
def test_aspect_ratio_in_matroska(tmp_path, sar, title):
    given = Metadata(
        video=Track((("title", title),) if title else ()),
        streams=(Track(),) * 3,
        chapters=(Chapter(0, SECOND),),
    )
    assert write(tmp_path / "a.mkv", given, sar=sar) == []
    info, frames, _ = read_all(tmp_path / "a.mkv")
    assert (info.sar, info.metadata, len(frames)) == (sar, given, 50)
    # The checksum of the tracks is that of what is there now.
    data = (tmp_path / "a.mkv").read_bytes()
    identifier = bytes.fromhex("1654AE6B")
    at = data.index(identifier, data.index(identifier) + 4) + 4
    count = 9 - data[at].bit_length()
    begin = at + count
    end = begin + int.from_bytes(data[at:begin], "big") - (1 << 7 * count)
    assert data[begin : begin + 2] == b"\xbf\x84"
    assert zlib.crc32(data[begin + 6 : end]) == int.from_bytes(data[begin + 2 : begin + 6], "little")


@pytest.fixture(scope="module")
def holiday(tmp_path_factory):
    """A film with two sounds, of which the second is the default, subtitles and chapters, as .lfq."""
    dest = tmp_path_factory.mktemp("holiday") / "a.lfq"
    encode(HOLIDAY, dest, EncodeOptions(scale=(32, 18), profile="static"))
    return dest


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_through_lfq(holiday, tmp_path, suffix):
    given = read_all(HOLIDAY)[0]
    with open_file(holiday) as file:
        assert file.info.metadata == given.metadata
    report = decode(holiday, tmp_path / f"a{suffix}")
    styles = "styles of subtitles (mov_text) are left out, their text is kept"
    assert report.notes == ((styles,) if suffix == ".mkv" else ())
    info = read_all(tmp_path / f"a{suffix}")[0]
    assert info.metadata == given.metadata
    assert [s.language for s in info.streams] == ["eng", "deu", "fra"]
    assert [s.codec for s in info.streams][:2] == ["aac", "ac3"]
    assert dict(given.metadata.tags)["title"] == "Holiday"
    assert [chapter.title for chapter in info.metadata.chapters] == ["One", "Two"]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_text_that_is_on_at_the_start_of_a_cut(tmp_path, suffix):
    """It does not hold up the pictures by the time that it was on before."""
    stream = StreamInfo("subtitle", "subrip", Fraction(1, 1000))
    info = VideoInfo(64, 48, Fraction(1, 25), frame_rate=Fraction(25), streams=(stream,))
    with open_writer(tmp_path / f"a{suffix}", info) as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        out.write_packet(StreamPacket(0, -9000, -9000, 4000, True, b"over"))
        out.write_packet(StreamPacket(0, -5000, -5000, 5400, True, b"on"))
        for number in range(1, 25):
            out.write(Frame(number, moving_picture(64, 48, number)))
    with av.open(str(tmp_path / f"a{suffix}")) as made:
        assert next(made.decode(video=0)).time == 0
    info, _, packets = read_all(tmp_path / f"a{suffix}")
    base = info.streams[0].time_base
    texts = [(p.pts * base, p.duration * base) for p in packets if p.data.endswith(b"on")]
    assert texts == [(0, Fraction(2, 5))]
    assert not any(p.data.endswith(b"over") for p in packets)


def test_chapters_of_a_cut(holiday, tmp_path):
    wanted = [("One", 0, 177), ("Two", 177, 400)]
    decode(holiday, tmp_path / "a.mkv", DecodeOptions(start=0.2, duration=0.4))
    read = read_all(HOLIDAY, start=0.2, duration=0.4)[0]
    for found in (read_all(tmp_path / "a.mkv")[0].metadata, read.metadata):
        assert [each.title for each in found.chapters] == ["One", "Two"]
        for each, (_, begin, end) in zip(found.chapters, wanted, strict=True):
            # A picture starts at 0.2 s, give or take one.
            assert abs(each.start / 10**6 - begin) <= 34
            assert abs(each.end / 10**6 - end) <= 34
    late = read_all(HOLIDAY, start=0.9)[0].metadata.chapters
    assert [each.title for each in late] == ["Two"]


@pytest.mark.parametrize(("wish", "codecs"), [("aac", ["aac", "aac"]), ("copy", ["aac", "ac3"])])
def test_the_codec_of_sound_can_be_chosen(holiday, tmp_path, wish, codecs):
    report = decode(holiday, tmp_path / "a.mp4", DecodeOptions(audio_codec=wish))
    assert report.notes == ()
    info, _, packets = read_all(tmp_path / "a.mp4")
    assert [s.codec for s in info.streams if s.kind == "audio"] == codecs
    for number in (0, 1):
        seconds = sum(p.duration for p in packets if p.stream == number) * info.streams[number].time_base
        assert abs(seconds - 1) < 0.06


def test_copying_only_leaves_out_what_cannot_be_copied(tmp_path):
    info = VideoInfo(
        64,
        48,
        Fraction(1, 25),
        streams=(StreamInfo("audio", "pcm_alaw", Fraction(1, 8000), 8000, 1, "mono"),),
    )
    with open_writer(tmp_path / "a.mp4", info, audio_codec="copy") as out:
        out.write(Frame(0, moving_picture(64, 48, 0)))
        out.write_packet(StreamPacket(0, 0, 0, 160, True, bytes(160)))
    assert out.notes == ["left out: audio (pcm_alaw) cannot be stored in .mp4"]


def test_tags_that_are_not_unicode(tmp_path):
    """The title of a file in some old encoding does not cost the file."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "Bl\u00e5b\u00e6r"
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("aac", rate=48000)
        for _, packet in tone(sound, 0.2):
            out.mux(packet)
        out.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace("Blåbær".encode(), b"Bl\xe5\xe5b\xe6\xe6r"))
    info, frames, _ = read_all(path)
    assert len(frames) == 1
    assert dict(info.metadata.tags)["title"].startswith("Bl\ufffd")
    assert copy(path, tmp_path / "b.mp4") == ()


def test_info_shows_it_and_nothing_acts(tmp_path):
    tags, forced = (("title", "red \x1b[31m"),), Track((), ("forced",))
    given = Metadata(tags, streams=(forced,), chapters=(Chapter(0, SECOND, "One\n"),))
    path = tmp_path / "a.lfq"
    path.write_bytes(make_file(((2,),), header=replace(HEADER, metadata=given))[0])
    told = CliRunner().invoke(info_command, [str(path)]).output
    assert "tag  title: red ?[31m\n" in told
    assert "track  1: forced\n" in told
    assert "chapter  0.000 to 1.000 s  One?\n" in told
    shown = CliRunner().invoke(info_command, [str(path), "--json"]).output
    assert json.loads(shown)["metadata"] == json.loads(json.dumps(asdict(given)))
