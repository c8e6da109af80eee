"""Chunk units: geometry, round trips of times and GOPs, and what a writer refuses."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import (
    Pipe,
    add_chunk,
    decode_file,
    error_of_independent,
    independent,
    join_unit,
    make_file,
    same_tokens,
    split_unit,
    u32,
    without_streams,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from token_support import Noise, chunk_tokens, layers_of, token_decoder, token_encoder

from lfqcodec import errors
from lfqcodec.bitstream import (
    BitstreamReader,
    BitstreamWriter,
    Chunk,
    ChunkHead,
    FileHeader,
    LayerCounts,
    Limits,
    Profile,
    block_grid,
    check_tokens,
    drop_streams,
    group_sizes,
    latent_grid,
    max_words,
    stream_tokens,
    token_crc,
)
from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.codec.repair.repair import repair

BARE = without_streams()
# Units: 0 starts a GOP, 17 frames; 1 has 3 frames, all inherited; 2 starts a GOP, 2 frames; 3 is the index.
DATA, TOKENS = make_file(header=BARE)


@pytest.mark.parametrize(
    ("size", "valid", "first", "later"),
    [
        (4, 17, (1, 4, 4, 4, 4), None),
        (4, 6, (1, 4, 1), (4, 2)),
        (4, 3, (1, 2), (3,)),
        (2, 17, (1, *(2,) * 8), None),
        (2, 6, (1, 2, 2, 1), (2, 2, 2)),
        (2, 1, (1,), (1,)),
        (1, 16, (1,) * 16, (1,) * 16),
    ],
)
def test_groups(size, valid, first, later):
    assert group_sizes(valid, True, size) == first
    if later is not None:
        assert group_sizes(valid, False, size) == later
    assert GROUP_SIZES == (4, 2, 1)
    with pytest.raises(ValueError, match="not 3"):
        group_sizes(valid, True, 3)


@pytest.mark.parametrize("valid", [0, -1, 18])
def test_valid_out_of_range(valid):
    with pytest.raises(errors.InvalidField):
        group_sizes(valid, True)
    with pytest.raises(errors.InvalidField):
        group_sizes(17, False)


def test_geometry():
    assert block_grid(640, 360) == (23, 40)
    assert latent_grid(640, 360) == (46, 80)
    assert latent_grid(1, 1) == (2, 2)
    assert latent_grid(16, 17) == (4, 2)
    assert max_words(1) == 4
    assert max_words(18000) == 27002


def test_layers():
    header = replace(BARE, width=40, height=24, layers=LayerCounts(2, 3, 1))
    found = [
        [(layer.name, layer.stream, layer.shape) for layer in part] for part in layers_of(header, 6, True)
    ]
    intra = [("quality", 0, (1, 1, 1)), ("intra.0", 0, (1, 4, 6)), ("intra.1", 0, (1, 4, 6))]
    anchor = [
        *(("quality", 0, (1, 1, 1)), ("motion.anchor", 0, (1, 2, 3)), ("depth.anchor", 0, (1, 1, 2))),
        *((f"anchor.{k}", 0, (1, 4, 6)) for k in range(3)),
    ]
    middle = [("motion.middle", 1, (1, 2, 3)), ("depth.middle", 1, (1, 1, 2)), ("middle.0", 1, (1, 4, 6))]
    quarters = [
        *(("motion.quarters", 1, (2, 2, 3)), ("depth.quarters", 1, (2, 1, 2))),
        ("quarters.0", 1, (2, 4, 6)),
    ]
    assert found == [intra, anchor + middle + quarters, anchor]
    assert [layer[0] for layer in quarters] == [layer.name for layer in layers_of(header, 3, False)[0][-3:]]
    assert layers_of(header, 3, False)[0][-1].shape == (1, 4, 6)
    of_group = 1 + 6 + 2 + 3 * 24
    assert stream_tokens(header.layers, (24, 40), 6, True) == (1 + 2 * 24 + 2 * of_group, 3 * (6 + 2 + 24))
    assert stream_tokens(header.layers, (24, 40), 1, True)[1] == 0
    assert stream_tokens(header.layers, (24, 40), 6, True, 1) == (1 + 2 * 24 + 5 * of_group, 0)
    assert stream_tokens(header.layers, (24, 40), 6, False, 2) == (3 * of_group, 3 * (6 + 2 + 24))


@st.composite
def videos(draw):
    """GOPs of chunks with frame durations and sizes of groups, and pauses before chunks."""
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
            times = [pts + sum(steps[:k]) for k in range(valid)]
            chunks.append((position == 0, times, steps[-1], draw(st.sampled_from(GROUP_SIZES))))
            pts += sum(steps)
    return chunks


@settings(max_examples=60, deadline=None)
@given(videos(), st.integers(1, 2), st.booleans())
def test_round_trip(chunks, streams, piped):
    header = FileHeader(9, 5, Fraction(1, 1000), LayerCounts(1, 1, 1), gop_chunks=4)
    noise, encoder = Noise(0), token_encoder(header)
    out = Pipe() if piped else io.BytesIO()
    heads, tokens = [], []
    with BitstreamWriter(out, header) as writer:
        for gop_start, pts, last, size in chunks:
            tokens.append(chunk_tokens(header, len(pts), gop_start, noise, streams=streams, group_size=size))
            heads.append(add_chunk(writer, tokens[-1], gop_start, pts, last, encoder, size))
    data = out.getvalue()
    reader = BitstreamReader(Pipe(data) if piped else io.BytesIO(data))
    units = list(reader)
    assert [unit.head for unit in units] == heads
    assert [(h.gop_start, list(h.pts), h.last_duration, h.group_size) for h in heads] == chunks
    decoder = token_decoder(header)
    assert same_tokens([decoder.decode(unit) for unit in units], tokens)
    assert reader.complete
    total = sum(len(pts) for _, pts, *_ in chunks)
    assert reader.header.frame_count == (None if piped else total)
    assert [entry.first_pts for entry in reader.index().entries] == [
        pts[0] for start, pts, *_ in chunks if start
    ]
    assert (reader.index().chunks, reader.index().frames) == (len(chunks), total)
    found = independent.decode(data, keep_tokens=True)
    assert [(c["gop_start"], c["pts"], c["last_duration"]) for c in found["chunks"]] == [
        c[:3] for c in chunks
    ]
    for theirs, ours in zip(found["tokens"], tokens, strict=True):
        for layers, own in zip(theirs, ours, strict=True):
            flat = [each.reshape(-1).tolist() for each in own]
            assert list(layers.values())[: len(flat)] == flat
            assert not any(map(any, list(layers.values())[len(flat) :]))


def test_heads_alone():
    whole = [unit.head for unit in BitstreamReader(io.BytesIO(DATA))]
    for stream in (io.BytesIO, Pipe):
        reader = BitstreamReader(stream(DATA))
        assert list(reader.heads()) == whole
        assert reader.complete


def test_sizes_add_up():
    heads = list(BitstreamReader(io.BytesIO(DATA)).heads())
    assert [head.offset for head in heads] == [144, 144 + heads[0].size, 144 + heads[0].size + heads[1].size]
    assert heads[1].size - 4 * sum(heads[1].words) == 18 + 7 + 2 * 5


# Writing ------------------------------------------------------------------------------------------------


def writer_with_one_chunk(header=BARE):
    writer = BitstreamWriter(io.BytesIO(), header)
    add_chunk(writer, chunk_tokens(header, 17, True, Noise(0)), True, range(17), 1, token_encoder(header))
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
        {"streams": [np.zeros(0, np.uint32)] * 2, "token_crcs": [0] * 2},
        {"pts": (17, 18), "streams": [np.zeros(0, np.uint32)] * 3, "token_crcs": [0] * 3},
        {"token_crcs": []},
        {"token_crcs": [2**32]},
        {"token_crcs": [-1]},
        {"streams": [np.zeros(0, np.int32)]},
        {"streams": [np.zeros((0, 2), np.uint32)]},
        {"streams": [np.ones(1000, np.uint32)]},
        {"pts": (17, 18), "streams": [np.zeros(0, np.uint32)] * 2, "token_crcs": [0] * 2, "group_size": 1},
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
            tokens = chunk_tokens(BARE, 17, True, Noise(0))
            add_chunk(writer, tokens, True, range(17), 1, token_encoder(BARE))
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


# Streams and tokens ---------------------------------------------------------------------------------------


def test_drop_streams_without_decoding():
    reader = BitstreamReader(io.BytesIO(DATA))
    out = io.BytesIO()
    with BitstreamWriter(out, reader.header) as writer:
        for chunk in reader:
            writer.copy_chunk(drop_streams(chunk, 1))
    kept = [
        [
            tokens[: sum(layer.stream == 0 for layer in layers)]
            for layers, tokens in zip(each, chunk, strict=True)
        ]
        for each, chunk in zip([layers_of(BARE, n, n != 3) for n in (17, 3, 2)], TOKENS, strict=True)
    ]
    assert same_tokens(decode_file(out.getvalue()), kept)
    assert error_of_independent(out.getvalue()) is None


def test_size_of_groups_stays():
    """A copy of chunks with groups of all sizes, repaired or with fewer streams, keeps them."""
    data = (Path(independent.__file__).parent / "uncommon" / "groups-of-every-size.lfq").read_bytes()
    heads = list(BitstreamReader(io.BytesIO(data)).heads())
    assert [head.group_size for head in heads] == [1, 4, 2, 2, 1, 2, 4]
    assert [head.stream_count for head in heads] == [1, 2, 2, 2, 1, 2, 2]
    repaired, stripped = io.BytesIO(), io.BytesIO()
    repair(io.BytesIO(data[:-1]), repaired)
    assert repaired.getvalue() == data
    reader = BitstreamReader(io.BytesIO(data))
    with BitstreamWriter(stripped, reader.header) as writer:
        for chunk in reader:
            writer.copy_chunk(drop_streams(chunk, 1))
    left = BitstreamReader(io.BytesIO(stripped.getvalue())).heads()
    assert [head.group_size for head in left] == [head.group_size for head in heads]
    whole, first = (independent.decode(each, keep_tokens=True) for each in (data, stripped.getvalue()))
    assert [c["quality"] for c in whole["chunks"]] == [c["quality"] for c in first["chunks"]]


@pytest.mark.parametrize("keep", [0, 3])
def test_drop_streams_out_of_range(keep):
    chunk = next(iter(BitstreamReader(io.BytesIO(DATA))))
    with pytest.raises(errors.InvalidField, match="cannot keep"):
        drop_streams(chunk, keep)


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
