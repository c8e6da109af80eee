"""A cut reads its own GOPs and the index, however long the file, and nothing behind its end."""

from __future__ import annotations

import io
import json
from fractions import Fraction

import numpy as np
import pytest
from bitstream_helpers import unit_offsets
from codec_support import benchmarks, encoded, same_frames, succeed, y4m_planes

import lfqcodec
from benchmarks.seek import repeat
from lfqcodec.bitstream import BitstreamReader, Chunk
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.media import Frame


@pytest.fixture(scope="module")
def variable(uneven):
    """100 frames on a millisecond clock with AAC, four GOPs."""
    return encoded(uneven, gop=33, profile="static")


class Watched(io.BytesIO):
    """A file that notes which bytes are read."""

    def __init__(self, data: bytes, *, seekable: bool = True) -> None:
        super().__init__(data)
        self.spans: list[tuple[int, int]] = []
        self._seekable = seekable

    def seekable(self) -> bool:
        return self._seekable

    def read(self, count=-1):
        begin = super().tell()
        data = super().read(count)
        if data:
            self.spans.append((begin, begin + len(data)))
        return data

    @property
    def total(self) -> int:
        return sum(end - begin for begin, end in self.spans)

    def touched(self, begin: int, end: int) -> bool:
        return any(low < end and high > begin for low, high in self.spans)


def events(stream, start=None, duration=None):
    with lfqcodec.open(stream, device="cpu") as video:
        return list(video.events(Cut(video.header, start, duration)))


def pictures(found):
    return [event for event in found if isinstance(event, Frame)]


def body_of(data, unit):
    """First and last byte of a unit behind its head."""
    offsets = unit_offsets(data)
    return offsets[unit] + 14 + int.from_bytes(
        data[offsets[unit] + 4 : offsets[unit] + 6], "little"
    ), offsets[unit + 1]


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize(
    ("start", "count", "read"),
    [
        (None, 33, [0, 1]),  # ends with its GOP
        (None, 17, [0]),  # ends with its chunk
        (None, 10, [0]),
        (33, 33, [2, 3]),
        (40, 26, [2, 3]),
        (33, 17, [2]),
        (35, 5, [2]),
        (66, 14, [4]),
        (20, 20, [0, 1, 2]),
    ],
)
def test_no_body_is_read_that_is_not_needed(steady, frames, start, count, read, seekable):
    stream = Watched(steady, seekable=seekable)
    begin = None if start is None else Fraction(start, 25)
    found = pictures(events(stream, begin, Fraction(count, 25)))
    assert same_frames(found, frames[start or 0 :][:count])
    for unit in range(5):
        # A pipe cannot be jumped over, but nothing behind the end is waited for.
        if seekable or unit > read[-1]:
            assert stream.touched(*body_of(steady, unit)) == (unit in read)


def test_an_open_pipe_is_left_at_the_border(steady):
    """What comes behind the border need not be there yet."""
    border = body_of(steady, 2)[0]

    class Live(Watched):
        def read(self, count=-1):
            assert self.tell() + count <= border, "waits for what is not needed"
            return super().read(count)

    assert len(pictures(events(Live(steady, seekable=False), None, Fraction(33, 25)))) == 33


def test_sound_of_the_last_gop_is_read(variable):
    """A cut that ends within a GOP needs the sound at the end of it, but no more of its pictures."""
    units = list(BitstreamReader(io.BytesIO(variable)))
    chunks = [unit.head for unit in units if isinstance(unit, Chunk)]
    with lfqcodec.open(io.BytesIO(variable), device="cpu") as video:
        sound, base = video.header.streams[0].time_base, video.header.time_base
        everything = list(video.events(Cut(video.header, None, None)))
    begin, end = chunks[2].pts[0] * base, chunks[2].end_pts * base
    stream = Watched(variable)
    found = events(stream, begin, end - begin)
    assert len(pictures(found)) == chunks[2].valid
    heard = [event for event in everything if not isinstance(event, Frame)]
    wanted = [p.data for p in heard if (p.pts + p.duration) * sound > begin and p.pts * sound < end]
    assert [event.data for event in found if not isinstance(event, Frame)] == wanted
    assert len(wanted) > 20
    for number, head in enumerate(chunks):
        assert stream.touched(head.offset + head.size - 40, head.offset + head.size) == (number == 2)


def test_bytes_do_not_grow_with_the_file(variable, tmp_path):
    read, size = [], []
    with lfqcodec.open(io.BytesIO(variable)) as video:
        period = video.index().end_pts * video.header.time_base
    for times in (2, 40):
        path = tmp_path / f"{times}.lfq"
        repeat(variable, path, int(period * times))
        data = path.read_bytes()
        with lfqcodec.open(path) as video:
            entries = len(video.index().entries)
        stream = Watched(data)
        events(stream, period * (times - 1) + 1, Fraction(1, 2))
        read.append(stream.total - (unit_offsets(data)[-1] - unit_offsets(data)[-2]))
        size.append(len(data))
        assert entries >= 4 * times
    assert size[1] > 15 * size[0]
    assert abs(read[1] - read[0]) < 100  # the index apart: 7 bytes a GOP


def test_exact_anywhere_in_a_long_file(variable, tmp_path):
    """Frames, times and sound of cuts at many places are those of the whole."""
    path = tmp_path / "long.lfq"
    repeat(variable, path, 20)
    rng = np.random.default_rng(0)
    with lfqcodec.open(path, device="cpu") as video:
        base, sound = video.header.time_base, video.header.streams[0].time_base
        everything = list(video.events(Cut(video.header, None, None)))
        frames = pictures(everything)
        packets = [event for event in everything if not isinstance(event, Frame)]
        assert len(frames) >= 500
        for _ in range(12):
            number = int(rng.integers(1, len(frames) - 20))
            last = number + int(rng.integers(1, 20))
            begin, end = frames[number].pts * base, frames[last].pts * base
            found = list(video.events(Cut(video.header, begin, end - begin)))
            assert same_frames(pictures(found), frames[number:last])
            assert [f.pts for f in pictures(found)] == [
                f.pts - frames[number].pts for f in frames[number:last]
            ]
            wanted = [p for p in packets if (p.pts + p.duration) * sound > begin and p.pts * sound < end]
            got = [event for event in found if not isinstance(event, Frame)]
            assert [p.data for p in got] == [p.data for p in wanted]
            shift = round(begin / sound)
            assert [p.pts for p in got] == [p.pts - shift for p in wanted]


def test_the_command(steady, tmp_path):
    """decode --start 00:01:00 --duration 2, of a file of 80 seconds."""
    path = tmp_path / "long.lfq"
    repeat(steady, path, 80)
    out = tmp_path / "part.y4m"
    assert succeed("decode", path, out, "--start", "00:01:00", "--duration", 2).startswith("50 frames")
    succeed("decode", path, tmp_path / "whole.y4m", "--duration", 70)
    whole = y4m_planes((tmp_path / "whole.y4m").read_bytes())
    assert y4m_planes(out.read_bytes()) == whole[1500:1550]


def test_the_benchmark(tmp_path):
    out = tmp_path / "seek.json"
    done = benchmarks(
        *("seek", "--minutes", 1, "--minutes", 3, "--size", "32x32"),
        *("--places", 2, "--duration", 0.5, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["video_seconds"] for row in rows] == [60, 180]
    assert rows[1]["file_bytes"] > 2.5 * rows[0]["file_bytes"]
    assert all(row["bytes_read"] < row["file_bytes"] / 5 for row in rows)
    own = [row["bytes_read"] - row["of_these_index"] for row in rows]
    assert max(own) < 1.1 * min(own) + io.DEFAULT_BUFFER_SIZE * 2
    assert "bytes_read: the largest is" in done.stdout
