"""Damaged .lfq files: what is not damaged is exact, what is lost is concealed, told, and repairable."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from bitstream_helpers import patch_header, unit_offsets
from codec_support import (
    clip_of,
    contents,
    encoded,
    fail,
    frames_of,
    heads_of,
    no_leftovers,
    run,
    same_frames,
    succeed,
)
from fixture_model import PROFILES
from video_support import pipe, read_all, write_video

import lfqcodec
from lfqcodec.bitstream import BitstreamReader, Chunk, Packets
from lfqcodec.codec.decode.conceal import blend
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.encode.source import chunk as source_chunk
from lfqcodec.codec.repair.damage import Loss, clock
from lfqcodec.codec.repair.repair import repair
from lfqcodec.codec.tokens import TokenDecoder
from lfqcodec.errors import BitstreamError, ChecksumMismatch, DamageConcealed
from lfqcodec.media import Frame

WHERE = ["sync", "type", "head length", "body length", "head", "head CRC", "body", "body CRC", "all"]


@pytest.fixture(scope="module")
def variable(tmp_path_factory):
    """60 frames on a millisecond clock, one chunk a GOP (17, 17, 17, 9 frames)."""
    steps = np.random.default_rng(2).integers(10, 90, 59)
    path = tmp_path_factory.mktemp("vfr") / "a.mp4"
    times = [0, *np.cumsum(steps).tolist()]
    write_video(path, frames=60, size=(24, 24), pts=times, time_base=Fraction(1, 1000), rate=30)
    return encoded(path, gop=17, profile="static")


@pytest.fixture(scope="module")
def sounding(tmp_path_factory):
    """100 frames with AAC; units: chunk, chunk, packets, and so on."""
    path = tmp_path_factory.mktemp("sound") / "a.mp4"
    write_video(path, frames=100, size=(24, 24), audio="aac", seconds=4.0)
    return encoded(path, gop=33, profile="static")


def spoil(data, unit, where, offsets=None):
    """Destroy a part of a unit, or all of it."""
    offsets = offsets or unit_offsets(data)
    start, end = offsets[unit], offsets[unit + 1]
    if where == "all":
        return data[:start] + np.random.default_rng(unit).bytes(end - start) + data[end:]
    head = int.from_bytes(data[start + 4 : start + 6], "little")
    at = {"sync": 0, "type": 3, "head length": 4, "body length": 6, "head": 13, "head CRC": 10 + head}
    at |= {"body": 20 + head, "body CRC": end - start - 1}
    place = start + at[where]
    return data[:place] + bytes((data[place] ^ 0x10,)) + data[place + 1 :]


def salvaged(data, stream=io.BytesIO, **cut):
    """All frames of a damaged file, and what it lost."""
    losses: list[Loss] = []
    with lfqcodec.open(stream(data), device="cpu") as video:
        return list(video.frames(damage=losses, **cut)), losses


def same_but(got, wanted, lost):
    """Equal times everywhere, equal pictures outside of `lost`."""
    assert [f.pts for f in got] == [f.pts for f in wanted]
    differ = {i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if not np.array_equal(a.rgb, b.rgb)}
    assert differ <= set(lost)


# One chunk destroyed ------------------------------------------------------------------------------


LOST = {0: range(33), 1: range(17, 33), 2: range(33, 66), 3: range(50, 66), 4: range(66, 80)}


@pytest.mark.parametrize(
    ("unit", "where"),
    [
        *((2, where) for where in WHERE),
        *((unit, where) for unit in (0, 1, 3, 4) for where in ("head", "body", "all")),
    ],
)
def test_damage_stays_in_its_gop(steady, frames, unit, where):
    lost = LOST[unit]
    data = spoil(steady, unit, where)
    got, losses = salvaged(data)
    (loss,) = losses
    if where == "body CRC":
        # The checksums of the tokens say that the payload is right.
        same_but(got, frames, ())
        assert (loss.kind, loss.first_frame, loss.frames) == ("detail", lost[0], 0)
    else:
        same_but(got, frames, lost)
        assert (loss.kind, loss.first_frame, loss.frames) == ("frames", lost[0], len(lost))
    assert loss.start == lost[0] / 25
    assert loss.end == (lost[-1] + 1) / 25 or where == "body CRC"
    assert loss.faults >= 1
    assert loss.offset is not None
    with pytest.raises(BitstreamError):
        frames_of(data)  # the API is strict unless asked
    if where in ("head", "body", "all"):
        # A pipe is as good as a file.
        again, same = salvaged(data, pipe)
        assert same_frames(again, got)
        assert [f.pts for f in again] == [f.pts for f in got]
        assert same == losses


def test_every_byte_of_a_chunk(steady, frames):
    """Any single byte, and any number of bytes lost or added inside of it."""
    start, end = unit_offsets(steady)[2:4]
    rng = np.random.default_rng(0)
    for at in rng.choice(np.arange(start + 1, end), 12, replace=False):
        for data in (
            steady[:at] + bytes((steady[at] ^ int(rng.integers(1, 256)),)) + steady[at + 1 :],
            steady[:at] + steady[min(end, at + int(rng.integers(1, 60))) :],
            steady[:at] + rng.bytes(30) + steady[at:],
        ):
            got, losses = salvaged(data)
            same_but(got, frames, range(33, 66))
            # In the second stream they cost detail of the chunk, elsewhere the GOP.
            # Where there are fewer or more bytes, the index is not where the trailer says.
            told = [(loss.kind, loss.frames) for loss in losses if loss.kind != "index"]
            assert told in ([("frames", 33)], [("detail", 17)])


def test_two_gops_in_a_row(steady, frames):
    for first, second in (("head", "head"), ("body", "all"), ("all", "body")):
        got, losses = salvaged(spoil(spoil(steady, 1, first), 2, second, unit_offsets(steady)))
        same_but(got, frames, range(17, 66))
        assert sum(loss.frames for loss in losses) == 49


def test_a_whole_gop_taken_out(steady, frames):
    """Its bytes are gone, not only wrong: the index no longer fits, and the chunks behind say what lacks."""
    offsets = unit_offsets(steady)
    got, losses = salvaged(steady[: offsets[2]] + steady[offsets[4] :])
    same_but(got, frames, range(33, 66))
    assert [loss.frames for loss in losses if loss.kind == "frames"] == [33]


def test_variable_frame_times(variable):
    """A head that can be read keeps its times; where it cannot, GOPs beside it do, and the count is right."""
    wanted = frames_of(variable)
    for stream in (io.BytesIO, pipe):
        for unit in range(4):
            lost = range(17 * unit, min(60, 17 * unit + 17))
            got, losses = salvaged(spoil(variable, unit, "body"), stream)
            same_but(got, wanted, lost)
            got, losses = salvaged(spoil(variable, unit, "all"), stream)
            outside = [i for i in range(60) if i not in lost]
            assert len(got) == 60
            assert all(a.pts < b.pts for a, b in pairwise(got))
            shift = got[-1].pts - wanted[-1].pts if unit == 0 and stream is pipe else 0
            assert [got[i].pts - shift for i in outside if i] == [wanted[i].pts for i in outside if i]
            assert same_frames([got[i] for i in outside], [wanted[i] for i in outside])
            assert losses[0].frames == len(lost)


def test_tokens_that_do_not_decode(steady, frames, monkeypatch):
    """Checksums of units are right, those of tokens are not: the GOP is lost, no more."""
    plain = TokenDecoder.groups

    def broken(self, chunk, streams=None):
        first, *others = plain(self, chunk, streams)
        yield first
        if chunk.head.number == 2:
            raise ChecksumMismatch("tokens", offset=chunk.head.offset, chunk=2)
        yield from others

    monkeypatch.setattr(TokenDecoder, "groups", broken)
    got, losses = salvaged(steady)
    same_but(got, frames, range(33, 66))
    assert [(loss.first_frame, loss.frames) for loss in losses] == [(33, 33)]


def test_random_damage(steady, frames):
    """Whatever is broken behind the header: no other error, no wrong picture where no loss is told."""
    rng = np.random.default_rng(1)
    header = unit_offsets(steady)[0]
    for _ in range(15):
        data = bytearray(steady)
        for _ in range(rng.integers(1, 4)):
            kind, at = rng.integers(0, 3), int(rng.integers(header, len(data)))
            if kind == 0:
                data[at] ^= int(rng.integers(1, 256))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 400))]
            else:
                data[at:at] = rng.bytes(int(rng.integers(1, 400)))
        losses: list[Loss] = []
        try:
            got, losses = salvaged(bytes(data))
        except BitstreamError:
            continue  # no chunk is left
        assert losses
        lost = {i for loss in losses for i in range(loss.first_frame, loss.first_frame + loss.frames)}
        end = [loss.first_frame for loss in losses if loss.kind == "end"]
        same_but(got, frames[: end[0]] if end else frames, lost)


# What is shown instead ----------------------------------------------------------------------------


def test_hold_and_fade(steady, frames):
    """33 lost frames: the last good one for 0.82 s, then half a second into the next."""
    got, _ = salvaged(spoil(steady, 2, "all"))
    before, after = frames[32].rgb, frames[66].rgb
    assert all(np.array_equal(got[i].rgb, before) for i in range(33, 53))
    steps = [np.abs(got[i].rgb.astype(int) - before).mean() for i in range(53, 67)]
    assert all(a < b for a, b in pairwise(steps))
    assert steps[-1] == pytest.approx(np.abs(after.astype(int) - before).mean())
    assert not np.array_equal(got[65].rgb, after)


def test_blend():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert [int(blend(black, white, share)[0, 0, 0]) for share in (0, 1, 128, 255, 256)] == [
        0,
        1,
        128,
        254,
        255,
    ]
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    assert all(np.array_equal(blend(noise, noise, share), noise) for share in range(257))


def test_start_and_end_are_held(steady, frames):
    got, _ = salvaged(spoil(steady, 0, "all"))
    assert all(np.array_equal(frame.rgb, frames[33].rgb) for frame in got[:33])
    got, _ = salvaged(spoil(steady, 4, "all"))
    assert all(np.array_equal(frame.rgb, frames[65].rgb) for frame in got[66:])


def test_nothing_left(steady, tmp_path):
    data = steady
    for unit in range(5):
        data = spoil(data, unit, "body", unit_offsets(steady))
    (tmp_path / "a.lfq").write_bytes(data)
    with pytest.raises(BitstreamError, match="damaged"):
        salvaged(data)
    assert "damaged" in fail(4, "decode", tmp_path / "a.lfq", tmp_path / "a.mkv", "--best-effort")
    assert "nothing can be kept" in fail(4, "repair", tmp_path / "a.lfq", tmp_path / "b.lfq")
    assert list(contents(tmp_path)) == ["a.lfq"]


# A part of a damaged file -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["head", "body", "all"])
def test_a_cut_of_a_damaged_file(steady, frames, where):
    data = spoil(steady, 2, where)
    for stream in (io.BytesIO, pipe):
        for start, count in ((0, 33), (66, 14), (70, 3)):
            # Beside the damage: nothing is lost of what was asked for.
            got, losses = salvaged(
                data, stream, start=Fraction(start, 25) if start else None, duration=Fraction(count, 25)
            )
            assert same_frames(got, frames[start : start + count])
            assert losses == []
        for start, count in ((20, 20), (40, 5), (33, 33), (60, 20)):
            got, losses = salvaged(data, stream, start=Fraction(start, 25), duration=Fraction(count, 25))
            assert [frame.pts for frame in got] == list(range(count))
            for number, frame in enumerate(got, start):
                assert number in range(33, 66) or np.array_equal(frame.rgb, frames[number].rgb)
            assert [loss.frames for loss in losses] == [33]


# Sound ---------------------------------------------------------------------------------------------


def packets_of(data, losses=None):
    with lfqcodec.open(io.BytesIO(data), device="cpu") as video:
        cut = Cut(video.header, None, None)
        return [e for e in video.events(cut, damage=losses) if not isinstance(e, Frame)]


def kinds(data):
    return [type(unit) for unit in BitstreamReader(io.BytesIO(data))]


def test_sound_stays_in_place(sounding, tmp_path):
    wanted = packets_of(sounding)
    assert len(wanted) > 150
    units = kinds(sounding)
    for unit in (0, 4, len(units) - 2):
        assert units[unit] is Chunk
        for where in ("head", "body", "all"):
            losses: list[Loss] = []
            assert packets_of(spoil(sounding, unit, where), losses) == wanted
            assert [loss.kind for loss in losses] == ["frames"]
    (tmp_path / "whole.lfq").write_bytes(sounding)
    (tmp_path / "bad.lfq").write_bytes(spoil(sounding, 4, "all"))
    for name in ("a.mp4", "a.mkv"):
        for source, dest in (("whole", f"whole-{name}"), ("bad", f"bad-{name}")):
            lfqcodec.decode(tmp_path / f"{source}.lfq", tmp_path / dest, best_effort=True)
        (_, whole, sound), (_, bad, same) = (read_all(tmp_path / f"{k}-{name}") for k in ("whole", "bad"))
        assert [f.pts for f in whole] == [f.pts for f in bad]
        assert [(p.pts, p.data) for p in sound] == [(p.pts, p.data) for p in same]


def test_lost_sound_costs_no_picture(sounding):
    wanted, before = frames_of(sounding), packets_of(sounding)
    unit = kinds(sounding).index(Packets, 4)
    for where in ("head", "body", "all"):
        data = spoil(sounding, unit, where)
        got, losses = salvaged(data)
        assert same_frames(got, wanted)
        (loss,) = losses
        assert (loss.kind, loss.frames) == ("data", 0)
        assert "sound" in str(loss)
        left = packets_of(data, [])
        assert 50 < len(left) < len(before)
        assert [p for p in before if p in left] == left


# Cut off, without an index --------------------------------------------------------------------------


def test_a_file_cut_off_plays_up_to_the_cut(steady, frames, tmp_path):
    offsets = unit_offsets(steady)
    for end, kept in (
        (offsets[1], 17),
        (offsets[1] + 5, 17),
        (offsets[2] - 1, 17),
        (offsets[4] - 1, 50),
        (offsets[4] + 40, 66),
        (offsets[5], 80),
        (offsets[6], 80),
        (len(steady) - 1, 80),
    ):
        for stream in (io.BytesIO, pipe):
            got, losses = salvaged(steady[:end], stream)
            same_but(got, frames[:kept], ())
            (loss,) = losses
            assert loss.kind == ("index" if kept == 80 else "end")
            assert (loss.first_frame, loss.start) == (kept, kept / 25)
    path = tmp_path / "cut.lfq"
    path.write_bytes(steady[: offsets[4] + 40])
    text = succeed("decode", path, tmp_path / "a.y4m", "--best-effort")
    assert text.startswith("66 frames")
    with pytest.raises(BitstreamError):
        salvaged(steady[: offsets[1] - 1])


@pytest.mark.parametrize("unit", [5])
@pytest.mark.parametrize("where", WHERE)
def test_a_broken_index_loses_nothing(steady, frames, unit, where):
    got, losses = salvaged(spoil(steady, unit, where))
    assert same_frames(got, frames)
    assert [loss.kind for loss in losses] == ["index"]


# The command ------------------------------------------------------------------------------------------


def test_decode_tells_and_fails(steady, tmp_path):
    path, out = tmp_path / "bad.lfq", tmp_path / "out.y4m"
    path.write_bytes(spoil(steady, 2, "body"))
    done = run("decode", path, out)
    assert done.returncode == 4
    damage, last = done.stderr.decode().splitlines()
    assert damage.startswith("damage: 0:01.320 to 0:02.640: frames 33 to 65 are lost: ")
    assert "unit body is damaged (chunk 2, byte " in damage
    assert last.startswith(f"lfqcodec: {path}: is damaged, 33 frames lost and concealed")
    assert "--best-effort" in last
    assert out.read_bytes().count(b"FRAME\n") == 80
    again = run("decode", path, out, "-f", "--best-effort")
    assert again.returncode == 0
    assert again.stderr.decode().splitlines() == [damage]
    no_leftovers(tmp_path)


def test_decode_json(steady, tmp_path):
    path = tmp_path / "bad.lfq"
    path.write_bytes(spoil(steady, 0, "all"))
    for options, code in (((), 4), (("--best-effort",), 0)):
        done = run("decode", path, tmp_path / "out.mkv", "-f", "--json", *options)
        assert done.returncode == code
        report = json.loads(done.stdout)
        assert (report["frames"], report["lost_frames"]) == (80, 33)
        (loss,) = report["damage"]
        assert (loss["kind"], loss["start"], loss["end"]) == ("frames", 0.0, 1.32)
        assert (loss["first_frame"], loss["frames"]) == (0, 33)
        assert loss["cause"]
    (tmp_path / "good.lfq").write_bytes(steady)
    report = json.loads(succeed("decode", tmp_path / "good.lfq", tmp_path / "out.mkv", "-f", "--json"))
    assert (report["lost_frames"], report["damage"]) == (0, [])


def test_api_raises_with_the_report(steady, tmp_path):
    data = spoil(steady, 3, "head")
    with pytest.raises(DamageConcealed, match="16 frames lost") as caught:
        lfqcodec.decode(io.BytesIO(data), tmp_path / "a.y4m")
    report = lfqcodec.decode(io.BytesIO(data), tmp_path / "b.y4m", best_effort=True)
    assert caught.value.report.damage == report.damage
    assert caught.value.exit_code == 4
    assert (tmp_path / "a.y4m").read_bytes() == (tmp_path / "b.y4m").read_bytes()


def test_through_pipes(steady):
    done = run("decode", "-", "-", input=spoil(steady, 3, "all"))
    assert done.returncode == 4
    assert done.stdout.count(b"FRAME\n") == 80
    assert b"damage: 0:02.000 to 0:02.640: frames 50 to 65" in done.stderr


def test_clock():
    assert [clock(t) for t in (0, 1.32, 59.9996, 61.5, 3723.04)] == [
        *("0:00.000", "0:01.320", "1:00.000", "1:01.500", "1:02:03.040")
    ]


# Repair -------------------------------------------------------------------------------------------------


def mended(data, tmp_path):
    (tmp_path / "bad.lfq").write_bytes(data)
    report = repair(tmp_path / "bad.lfq", tmp_path / "new.lfq", overwrite=True)
    new = (tmp_path / "new.lfq").read_bytes()
    assert report.file_bytes == len(new)
    reader = BitstreamReader(io.BytesIO(new))
    list(reader)
    assert reader.complete
    with lfqcodec.open(io.BytesIO(new), device="cpu") as video:
        list(video.tokens())
        assert video.stored_index().frames == video.header.frame_count == report.frames
        assert len(video.stored_index().entries) == report.gops
    return report, new


def test_repair_of_index_and_trailer_gives_the_file_back(steady, sounding, tmp_path):
    for data in (steady, sounding):
        offsets = unit_offsets(data)
        index, trailer = offsets[-2], offsets[-1]
        broken = [data[:index], data[: index + 9], data[: trailer + 3], data + b"garbage"]
        broken += [spoil(data, len(offsets) - 2, where) for where in WHERE]
        broken += [data[: trailer + 2] + b"\xff" + data[trailer + 3 :], data[:-1] + b"x"]
        for each in broken:
            report, new = mended(each, tmp_path)
            assert new == data
            assert (report.lost_frames, report.renumbered) == (0, 0)
            assert not report.was_whole
        report, new = mended(data, tmp_path)
        assert new == data
        assert report.was_whole


def test_repair_of_an_interrupted_encode(steady, tmp_path):
    """Its header does not know the number of frames yet."""
    count = 24
    offsets = unit_offsets(steady)
    cut = patch_header(steady, count, b"\xff" * 8)[: offsets[3] + 20]
    report, new = mended(cut, tmp_path)
    assert (report.frames, report.chunks, report.gops) == (50, 3, 2)
    assert new[offsets[0] : offsets[3]] == steady[offsets[0] : offsets[3]]
    assert report.index is not None


@pytest.mark.parametrize("where", ["head", "body", "all"])
def test_repair_keeps_every_good_chunk(steady, frames, tmp_path, where):
    before = list(BitstreamReader(io.BytesIO(steady)))
    for unit, kept in (
        (0, [2, 3, 4]),
        (1, [0, 2, 3, 4]),
        (2, [0, 1, 4]),
        (3, [0, 1, 2, 4]),
        (4, [0, 1, 2, 3]),
    ):
        report, new = mended(spoil(steady, unit, where), tmp_path)
        after = list(BitstreamReader(io.BytesIO(new)))
        assert [chunk.head.pts for chunk in after] == [before[k].head.pts for k in kept]
        for chunk, k in zip(after, kept, strict=True):
            old = before[k]
            assert all(np.array_equal(a, b) for a, b in zip(chunk.streams, old.streams, strict=True))
            if k < unit:
                same = slice(old.head.offset, old.head.offset + old.head.size)
                assert new[same] == steady[same]
        got = frames_of(new)
        left = [f for f in frames if any(f.pts in before[k].head.pts for k in kept)]
        assert same_frames(got, left)
        # Times stay: the lost part is a pause.
        with lfqcodec.open(io.BytesIO(new), device="cpu") as video:
            moved = [f.pts for f in left]
            assert [f.pts - got[0].pts for f in got] == [pts - moved[0] for pts in moved]
            assert video.index().end_pts == before[kept[-1]].head.end_pts
        assert report.lost_frames == 80 - report.frames
        assert report.renumbered == sum(k > unit for k in kept)


def test_repair_keeps_sound(sounding, tmp_path):
    report, new = mended(spoil(sounding, 0, "all"), tmp_path)
    with lfqcodec.open(io.BytesIO(new)) as video:
        got = [p for unit in video.units() if isinstance(unit, Packets) for p in unit.packets]
    with lfqcodec.open(io.BytesIO(sounding)) as video:
        wanted = [p for unit in video.units() if isinstance(unit, Packets) for p in unit.packets]
    assert got == wanted
    assert report.lost_frames == 33


def test_repair_command(steady, tmp_path):
    bad, out = tmp_path / "bad.lfq", tmp_path / "out.lfq"
    bad.write_bytes(steady[: unit_offsets(steady)[5]])
    done = run("repair", bad, out)
    assert done.returncode == 0
    assert done.stdout.decode().startswith(f"{out}: index rebuilt, 80 frames in 3 GOPs kept, ")
    assert b"damage: the index is damaged or missing, no frame is lost" in done.stderr
    assert out.read_bytes() == steady
    assert succeed("verify", out).endswith("ok, 80 frames in 5 chunks\n")
    assert "exists already" in fail(1, "repair", bad, out)
    assert "same file" in fail(1, "repair", bad, bad, "-f")
    assert "No such file" in fail(3, "repair", tmp_path / "none.lfq", out, "-f")
    bad.write_bytes(spoil(steady, 2, "all"))
    done = run("repair", bad, out, "-f", "--json")
    report = json.loads(done.stdout)
    assert (report["frames"], report["lost_frames"], report["renumbered"]) == (47, 33, 1)
    assert b"damage: 0:01.320 to 0:02.640: frames 33 to 65 are lost" in done.stderr
    piped = run("repair", bad, "-")
    assert piped.returncode == 0
    assert run("verify", "-", input=piped.stdout).returncode == 0
    bad.write_bytes(steady[:30] + b"\1" + steady[31:])
    assert "header is damaged" in fail(4, "repair", bad, out, "-f")
    no_leftovers(tmp_path)


# Streams that are lost ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=PROFILES)
def busy(request):
    """42 frames of noise that moves, in GOPs of 33 and 9 frames: chunks 0 1, 2; two streams."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    noise = noise.repeat(4, 0).repeat(4, 1)
    pictures = [noise[i : i + 48, 2 * (i % 24) : 2 * (i % 24) + 64] for i in range(42)]
    with pytest.MonkeyPatch.context() as patch:
        # Groups of one picture have no second stream.
        patch.setattr(source_chunk, "best_group_size", lambda change: 4)
        return encoded(clip_of(pictures), gop=33, scene_cuts=False, **PROFILES[request.param])


@pytest.fixture(scope="module")
def shown(busy):
    return frames_of(busy)


def spoil_stream(data, number, stream):
    """Flip a bit in the last word of a stream of a chunk: what is decoded first lies at the front."""
    head = heads_of(data)[number]
    body = head.offset + head.size - 4 - 4 * sum(head.words)
    at = body + 4 * sum(head.words[: stream + 1]) - 2
    return data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]


def error_of(frames, wanted):
    pairs = zip(frames, wanted, strict=True)
    return float(np.mean([np.square(a.rgb.astype(float) - b.rgb).mean() for a, b in pairs]))


def test_a_lost_second_stream_costs_detail_only(busy, shown):
    """Pictures between anchors of its chunk are predictions, closer than a held picture; others are exact."""
    for chunk, begin, end, stream in ((0, 0, 17, io.BytesIO), (1, 17, 33, pipe), (2, 33, 42, io.BytesIO)):
        got, losses = salvaged(spoil_stream(busy, chunk, 1), stream)
        # The anchors are every fourth picture from the first of the GOP on.
        start = end - end % 33 if end % 33 else 0
        same_but(got, shown, [i for i in range(begin, end) if (i - start) % 4])
        (loss,) = losses
        assert (loss.kind, loss.first_frame, loss.frames) == ("detail", begin, end - begin)
        assert loss.streams == (1, 2)
        assert (loss.start, loss.end, loss.faults) == (begin / 25, end / 25, 1)
        assert "shown with 1 of 2" in str(loss)
        assert f"unit body is damaged (chunk {chunk}" in str(loss)
        held = [Frame(f.pts, shown[max(0, begin - 1)].rgb) for f in shown[begin:end]]
        assert 0 < error_of(got[begin:end], shown[begin:end]) < error_of(held, shown[begin:end])


def test_a_lost_first_stream_is_held(busy, shown):
    got, losses = salvaged(spoil_stream(busy, 1, 0))
    same_but(got, shown, range(17, 33))
    assert [(loss.kind, loss.first_frame, loss.frames) for loss in losses] == [("frames", 17, 16)]


def test_two_losses_in_a_gop(busy, shown):
    """Of two chunks in a row one line tells; where the first stream is lost nothing goes on."""
    got, losses = salvaged(spoil_stream(spoil_stream(busy, 0, 1), 1, 1))
    same_but(got, shown, range(33))
    assert [(loss.kind, loss.frames, loss.streams, loss.faults) for loss in losses] == [
        ("detail", 33, (1, 2), 2)
    ]
    got, losses = salvaged(spoil_stream(spoil_stream(busy, 0, 1), 1, 0))
    same_but(got, shown, range(33))
    assert [(loss.kind, loss.first_frame, loss.frames) for loss in losses] == [
        ("detail", 0, 17),
        ("frames", 17, 16),
    ]


def test_the_first_stream_stays_exact(busy):
    """Asked for no more than that, the file is as good as whole, and says that it is not."""
    bad = spoil_stream(busy, 0, 1)
    got, losses = salvaged(bad, streams=1)
    assert same_frames(got, frames_of(busy, streams=1))
    assert [(loss.kind, loss.frames) for loss in losses] == [("detail", 0)]
    assert "no frame is lost" in str(losses[0])


def test_a_cut_behind_lost_detail(busy, shown):
    """Nothing of it is worse, and so nothing is told."""
    bad = spoil_stream(busy, 0, 1)
    for start, count in ((20, 5), (33, 9)):
        got, losses = salvaged(bad, start=Fraction(start, 25), duration=Fraction(count, 25))
        assert same_frames(got, shown[start : start + count])
        assert losses == []


def test_decode_tells_of_lost_detail(busy, tmp_path):
    (tmp_path / "bad.lfq").write_bytes(spoil_stream(busy, 1, 1))
    done = run("decode", tmp_path / "bad.lfq", tmp_path / "a.mkv", "--json")
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert (report["frames"], report["lost_frames"], report["degraded_frames"]) == (42, 0, 16)
    assert report["damage"][0]["streams"] == [1, 2]
    assert b"no frame lost, 16 with less detail; with --best-effort" in done.stderr
    assert b"damage: 0:00.680 to 0:01.320: frames 17 to 32 are shown with 1 of 2" in done.stderr
