"""What reading past damage and writing on rest on: heads of lost chunks, bodies left unread, units copied."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from bitstream_helpers import HEADER, Pipe, header_length, make_file, unit_offsets, without_streams

from lfqcodec import errors
from lfqcodec.bitstream import BitstreamReader, BitstreamWriter, Chunk, ChunkHead, PassedOver
from lfqcodec.codec.repair import salvage
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.gaps import Edge, Gap, Known, Spread, place
from lfqcodec.codec.repair.salvage import Salvage, Use, Used

STEPS = (3, 1, 7, 2, 2)
# Units: 0 1 2 chunks of GOP 0, 3 4 of GOP 1, 5 6 7 of GOP 2, 8 index.
LONG, _ = make_file(
    ((17, 16, 16), (17, 16), (17, 16, 1)), header=without_streams(gop_chunks=3), durations=STEPS
)
OFFSETS = unit_offsets(LONG)
HEADS = [unit.head for unit in BitstreamReader(io.BytesIO(LONG)) if isinstance(unit, Chunk)]


def flip(data, at):
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def spoil_body(data, unit):
    return flip(data, OFFSETS[unit + 1] - 5)


def spoil_head(data, unit):
    return flip(data, OFFSETS[unit] + 13)


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
def test_heads_of_lost_chunks(stream):
    """Behind a damaged body numbers and times go on, also where a chunk leaves them to the one before."""
    reader = BitstreamReader(stream(spoil_body(LONG, 0)))
    fault = reader.step()
    assert isinstance(fault.error, errors.ChecksumMismatch)
    assert fault.broken.head == HEADS[0]
    assert [reader.step() for _ in range(2)] == [PassedOver(head) for head in HEADS[1:3]]
    assert reader.skipped_chunks == 2
    assert [unit.head for unit in reader] == HEADS[3:]
    assert reader.complete


def test_heads_behind_a_lost_head_are_not_known():
    reader = BitstreamReader(io.BytesIO(spoil_head(LONG, 0)))
    fault = reader.step()
    assert isinstance(fault.error, errors.ChecksumMismatch)
    assert fault.broken is None
    assert reader.step().head == HEADS[3]


def test_a_chunk_that_is_cut_off_is_not_counted():
    reader = BitstreamReader(io.BytesIO(LONG[: OFFSETS[2] - 3]))
    assert reader.step().head == HEADS[0]
    fault = reader.step()
    assert isinstance(fault.error, errors.Truncated)
    assert fault.broken is None


def test_a_gop_that_a_caller_gives_up_or_goes_on_with():
    """The heads of what is given up come, and behind a broken chunk the rest can be taken as it is."""
    reader = BitstreamReader(io.BytesIO(spoil_body(LONG, 1)))
    assert reader.step().head == HEADS[0]
    assert reader.step().broken.head == HEADS[1]
    reader.keep_gop()
    assert reader.step().head == HEADS[2]
    assert isinstance(reader.step(), Chunk)
    reader.skip_gop()
    assert reader.step() == PassedOver(HEADS[4])
    assert [unit.head for unit in reader] == HEADS[5:]


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
def test_bodies_that_are_not_wanted(stream):
    """Their heads come, and damage in them goes unseen."""
    reader = BitstreamReader(stream(spoil_body(LONG, 3)))
    found = []
    while (unit := reader.next_wanted(lambda head: head.number in (1, 5))) is not None:
        found.append(unit)
    assert [unit if isinstance(unit, ChunkHead) else unit.head for unit in found] == HEADS
    assert [isinstance(unit, Chunk) for unit in found] == [k in (1, 5) for k in range(8)]
    assert reader.complete


def test_an_unwanted_body_is_not_waited_for():
    class Live(Pipe):
        def read(self, count=-1):
            assert self.tell_all() < OFFSETS[1] - 1, "reads on"
            return super().read(count)

        def tell_all(self):
            return io.BytesIO.tell(self)

    head = int.from_bytes(LONG[OFFSETS[0] + 4 : OFFSETS[0] + 6], "little")
    reader = BitstreamReader(Live(LONG[: OFFSETS[0] + 14 + head]))
    assert reader.next_wanted(lambda head: False) == HEADS[0]


def test_reading_the_index_does_not_disturb_recovery():
    """Where both are damaged, and the index is asked for between an error and the next unit."""
    data = flip(spoil_body(LONG, 3), OFFSETS[9] - 5)
    reader = BitstreamReader(io.BytesIO(data))
    got = []
    for _ in range(20):
        try:
            unit = reader.next_unit()
        except errors.BitstreamError:
            with pytest.raises(errors.BitstreamError):
                reader.index()
            continue
        if unit is None:
            break
        got.append(unit.head.number)
    assert got == [0, 1, 2, 5, 6, 7]


def test_a_gop_that_is_not_where_the_index_says():
    """The next GOP is taken as it is, not measured by the entry of the lost one."""
    reader = BitstreamReader(io.BytesIO(spoil_head(LONG, 3)))
    reader.seek_gop(reader.index().entries[1])
    with pytest.raises(errors.ChecksumMismatch):
        reader.next_unit()
    assert reader.next_unit().head.number == 5


# Gaps ------------------------------------------------------------------------------------------------


def gaps_of(data, stream=io.BytesIO, index=None):
    losses: list[Loss] = []
    walk = Salvage(BitstreamReader(stream(data)), lambda chunk, _: Use(chunk), index=index)
    times = []
    for item in walk.items():
        if isinstance(item, Used):
            times.append(list(item.head.pts))
        elif isinstance(item, Gap):
            times.append([pts for pts, _ in item.shown()])
            losses.append(item.loss)
        elif isinstance(item, Loss):
            losses.append(item)
    return [pts for part in times for pts in part], losses


EVERY = [pts for head in HEADS for pts in head.pts]


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
@pytest.mark.parametrize("unit", range(8))
def test_times_of_lost_frames(stream, unit):
    times, losses = gaps_of(spoil_body(LONG, unit), stream)
    assert times == EVERY
    times, others = gaps_of(spoil_head(LONG, unit), stream)
    assert len(times) == len(EVERY)
    assert sorted(set(times)) == times
    assert [loss.frames for loss in losses] == [loss.frames for loss in others]
    same = [a == b for a, b in zip(times, EVERY, strict=True)]
    first = HEADS[unit].first_frame
    assert all(same[:first])
    assert all(same[first + losses[0].frames :])


def test_the_index_tells_where_lost_gops_begin():
    data = spoil_head(spoil_head(LONG, 3), 5)
    index = BitstreamReader(io.BytesIO(LONG)).index()
    times, losses = gaps_of(data, index=index)
    assert times[82] == HEADS[5].pts[0]
    assert (losses[0].first_frame, losses[0].frames) == (49, 67)


def test_no_room_for_all():
    """Times that a file cannot have are not made up: strictly increasing, between their neighbours."""
    assert [list(part) for part in place(Edge(5, 10, 12), [], 10, 14, 2)] == [[11, 12, 13]]
    assert place(Edge(5, 10, 12), [], 10, 11, 2) == []
    assert [list(part) for part in place(Edge(0, None, None), [], 3, 0, 4)] == [[-12, -8, -4]]
    known = [Known(6, (20, 25), 30)]
    parts = place(Edge(5, 10, 12), known, 9, 50, 2)
    assert [list(part) for part in parts] == [[12], [20, 25], [30]]
    assert list(Spread(0, 10, 4)) == [0, 2, 5, 7]
    assert Spread(0, 10, 4)[-1] == 7


def test_a_long_loss_takes_no_memory():
    """Steady frames in chunk after chunk are one range."""
    piece = Known.of(replace(HEADS[0], pts=tuple(range(0, 34, 2)), last_duration=2))
    for _ in range(1000):
        head = replace(
            HEADS[0],
            first_frame=piece.behind,
            pts=tuple(range(piece.end, piece.end + 34, 2)),
            last_duration=2,
        )
        piece = piece.joined(Known.of(head))
    assert isinstance(piece.pts, range)
    assert len(piece.pts) == 17 * 1001


def test_a_loss_beyond_reason_is_a_pause(monkeypatch):
    data = spoil_head(LONG, 3)
    monkeypatch.setattr(salvage, "MOST_HELD", 32)
    times, losses = gaps_of(data)
    assert times == [pts for head in (*HEADS[:3], *HEADS[5:]) for pts in head.pts]
    assert [loss.frames for loss in losses] == [33]


# Writing -----------------------------------------------------------------------------------------------


def test_units_are_copied_as_they_are():
    data, _ = make_file(((17, 3), (2,)))
    out = io.BytesIO()
    reader = BitstreamReader(io.BytesIO(data))
    with BitstreamWriter(out, reader.header) as writer:
        for unit in reader:
            raw = data[unit.head.offset : unit.head.offset + unit.head.size]
            writer.copy_unit(raw, unit.head if isinstance(unit, Chunk) else None)
    assert out.getvalue() == data
    writer = BitstreamWriter(io.BytesIO(), reader.header)
    with pytest.raises(errors.InvalidField, match="chunk number 1 where 0 is due"):
        writer.copy_unit(b"", HEADS[1])


@pytest.mark.parametrize("behind", [b"", b"half a chunk"])
def test_going_on_with_a_file(behind):
    """From every border between units: the same bytes as in one go."""
    data, _ = make_file(((17, 3), (17,)))
    reader = BitstreamReader(io.BytesIO(data))
    units, header = list(reader), replace(reader.header, frame_count=None)
    for count in range(len(units) + 1):
        end = units[count - 1].head.offset + units[count - 1].head.size if count else header_length(data)
        file = io.BytesIO(data[:end] + behind)
        heads = [unit.head for unit in units[:count] if isinstance(unit, Chunk)]
        writer = BitstreamWriter(file, header, after=iter(heads), written=end)
        assert (writer.chunks, writer.bytes_written) == (len(heads), end)
        for unit in units[count:]:
            if isinstance(unit, Chunk):
                writer.copy_chunk(unit)
            else:
                writer.write_packets(unit.packets)
        writer.close()
        assert file.getvalue() == data
    with pytest.raises(io.UnsupportedOperation):
        BitstreamWriter(Pipe(), HEADER, after=[], written=0)
