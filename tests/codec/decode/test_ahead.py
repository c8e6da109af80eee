"""decode --workers: the same frames as one process, whatever is asked for or damaged, and no process left."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import unit_offsets
from codec_support import encoded, fail, run, succeed, y4m
from video_support import write_video

import lfqcodec
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.workers import Workers
from lfqcodec.errors import ChecksumMismatch
from lfqcodec.media import Frame


@pytest.fixture(scope="module")
def plain():
    """70 frames in GOPs of one chunk, profile static: units 0 to 4 are chunks."""
    return encoded(y4m(70, (24, 24)), gop=17, profile="static")


def same_events(path: Path, start=None, duration=None, streams=None):
    """What one process and what several make of a file: the same. Gives it, and what is lost."""
    found = []
    for count in (1, 2):
        losses = []
        with open_file(path, device="cpu") as file:
            cut = Cut(file.header, start, duration)
            found.append((list(file.events(cut, streams=streams, damage=losses, workers=count)), losses))
    (one, lost), (many, lost_too) = found
    assert lost_too == lost
    assert len(many) == len(one)
    for a, b in zip(one, many, strict=True):
        assert type(a) is type(b)
        if isinstance(a, Frame):
            assert a.pts == b.pts
            assert np.array_equal(a.rgb, b.rgb)
        else:
            assert a == b
    return one, lost


def test_sound_cuts_and_streams(tmp_path):
    """With GOPs of two chunks; a cut within GOPs has sound of the one before, too."""
    clip = write_video(tmp_path / "a.mp4", frames=100, size=(24, 24), audio="aac", seconds=4.0)
    path = tmp_path / "a.lfq"
    lfqcodec.encode(clip, path, gop=33, device="cpu")
    events, losses = same_events(path)
    assert losses == []
    assert sum(isinstance(event, Frame) for event in events) == 100
    assert len(events) > 150
    events, _ = same_events(path, start=Fraction(3, 2), duration=Fraction(2), streams=1)
    assert sum(isinstance(event, Frame) for event in events) == 50


def test_damage(plain, tmp_path):
    """A chunk, a stream, and a chunk whose checksums are right and whose tokens are not."""
    offsets = unit_offsets(plain)
    path = tmp_path / "a.lfq"
    bad = bytearray(plain)
    bad[offsets[1] + 13] ^= 1
    bad[offsets[3] - 9] ^= 1
    path.write_bytes(bad)
    _, losses = same_events(path)
    assert [(loss.kind, loss.first_frame, loss.frames) for loss in losses] == [
        ("frames", 17, 17),
        ("detail", 34, 17),
    ]
    with pytest.raises(ChecksumMismatch), open_file(path, device="cpu") as file:
        list(file.events(Cut(file.header, None, None), workers=2))


def test_a_file_cut_off(plain, tmp_path):
    """There is no index, and nothing says how many GOPs there are."""
    path = tmp_path / "a.lfq"
    path.write_bytes(plain[: unit_offsets(plain)[4] + 20])
    events, losses = same_events(path)
    assert len(events) == 68
    assert [loss.kind for loss in losses] == ["end"]


def test_numerics_that_differ(plain, tmp_path, monkeypatch):
    """What goes wrong in a worker goes wrong here too, and is told here."""
    path = tmp_path / "a.lfq"
    path.write_bytes(encoded(y4m(34, (24, 24)), gop=17))
    monkeypatch.setattr(Workers, "take", lambda self: self._busy and _fail())

    def decoded():
        with open_file(path, device="cpu") as file:
            return list(file.events(Cut(file.header, None, None), damage=[], workers=2))

    assert len(decoded()) == 34

    def wrong(tokens, head, stage, profile):
        raise lfqcodec.NumericsMismatch("other numbers")

    monkeypatch.setattr("lfqcodec.codec.tokens.check_tokens", wrong)
    with pytest.raises(lfqcodec.NumericsMismatch):
        decoded()


def _fail():
    raise lfqcodec.NumericsMismatch("in a worker")


def test_a_large_gop_is_decoded_here(tmp_path, monkeypatch):
    """33 and 2 frames; no worker gets the first GOP."""
    path = tmp_path / "a.lfq"
    path.write_bytes(encoded(y4m(35, (24, 24)), gop=33))
    given = []
    give = Workers.give
    monkeypatch.setattr(Workers, "give", lambda self, job: (given.append(len(job)), give(self, job)))
    monkeypatch.setattr("lfqcodec.codec.decode.ahead.MOST_BYTES", 32 * 24 * 24 * 3)
    events, _ = same_events(path)
    assert len(events) == 35
    assert given == [1]


def test_a_worker_that_dies_is_named(plain, tmp_path, monkeypatch):
    path = tmp_path / "a.lfq"
    path.write_bytes(plain)

    def lost(self, job):
        process = self._idle.popleft()
        self._busy.append(process)
        process.kill()

    monkeypatch.setattr(Workers, "give", lost)
    with pytest.raises(lfqcodec.LfqError, match=r"of the decoder ended early \(SIGKILL\)"):
        lfqcodec.decode(path, tmp_path / "a.mkv", workers=2, device="cpu")
    assert not (tmp_path / "a.mkv").exists()


def test_no_process_is_left(plain, tmp_path, monkeypatch):
    """When the one who takes the frames stops in between."""
    path = tmp_path / "a.lfq"
    path.write_bytes(plain)
    seen = []
    close = Workers.close
    monkeypatch.setattr(Workers, "close", lambda self: (seen.extend((*self._idle, *self._busy)), close(self)))
    with open_file(path, device="cpu") as file:
        events = file.events(Cut(file.header, None, None), damage=[], workers=2)
        next(events)
        events.close()
    assert len(seen) == 2
    assert all(process.poll() is not None for process in seen)


def test_one_gop_takes_no_workers(tmp_path, monkeypatch):
    path = tmp_path / "a.lfq"
    path.write_bytes(encoded(y4m(5, (24, 24)), profile="static"))
    monkeypatch.setattr(Workers, "__init__", lambda *_: 1 // 0)
    assert lfqcodec.decode(path, tmp_path / "a.mkv", workers=8, device="cpu").frames == 5


def test_the_command(plain, tmp_path):
    path = tmp_path / "a.lfq"
    path.write_bytes(plain)
    for workers in (1, 2):
        succeed("decode", path, tmp_path / f"{workers}.y4m", "--workers", workers)
    assert (tmp_path / "1.y4m").read_bytes() == (tmp_path / "2.y4m").read_bytes()
    # A pipe has no second place to read at.
    done = run("decode", "-", "-", "--workers", 2, input=plain)
    assert done.stdout == (tmp_path / "1.y4m").read_bytes()
    assert "--workers" in fail(2, "decode", path, tmp_path / "b.y4m", "--workers", 0)
    with pytest.raises(lfqcodec.LfqError, match="at least 1"):
        lfqcodec.decode(path, io.BytesIO(), workers=0)
