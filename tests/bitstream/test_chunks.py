"""Chunk units: geometry, round trips of times and GOPs, and one test for each thing that can be wrong."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from bitstream_helpers import (
    Pipe,
    add_chunk,
    decode_chunk,
    decode_file,
    error_of_independent,
    independent,
    join_unit,
    make_file,
    patch_unit,
    put,
    same_tokens,
    split_unit,
    tokens_of,
    u32,
    without_streams,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lfqcodec import errors
from lfqcodec.bitstream import (
    BitstreamReader,
    BitstreamWriter,
    Chunk,
    ChunkHead,
    FileHeader,
    Limits,
    Profile,
    check_tokens,
    drop_stages,
    latent_frames,
    latent_grid,
    max_words,
    token_crc,
)

BARE = without_streams()
# Units: 0 starts a GOP, 17 frames; 1 has 3 frames, all inherited; 2 starts a GOP, 2 frames; 3 is the index.
DATA, TOKENS = make_file(header=BARE)


@pytest.mark.parametrize(
    ("valid", "first", "later"),
    [(1, 1, 1), (2, 2, 1), (4, 2, 1), (5, 2, 2), (6, 3, 2), (9, 3, 3), (13, 4, 4), (16, 5, 4), (17, 5, None)],
)
def test_latent_frames(valid, first, later):
    assert latent_frames(valid, True) == first
    if later is None:
        with pytest.raises(errors.InvalidField):
            latent_frames(valid, False)
    else:
        assert latent_frames(valid, False) == later


@pytest.mark.parametrize("valid", [0, -1, 18])
def test_valid_out_of_range(valid):
    with pytest.raises(errors.InvalidField):
        latent_frames(valid, True)


def test_geometry():
    assert latent_grid(640, 360) == (45, 80)
    assert latent_grid(1, 1) == (1, 1)
    assert latent_grid(9, 17) == (3, 2)
    assert max_words(1) == 4
    assert max_words(18000) == 27002


@st.composite
def videos(draw):
    """GOPs of chunks with frame durations, and pauses before chunks."""
    gops = []
    for _ in range(draw(st.integers(1, 4))):
        full = draw(st.integers(0, 3))
        valids = [17, 16, 16, 16][:full]
        last = draw(st.integers(1, 17 if not valids else 16))
        gops.append([*valids, last])
    duration = draw(st.one_of(st.just(st.just(1)), st.just(st.just(512)), st.just(st.integers(1, 2**32 - 1))))
    pause = draw(st.sampled_from([st.just(0), st.integers(0, 3), st.integers(0, 2**40)]))
    chunks, pts = [], draw(st.integers(-(2**62), 2**62))
    for gop in gops:
        for position, valid in enumerate(gop):
            pts += draw(pause)
            steps = [draw(duration) for _ in range(valid)]
            chunks.append((position == 0, [pts + sum(steps[:k]) for k in range(valid)], steps[-1]))
            pts += sum(steps)
    return chunks


@settings(max_examples=60, deadline=None)
@given(videos(), st.integers(1, 3), st.booleans())
def test_round_trip(chunks, stages, piped):
    header = FileHeader(9, 5, Fraction(1, 1000), max_stages=3, gop_chunks=4)
    rng = np.random.default_rng(0)
    out = Pipe() if piped else io.BytesIO()
    heads, tokens = [], []
    with BitstreamWriter(out, header) as writer:
        for gop_start, pts, last in chunks:
            tokens.append(tokens_of(rng, header, len(pts), gop_start, stages))
            heads.append(add_chunk(writer, tokens[-1], gop_start, pts, last))
    data = out.getvalue()
    reader = BitstreamReader(Pipe(data) if piped else io.BytesIO(data))
    units = list(reader)
    assert [unit.head for unit in units] == heads
    assert [(unit.head.gop_start, list(unit.head.pts), unit.head.last_duration) for unit in units] == chunks
    assert same_tokens([decode_chunk(reader, unit) for unit in units], tokens)
    assert reader.complete
    total = sum(len(pts) for _, pts, _ in chunks)
    assert reader.header.frame_count == (None if piped else total)
    assert [entry.first_pts for entry in reader.index().entries] == [
        pts[0] for start, pts, _ in chunks if start
    ]
    assert (reader.index().chunks, reader.index().frames) == (len(chunks), total)
    found = independent.decode(data, keep_tokens=True)
    assert [(c["gop_start"], c["pts"], c["last_duration"]) for c in found["chunks"]] == chunks
    assert found["tokens"] == [[stage.reshape(-1).tolist() for stage in chunk] for chunk in tokens]


def test_heads_alone():
    whole = [unit.head for unit in BitstreamReader(io.BytesIO(DATA))]
    for stream in (io.BytesIO, Pipe):
        reader = BitstreamReader(stream(DATA))
        assert list(reader.heads()) == whole
        assert reader.complete


def test_sizes_add_up():
    heads = list(BitstreamReader(io.BytesIO(DATA)).heads())
    assert [head.offset for head in heads] == [140, 140 + heads[0].size, 140 + heads[0].size + heads[1].size]
    assert heads[1].size - 4 * sum(heads[1].words) == 18 + 7 + 2 * 5


# Faults -------------------------------------------------------------------------------------------------

# Head of unit 0: flags, valid, stages, number u32, first frame u64 at 7, pts i64 at 15, duration at 23, then
# per stage words (1 byte) and CRC. Head of unit 1: flags, valid, stages, number, then stages at 7.
FAULTS = [
    ("flag 4", 0, put(0, b"\x17"), "InvalidField"),
    ("flag 7", 0, put(0, b"\x87"), "InvalidField"),
    ("durations 3", 0, put(0, b"\x0f"), "InvalidField"),
    ("first chunk does not start a GOP", 0, lambda old: b"\x06" + old[1:7] + old[15:], "InvalidField"),
    ("GOP start without time", 0, lambda old: b"\x05" + old[1:15] + old[23:], "InvalidField"),
    ("GOP start inherits a duration", 0, lambda old: b"\x03" + old[1:23] + old[24:], "InvalidField"),
    ("0 frames", 0, put(1, b"\x00"), "InvalidField"),
    ("18 frames", 0, put(1, b"\x12"), "InvalidField"),
    ("17 frames in a later chunk", 1, put(1, b"\x11"), "InvalidField"),
    ("0 stages", 0, put(2, b"\x00"), "InvalidField"),
    ("3 stages of 2", 0, put(2, b"\x03"), "InvalidField"),
    ("stages and table differ", 0, put(2, b"\x01"), "InvalidField"),
    ("number 1 first", 0, put(3, u32(1)), "InvalidField"),
    ("number skipped", 1, put(3, u32(2)), "InvalidField"),
    ("number repeated", 1, put(3, u32(0)), "InvalidField"),
    ("first frame 1", 0, put(7, b"\x01"), "InvalidField"),
    ("first frame 2^63", 2, put(14, b"\x80"), "InvalidField"),
    ("time past 2^63", 0, put(15, b"\xff" * 7 + b"\x7f"), "InvalidField"),
    ("time goes back", 2, put(15, bytes(8)), "InvalidField"),
    ("time stands still", 2, put(15, b"\x13"), "InvalidField"),
    ("duration 0", 0, put(23, b"\x00"), "InvalidField"),
    ("duration 2^32", 0, lambda old: old[:23] + b"\x80\x80\x80\x80\x10" + old[24:], "InvalidField"),
    ("long varint", 0, lambda old: old[:23] + b"\x81\x00" + old[24:], "InvalidField"),
    ("varint of 2^64", 0, lambda old: old[:23] + b"\x80" * 9 + b"\x02" + old[24:], "InvalidField"),
    ("varint of 11 bytes", 0, lambda old: old[:23] + b"\x80" * 10 + b"\x01" + old[24:], "InvalidField"),
    ("words past the bound", 0, lambda old: old[:24] + b"\x21" + old[25:], "CorruptPayload"),
    ("2^40 words", 0, lambda old: old[:24] + b"\x80" * 5 + b"\x20" + old[25:], "CorruptPayload"),
    ("a word more than the body", 0, lambda old: old[:24] + bytes((old[24] + 1,)) + old[25:], "InvalidField"),
    ("token CRC", 0, lambda old: old[:25] + bytes((old[25] ^ 1,)) + old[26:], "ChecksumMismatch"),
    ("a byte too many", 0, lambda old: old + b"\0", "InvalidField"),
    ("a byte too few", 0, lambda old: old[:-1], "InvalidField"),
    ("empty head", 0, b"", "InvalidField"),
    (
        "chunk after one that ended its GOP",
        2,
        lambda old: b"\x02" + old[1:7] + old[15:23] + old[24:],
        "InvalidField",
    ),
]


@pytest.mark.parametrize(("unit", "change", "name"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_in_a_head(unit, change, name):
    data = patch_unit(DATA, unit, head=change)
    assert data != DATA
    with pytest.raises(errors.BitstreamError) as caught:
        decode_file(data)
    assert type(caught.value).__name__ == name
    assert caught.value.offset is not None
    assert caught.value.chunk is not None
    assert error_of_independent(data) == name


BODY_FAULTS = [
    ("zero last word", lambda old: old[:-4] + bytes(4), "CorruptPayload"),
    ("other words", lambda old: old[:20] + bytes((old[20] ^ 1,)) + old[21:], "ChecksumMismatch"),
    ("words changed at their end", lambda old: old[:-1] + b"\xff", "CorruptPayload"),
]


@pytest.mark.parametrize(("change", "name"), [f[1:] for f in BODY_FAULTS], ids=[f[0] for f in BODY_FAULTS])
def test_faults_in_a_body_with_a_right_crc(change, name):
    data = patch_unit(DATA, 0, body=change)
    with pytest.raises(errors.BitstreamError) as caught:
        decode_file(data)
    assert type(caught.value).__name__ == name
    assert caught.value.chunk == 0
    assert error_of_independent(data) == name


UNIT_FAULTS = [
    ("unknown type", {"kind": b"X"}, "InvalidField"),
    ("body of 4 GiB", {"length": 2**32 - 1}, "LimitExceeded"),
    ("body past the end", {"length": 2**28 - 8}, "InvalidField"),
    ("head of 513 bytes", {"head": bytes(513)}, "InvalidField"),
]


@pytest.mark.parametrize(("change", "name"), [f[1:] for f in UNIT_FAULTS], ids=[f[0] for f in UNIT_FAULTS])
def test_faults_in_a_unit_frame(change, name):
    data = patch_unit(DATA, 1, **change)
    with pytest.raises(errors.BitstreamError) as caught:
        decode_file(data)
    assert type(caught.value).__name__ == name
    assert error_of_independent(data) == name


def test_gop_longer_than_the_header_allows():
    longer, _ = make_file(((17, 16, 16),), header=replace(BARE, gop_chunks=3))
    short, _ = make_file(((17, 16),), header=BARE)
    data = short[:140] + longer[140:]
    for check in (lambda: decode_file(data), lambda: independent.decode(data)):
        with pytest.raises((errors.InvalidField, independent.Fault), match="GOP"):
            check()


def test_more_and_fewer_frames_than_announced():
    for frames in (21, 23):
        data = DATA[:24] + frames.to_bytes(8, "little") + DATA[32:136]
        data += u32(zlib.crc32(data)) + DATA[140:]
        with pytest.raises(errors.InvalidField, match=f"{frames} frames announced"):
            decode_file(data)
        assert error_of_independent(data) == "InvalidField"


# Writing ------------------------------------------------------------------------------------------------


def writer_with_one_chunk(header=BARE):
    writer = BitstreamWriter(io.BytesIO(), header)
    add_chunk(writer, tokens_of(np.random.default_rng(0), header, 17, True, 1), True, range(17), 1)
    return writer


GOOD = {
    "gop_start": False,
    "pts": (17,),
    "last_duration": 1,
    "streams": [np.zeros(0, np.uint32)],
    "token_crcs": [0],
}


@pytest.mark.parametrize(
    "change",
    [
        {"pts": ()},
        {"pts": range(17, 34)},
        {"pts": (16,)},
        {"pts": (17, 17)},
        {"pts": (17, 18 + 2**32)},
        {"pts": (2**63 - 1,)},
        {"gop_start": True, "pts": (-(2**63) - 1,)},
        {"last_duration": 0},
        {"last_duration": 2**32},
        {"streams": [], "token_crcs": []},
        {"streams": [np.zeros(0, np.uint32)] * 3, "token_crcs": [0] * 3},
        {"token_crcs": []},
        {"token_crcs": [2**32]},
        {"token_crcs": [-1]},
        {"streams": [np.zeros(0, np.int32)]},
        {"streams": [np.zeros((0, 2), np.uint32)]},
        {"streams": [np.ones(1000, np.uint32)]},
    ],
)
def test_writer_refuses_what_a_reader_would(change):
    writer = writer_with_one_chunk()
    before = writer.bytes_written
    with pytest.raises(errors.InvalidField):
        writer.write_chunk(**(GOOD | change))
    assert writer.bytes_written == before
    writer.write_chunk(**GOOD)
    assert (writer.chunks, writer.frames) == (2, 18)


def test_writer_enforces_gops():
    writer = BitstreamWriter(io.BytesIO(), BARE)
    with pytest.raises(errors.InvalidField, match="start a GOP"):
        writer.write_chunk(**GOOD)
    writer = writer_with_one_chunk()
    writer.write_chunk(**GOOD)
    with pytest.raises(errors.InvalidField, match="ended its GOP"):
        writer.write_chunk(**(GOOD | {"pts": (18,)}))
    writer = writer_with_one_chunk(replace(BARE, gop_chunks=1))
    with pytest.raises(errors.InvalidField, match="GOP of more than 1"):
        writer.write_chunk(**GOOD)


def test_writer_enforces_limits():
    writer = BitstreamWriter(io.BytesIO(), BARE, Limits(max_frames=17, max_unit_bytes=100))
    writer.write_chunk(**(GOOD | {"gop_start": True, "pts": range(17)}))
    with pytest.raises(errors.LimitExceeded, match="18 frames"):
        writer.write_chunk(**GOOD)
    with pytest.raises(errors.LimitExceeded, match="unit of"):
        BitstreamWriter(io.BytesIO(), BARE, Limits(max_unit_bytes=3)).write_chunk(
            **(GOOD | {"gop_start": True, "streams": [np.ones(1, np.uint32)]})
        )


def test_nothing_follows_close():
    writer = writer_with_one_chunk()
    index = writer.close()
    assert writer.close() == index
    with pytest.raises(errors.InvalidField, match="closed"):
        writer.write_chunk(**GOOD)
    with pytest.raises(errors.InvalidField, match="closed"):
        writer.write_packets([])


def test_a_file_without_chunks_is_not_written():
    with pytest.raises(errors.InvalidField, match="at least one chunk"):
        BitstreamWriter(io.BytesIO(), BARE).close()


def test_frame_count_is_mended_in_files_and_enforced_in_pipes():
    for guess in (None, 5, 22, 99):
        out = io.BytesIO(b"before")
        out.seek(6)
        make_file(header=replace(BARE, frame_count=guess), out=out)
        assert out.getvalue() == b"before" + DATA
        assert out.tell() == len(out.getvalue())
    with pytest.raises(errors.InvalidField, match="more than the 5 frames announced"):
        make_file(header=replace(BARE, frame_count=5), out=Pipe())
    with pytest.raises(errors.InvalidField, match="99 frames announced, 22 written"):
        make_file(header=replace(BARE, frame_count=99), out=Pipe())
    data, _ = make_file(header=replace(BARE, frame_count=22), out=Pipe())
    assert data == DATA


def test_a_broken_run_leaves_no_complete_file():
    out = io.BytesIO()

    def broken_run():
        with BitstreamWriter(out, BARE) as writer:
            add_chunk(writer, tokens_of(np.random.default_rng(0), BARE, 17, True, 1), True, range(17), 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_run()
    with pytest.raises(errors.Truncated):
        decode_file(out.getvalue())


def test_slow_outputs_get_everything():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:5]))

    assert make_file(header=BARE, out=Slow())[0] == DATA


# Stages and tokens ----------------------------------------------------------------------------------------


def test_drop_stages_without_decoding():
    reader = BitstreamReader(io.BytesIO(DATA))
    out = io.BytesIO()
    with BitstreamWriter(out, reader.header) as writer:
        for chunk in reader:
            writer.copy_chunk(drop_stages(chunk, 1))
    assert same_tokens(decode_file(out.getvalue()), [chunk[:1] for chunk in TOKENS])
    assert error_of_independent(out.getvalue()) is None


@pytest.mark.parametrize("keep", [0, 3])
def test_drop_stages_out_of_range(keep):
    chunk = next(iter(BitstreamReader(io.BytesIO(DATA))))
    with pytest.raises(errors.InvalidField, match="cannot keep"):
        drop_stages(chunk, keep)


def test_token_crc_is_over_u32_in_raster_order():
    tokens = np.arange(24).reshape(2, 3, 4) * 9999
    expected = zlib.crc32(b"".join(u32(token) for token in tokens.reshape(-1).tolist()))
    for kind in (np.int64, np.int32, np.uint32):
        assert token_crc(tokens.astype(kind)) == expected
    assert token_crc(np.asfortranarray(tokens)) == expected


def test_wrong_tokens_are_told_apart_by_profile():
    head = ChunkHead(3, True, 0, (0,), 1, (0,), (123,), offset=77)
    tokens = np.zeros((1, 1, 1), np.int32)
    with pytest.raises(errors.ChecksumMismatch, match="chunk 3, byte 77"):
        check_tokens(tokens, head, 0, Profile.STATIC)
    with pytest.raises(errors.NumericsMismatch, match="chunk 3"):
        check_tokens(tokens, head, 0, Profile.EXACT)


def test_profile_exact_is_parsed():
    header = replace(BARE, profile=Profile.EXACT, prior_sha256=b"\x07" * 32)
    data, _ = make_file(header=header)
    reader = BitstreamReader(io.BytesIO(data))
    assert reader.header.profile is Profile.EXACT
    assert len([unit for unit in reader if isinstance(unit, Chunk)]) == 3
    assert reader.complete


def test_streams_are_native_and_whole():
    chunk = next(iter(BitstreamReader(io.BytesIO(DATA))))
    assert all(stream.dtype == np.uint32 and stream.dtype.isnative for stream in chunk.streams)
    assert tuple(len(stream) for stream in chunk.streams) == chunk.head.words
    _, _, _, body, _ = split_unit(DATA, 0)
    assert b"".join(stream.astype("<u4").tobytes() for stream in chunk.streams) == body
    assert join_unit(*split_unit(DATA, 0)[1:4]) in DATA
