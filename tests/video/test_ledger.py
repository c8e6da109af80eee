"""After an encode, what the demuxer gave is compared with what is in the file, and a difference is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from video_support import write_video

from lfqcodec.bitstream import BitstreamReader, Packets
from lfqcodec.codec.encode.encoder import encode
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.encode.source.ledger import Ledger
from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video import Tally
from lfqcodec.video.read.tally import Delivered

CASES = Path(__file__).parent / "cases"
SMALL = EncodeOptions(scale=(16, 16), profile="static", overwrite=True)
AAC = StreamInfo("audio", "aac", Fraction(1, 48000), 48000, 2, "stereo")


def packets(count):
    return [StreamPacket(0, 1024 * k, 1024 * k, 1024, True, b"x") for k in range(count)]


def test_a_difference_is_told():
    ledger = Ledger([AAC])
    ledger.add(packets(40))
    ledger.add(packets(50))
    tally = Tally(25, 25, [Delivered(90, 90 * Fraction(1024, 48000))])
    assert ledger.differences(tally, 25) == ()
    assert ledger.differences(tally, 22) == ("the input has 25 pictures, of which 22 are in the file",)
    tally.streams[0] = Delivered(180, 180 * Fraction(1024, 48000))
    (note,) = ledger.differences(tally, 25)
    assert "3.84 s in the input" in note
    assert "1.92 s are in the file" in note


@pytest.mark.parametrize("name", ["video-is-second-stream.mp4", "two-segments-joined-pts-restart.ts"])
def test_everything_arrives(name, tmp_path):
    dest = tmp_path / "a.lfq"
    report = encode(CASES / name, dest, SMALL)
    assert not any("in the file" in note for note in report.notes)
    with dest.open("rb") as file:
        units = list(BitstreamReader(file))
    copied = sum(len(unit.packets) for unit in units if isinstance(unit, Packets))
    assert (report.frames, copied) == {"v": (25, 45), "t": (100, 176)}[name[0]]


def test_a_recording_that_begins_in_the_middle_is_told(tmp_path):
    whole = write_video(tmp_path / "a.ts", frames=40, size=(160, 120), gop=20, form="mpegts").read_bytes()
    path = tmp_path / "b.ts"
    path.write_bytes(whole[: 188 * 4] + whole[188 * 20 :])
    report = encode(path, tmp_path / "b.lfq", SMALL)
    assert report.frames < 40
    (note,) = [note for note in report.notes if "in the file" in note]
    assert f"of which {report.frames} are" in note
