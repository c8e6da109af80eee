"""Inputs that are missing, damaged, or no video: one clear line, or what can be saved with a note."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from video_support import bundled, copy, pipe, read_all, tone, write_video

from lfqcodec.errors import InputVideoError
from lfqcodec.video import open_video


def refused(source, **options):
    """The message, which is one line and names the input."""
    with pytest.raises(InputVideoError) as caught:
        read_all(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    if isinstance(source, (str, os.PathLike)):
        assert str(source) in text
    return text


def test_missing(tmp_path):
    assert "No such file" in refused(tmp_path / "none.mp4")
    assert "No such file" in refused(tmp_path / "none.png")
    assert "is a URL" in refused("http://127.0.0.1:9/video.mp4")


def test_not_a_file(tmp_path):
    assert "without pictures" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=1)
    path.chmod(0)
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.png", "a.y4m", "a.mkv"])
def test_not_a_video(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert "empty" in refused(path)
    path.write_text("Dear reader, this is a letter and not a video.\n" * 50)
    refused(path)
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    refused(path)


def test_text_is_not_a_terminal_recording(tmp_path):
    path = tmp_path / "a.ans"
    path.write_text("\x1b[31mhello\n" * 20)
    refused(path)


def test_only_sound(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        for _, packet in tone(out.add_stream("aac", rate=48000), 0.5):
            out.mux(packet)
    assert "sound but no video" in refused(path)


def test_cover_art_is_not_the_video(tmp_path):
    """A song with a picture: the picture is a video stream, marked as attached."""
    from video_support import moving_picture, png

    data = png(moving_picture(32, 32, 0))
    song = tmp_path / "song.mp3"
    with av.open(str(song), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=48000)
        packets = [packet for _, packet in tone(stream, 0.5)]
        for packet in packets:
            out.mux(packet)
    picture = b"\x00image/png\x00\x03\x00" + data
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\x00\x00" + picture
    size = len(frame)
    sync = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    plain = song.read_bytes()
    if plain.startswith(b"ID3"):
        old = 10 + sum(value << shift for value, shift in zip(plain[6:10], (21, 14, 7, 0), strict=True))
        plain = plain[old:]
    song.write_bytes(b"ID3\x03\x00\x00" + sync + frame + plain)
    assert "sound but no video" in refused(song)


def test_no_frame_in_it(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=8)
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4 if data.index(b"moov") > begin else len(data)
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    assert "no frame" in refused(path)


def test_cut_off_before_the_index(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=25)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "is not complete" in refused(path)


def test_cut_off_in_the_middle(tmp_path):
    """What is there is read, and the loss is said."""
    whole = write_video(tmp_path / "a.mkv", frames=60, gop=10).read_bytes()
    path = tmp_path / "b.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    _, frames, _ = read_all(path)
    assert 15 <= len(frames) <= 45
    copy(bundled("bikes"), tmp_path / "a.mp4", scale=(160, 90), max_frames=40)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    path = tmp_path / "b.mp4"
    path.write_bytes(data[: len(data) // 2])
    info, frames, _ = read_all(path)
    assert 8 <= len(frames) <= 32
    assert any("ends early" in note or "breaks off" in note for note in info.notes)


def test_damage_in_the_middle(tmp_path):
    data = bytearray(write_video(tmp_path / "a.mp4", frames=60, gop=10, size=(160, 120)).read_bytes())
    begin = data.index(b"mdat") + 4
    rng = np.random.default_rng(4)
    middle = begin + (data.index(b"moov", begin) - begin) // 2
    data[middle : middle + 300] = rng.bytes(300)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    info, frames, _ = read_all(path)
    assert 40 <= len(frames) <= 60
    assert [f.pts for f in frames] == sorted({f.pts for f in frames})
    assert len(frames) == 60 or info.notes


@pytest.mark.parametrize(
    "data",
    [
        b"YUV4MPEG2",
        b"YUV4MPEG2 W8 H6\n",
        b"YUV4MPEG2 W8 H6 F25:1 C420jpeg\n",
        b"YUV4MPEG2 W0 H6 F25:1 C420jpeg\nFRAME\n" + bytes(72),
        b"YUV4MPEG2 W-8 H6 F25:1 C420jpeg\nFRAME\n" + bytes(72),
        b"YUV4MPEG2 W8 H6 F25:1 C999\nFRAME\n" + bytes(72),
        b"YUV4MPEG2 W8 H6 F25:1 C420jpeg\nFRAME\n" + bytes(10),
        b"YUV4MPEG2 W8 H6 F25:1 C420jpeg\nNOISE\n" + bytes(72),
        b"nothing of the kind",
        b"",
    ],
)
def test_bad_y4m(tmp_path, data):
    (tmp_path / "a.y4m").write_bytes(data)
    refused(tmp_path / "a.y4m")
    refused(io.BytesIO(data))
    refused(pipe(data))


def test_last_y4m_frame_cut_off():
    data = b"YUV4MPEG2 W8 H6 F25:1 C420jpeg\n" + (b"FRAME\n" + bytes([100]) * 72) * 3
    for cut in (10, 74):
        for source in (pipe(data[:-cut]), io.BytesIO(data[:-cut])):
            info, frames, _ = read_all(source)
            assert len(frames) == 2
            assert any("cut off" in note for note in info.notes)
    assert read_all(pipe(data))[0].notes == read_all(io.BytesIO(data))[0].notes == ()
    assert read_all(pipe(data.replace(b"FRAME", b"FRAME Ip")))[0].notes == ()


def test_a_read_error_in_the_middle(tmp_path):
    data = write_video(tmp_path / "a.mkv", frames=60, gop=10, size=(160, 120)).read_bytes()

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > len(data) // 2:
                raise OSError(5, "Input/output error")
            return super().read(min(size, 2048))

    info, frames, _ = read_all(Failing(data))
    assert 5 <= len(frames) < 60
    assert any("breaks off" in note for note in info.notes)


def test_odd_names(tmp_path):
    """Colons, percent signs, spaces and non-ASCII letters mean nothing special."""
    data = write_video(tmp_path / "a.mp4", frames=2).read_bytes()
    for name in ("file:x.mp4", "a%03d.mp4", "größe ü.mp4", "-.mp4", "concat:a|b.mp4"):
        (tmp_path / name).write_bytes(data)
        assert len(read_all(tmp_path / name)[1]) == 2


def test_nothing_is_printed(tmp_path):
    """FFmpeg's own messages stay away from the terminal, also for damaged files."""
    data = bytearray(write_video(tmp_path / "a.mp4", frames=30, size=(160, 120)).read_bytes())
    begin = data.index(b"mdat") + 200
    data[begin : begin + 200] = bytes(200)
    (tmp_path / "b.mp4").write_bytes(data)
    code = (
        "import sys; from lfqcodec.video import open_video\nfor _ in open_video(sys.argv[1]).events(): pass"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b.mp4")], capture_output=True, timeout=60, check=False
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, b"", b"")


def test_closing_early(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=30, audio="aac")
    with open_video(path) as reader:
        events = reader.events()
        next(events)
    with pytest.raises(InputVideoError, match="closed"):
        list(events)
    with open_video(path) as reader:
        pass
    os.rename(path, tmp_path / "b.mp4")


def test_a_pipe_that_fails_in_the_middle():
    """PyAV drops exceptions of its callbacks; the frames before them must not pass for the whole input."""
    data = b"YUV4MPEG2 W64 H48 F25:1 C420mpeg2\n" + (b"FRAME\n" + bytes([90]) * (64 * 48 * 3 // 2)) * 40

    class Failing(io.RawIOBase):
        left = data[: len(data) // 2]

        def readable(self):
            return True

        def read(self, size=-1):
            if not self.left:
                raise OSError(5, "Input/output error")
            part, self.left = self.left[:size], self.left[size:]
            return part

    info, frames, _ = read_all(Failing())
    assert 15 <= len(frames) <= 20
    assert any("breaks off: Input/output error" in note for note in info.notes)
