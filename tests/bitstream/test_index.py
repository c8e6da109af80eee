"""Index, trailer and random access."""

from __future__ import annotations

import io

import pytest
from bitstream_helpers import (
    Pipe,
    decode_file,
    make_file,
    same_tokens,
    unit_offsets,
    without_streams,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from token_support import token_decoder

from lfqcodec import errors
from lfqcodec.bitstream import BitstreamReader, Chunk, Index, IndexEntry, Limits
from lfqcodec.bitstream.syntax.index import make_index, pack_index, pack_trailer, parse_index, parse_trailer
from lfqcodec.bitstream.syntax.units import INDEX_UNIT, UnitFrame

BARE = without_streams()
GOPS = ((17, 3), (2,), (17, 16), (1,))
DATA, TOKENS = make_file(GOPS, header=BARE)
INDEX = BitstreamReader(io.BytesIO(DATA)).index()


@st.composite
def indexes(draw):
    entries = [IndexEntry(draw(st.integers(1, 2**40)), 0, draw(st.integers(-(2**63), 2**60)))]
    for _ in range(draw(st.integers(0, 20))):
        last = entries[-1]
        steps = (draw(st.integers(1, n)) for n in (2**30, 2**10, 2**50))
        entries.append(
            IndexEntry(
                last.offset + next(steps), last.first_frame + next(steps), last.first_pts + next(steps)
            )
        )
    last = entries[-1]
    frames = last.first_frame + draw(st.integers(1, 1000))
    return Index(tuple(entries), len(entries) + draw(st.integers(0, 99)), frames, last.first_pts + 1)


@settings(max_examples=150, deadline=None)
@given(indexes())
def test_round_trip(index):
    head, body = pack_index(index)
    frame = UnitFrame(INDEX_UNIT, index.entries[-1].offset + 1, head, len(body))
    assert parse_index(frame, body, Limits()) == index


@given(st.integers(0, 2**62))
def test_trailer_round_trip(offset):
    assert parse_trailer(pack_trailer(offset), offset + 40) == offset
    assert len(pack_trailer(offset)) == 20


def test_contents():
    assert [(entry.first_frame, entry.first_pts) for entry in INDEX.entries] == [
        (0, 0),
        (20, 20),
        (22, 22),
        (55, 55),
    ]
    assert (INDEX.chunks, INDEX.frames, INDEX.end_pts) == (6, 56, 56)


def test_find():
    assert [INDEX.find_pts(pts) for pts in (-5, 0, 19, 20, 54, 55, 999)] == [0, 0, 0, 1, 2, 3, 3]


def test_an_empty_index_is_refused():
    with pytest.raises(errors.InvalidField, match="at least one chunk"):
        make_index([], 0, 0, None)


@pytest.mark.parametrize("gop", range(4))
def test_seek(gop):
    reader = BitstreamReader(io.BytesIO(DATA))
    reader.seek_gop(reader.index().entries[gop])
    decoder = token_decoder(reader.header)
    chunks = [decoder.decode(unit) for unit in reader if isinstance(unit, Chunk)]
    first = sum(len(each) for each in GOPS[:gop])
    assert same_tokens(chunks, TOKENS[first:])
    assert reader.complete


def test_seeking_reads_only_what_it_needs():
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, count=-1):
            data = super().read(count)
            self.bytes_read += len(data)
            return data

    data, _ = make_file(((17, 16),) * 40, header=without_streams(width=64, height=64))
    file = Counting(data)
    reader = BitstreamReader(file)
    reader.seek_gop(reader.index().entries[30])
    chunk = reader.next_unit()
    assert chunk.head.first_frame == 30 * 33
    assert file.bytes_read < len(data) / 20
    file.bytes_read = 0
    file.seek(0)
    assert len(list(BitstreamReader(file).heads())) == 80
    assert file.bytes_read < len(data) / 10


def test_seek_back_and_forth_and_after_the_end():
    reader = BitstreamReader(io.BytesIO(DATA))
    assert len(list(reader)) == 6
    assert reader.next_unit() is None
    for gop in (3, 0, 2, 2, 1):
        reader.seek_gop(INDEX.entries[gop])
        assert reader.next_unit().head.first_frame == INDEX.entries[gop].first_frame


def test_index_keeps_the_position():
    reader = BitstreamReader(io.BytesIO(DATA))
    first = reader.next_unit()
    assert reader.index() == reader.scan_index() == INDEX
    assert (first.head.number, reader.next_unit().head.number) == (0, 1)
    assert len(list(reader)) == 4
    assert reader.complete


def test_reader_starts_where_the_file_stands():
    file = io.BytesIO(b"something before" + DATA)
    file.seek(16)
    reader = BitstreamReader(file)
    assert reader.index() == INDEX
    reader.seek_gop(INDEX.entries[2])
    assert reader.next_unit().head.first_frame == 22


def test_pipes_have_no_random_access():
    reader = BitstreamReader(Pipe(DATA))
    assert not reader.seekable
    for call in (reader.index, reader.scan_index, lambda: reader.seek_gop(INDEX.entries[0])):
        with pytest.raises(io.UnsupportedOperation):
            call()
    assert len(list(reader)) == 6
    assert reader.index() == INDEX


@pytest.mark.parametrize("cut", [1, 19, 20, 21, 60, 100])
def test_a_missing_index_is_made_by_a_scan(cut):
    reader = BitstreamReader(io.BytesIO(DATA[:-cut]))
    with pytest.raises(errors.BitstreamError):
        reader.index()
    found = reader.scan_index()
    assert found.entries == INDEX.entries[: len(found.entries)]
    assert len(found.entries) >= 3
    if cut <= 60:
        assert found == INDEX


def test_a_scan_passes_over_damage():
    at = INDEX.entries[1].offset + 12
    data = DATA[:at] + bytes((DATA[at] ^ 1,)) + DATA[at + 1 :]
    found = BitstreamReader(io.BytesIO(data)).scan_index()
    assert found.entries == (INDEX.entries[0], *INDEX.entries[2:])
    assert (found.chunks, found.frames, found.end_pts) == (6, 56, 56)


def test_nothing_to_scan():
    with pytest.raises(errors.InvalidField, match="at least one chunk"):
        BitstreamReader(io.BytesIO(DATA[:144])).scan_index()
    with pytest.raises(errors.Truncated):
        BitstreamReader(io.BytesIO(DATA[:144])).index()


@pytest.mark.parametrize(
    "entry",
    [
        IndexEntry(INDEX.entries[1].offset, 21, 20),
        IndexEntry(INDEX.entries[1].offset, 20, 21),
        IndexEntry(unit_offsets(DATA)[1], 17, 17),
        IndexEntry(INDEX.entries[1].offset + 1, 20, 20),
        IndexEntry(10**9, 20, 20),
    ],
)
def test_an_index_that_lies_is_noticed(entry):
    reader = BitstreamReader(io.BytesIO(DATA))
    reader.seek_gop(entry)
    with pytest.raises(errors.BitstreamError):
        reader.next_unit()


def test_trailer_that_leads_to_a_chunk():
    for offset in (unit_offsets(DATA)[0], unit_offsets(DATA)[5]):
        with pytest.raises(errors.InvalidField):
            BitstreamReader(io.BytesIO(DATA[:-20] + pack_trailer(offset))).index()


def test_limits():
    with pytest.raises(errors.LimitExceeded, match="GOPs"):
        decode_file(DATA, Limits(max_gops=3))
    with pytest.raises(errors.LimitExceeded, match="frames"):
        decode_file(make_file(header=BARE, out=Pipe())[0], Limits(max_frames=21))
    assert same_tokens(decode_file(DATA, Limits(max_gops=4)), TOKENS)
