"""Damage: everything is noticed, by both decoders, and as little as possible is lost."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from bitstream_helpers import (
    Pipe,
    decode_file,
    error_of_independent,
    header_length,
    join_unit,
    make_file,
    same_tokens,
    split_unit,
    unit_offsets,
    without_streams,
)
from token_support import token_decoder

from lfqcodec import errors
from lfqcodec.bitstream import BitstreamReader, Chunk, Limits

TINY, TINY_TOKENS = make_file(((3,), (1,)))
# Units: 0 1 2 chunks of GOP 0, 3 4 of GOP 1, 5 6 7 of GOP 2, 8 index.
LONG, LONG_TOKENS = make_file(((17, 16, 16), (17, 16), (17, 16, 1)), header=without_streams(gop_chunks=3))
OFFSETS = unit_offsets(LONG)


def salvage(data, stream=io.BytesIO):
    """Everything a tolerant caller gets: tokens by chunk number, faults, the reader."""
    reader = BitstreamReader(stream(data))
    tokens, faults, decoder = {}, [], token_decoder(reader.header)
    for _ in range(10000):
        try:
            unit = reader.next_unit()
        except errors.BitstreamError as error:
            faults.append(error)
            continue
        if unit is None:
            return tokens, faults, reader
        if isinstance(unit, Chunk):
            tokens[unit.head.number] = decoder.decode(unit)
    raise AssertionError("reading does not end")


def numbers_kept(tokens):
    assert all(same_tokens(own, LONG_TOKENS[number]) for number, own in tokens.items())
    return sorted(tokens)


def flip(data, at, bit=0):
    return data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]


def test_the_tiny_file_is_whole():
    assert same_tokens(decode_file(TINY), TINY_TOKENS)
    assert error_of_independent(TINY) is None


def test_every_bit_flip_is_noticed():
    for at in range(len(TINY)):
        for bit in range(8):
            data = flip(TINY, at, bit)
            with pytest.raises(errors.BitstreamError) as caught:
                decode_file(data)
            assert caught.value.offset is not None
            if bit == at % 8:
                assert error_of_independent(data) == type(caught.value).__name__


def test_every_truncation_is_noticed():
    """Out of files and pipes, by heads alone too."""
    for length in range(len(TINY)):
        for stream in (io.BytesIO, Pipe):
            with pytest.raises(errors.Truncated) as caught:
                decode_file(TINY[:length], stream=stream)
            assert caught.value.offset == length
        assert error_of_independent(TINY[:length]) == "Truncated"
        if length >= header_length(TINY):
            with pytest.raises(errors.Truncated):
                list(BitstreamReader(io.BytesIO(TINY[:length])).heads())


def test_every_byte_taken_out_or_put_in_is_noticed():
    for at in range(len(TINY)):
        for data in (TINY[:at] + TINY[at + 1 :], TINY[:at] + b"\x55" + TINY[at:]):
            with pytest.raises(errors.BitstreamError):
                decode_file(data)


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
@pytest.mark.parametrize(
    ("unit", "kept"),
    [
        (0, [3, 4, 5, 6, 7]),
        (1, [0, 3, 4, 5, 6, 7]),
        (2, [0, 1, 3, 4, 5, 6, 7]),
        (3, [0, 1, 2, 5, 6, 7]),
        (4, [0, 1, 2, 3, 5, 6, 7]),
        (7, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
@pytest.mark.parametrize(
    "where", ["sync", "type", "head length", "body length", "head", "head CRC", "body", "body CRC"]
)
def test_damage_stays_in_its_gop(stream, unit, kept, where):
    start, end = OFFSETS[unit], OFFSETS[unit + 1]
    head = int.from_bytes(LONG[start + 4 : start + 6], "little")
    places = {"sync": 0, "type": 3, "head length": 4, "body length": 6, "head": 13}
    places |= {"head CRC": 10 + head, "body": 20 + head, "body CRC": end - start - 1}
    tokens, faults, reader = salvage(flip(LONG, start + places[where], 1), stream)
    assert numbers_kept(tokens) == kept
    assert len(faults) == 1
    assert isinstance(faults[0], errors.ChecksumMismatch | errors.InvalidField)
    assert faults[0].chunk == unit
    assert reader.complete


def test_bytes_lost_inside_a_body():
    at = OFFSETS[1] + 60
    tokens, faults, _ = salvage(LONG[:at] + LONG[at + 7 :])
    assert numbers_kept(tokens) == [0, 3, 4, 5, 6, 7]
    assert [type(fault) for fault in faults][:1] == [errors.ChecksumMismatch]


def test_bytes_added_inside_a_body():
    at = OFFSETS[3] + 60
    tokens, _, _ = salvage(LONG[:at] + b"LFQ" + LONG[at:])
    assert numbers_kept(tokens) == [0, 1, 2, 5, 6, 7]


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
def test_many_bytes_of_garbage(stream):
    noise = np.random.default_rng(0).bytes(200_000).replace(b"LF", b"xx") + b"LFQC\x00\x00"
    tokens, faults, _ = salvage(LONG[: OFFSETS[3]] + noise + LONG[OFFSETS[3] :], stream)
    assert numbers_kept(tokens) == list(range(8))
    assert [type(fault) for fault in faults][:1] == [errors.InvalidField]


def test_a_missing_gop():
    tokens, faults, reader = salvage(LONG[: OFFSETS[3]] + LONG[OFFSETS[5] :])
    assert numbers_kept(tokens) == [0, 1, 2, 5, 6, 7]
    assert "chunk number 5 where 3 is due" in str(faults[0])
    assert reader.skipped_chunks == 0


def test_a_missing_chunk():
    tokens, faults, reader = salvage(LONG[: OFFSETS[1]] + LONG[OFFSETS[2] :])
    assert numbers_kept(tokens) == [0, 3, 4, 5, 6, 7]
    assert "chunk number 2 where 1 is due" in str(faults[0])
    assert reader.skipped_chunks == 1


def test_a_repeated_chunk():
    tokens, faults, _ = salvage(LONG[: OFFSETS[2]] + LONG[OFFSETS[1] :])
    assert numbers_kept(tokens) == list(range(8))
    assert "chunk number 1 where 2 is due" in str(faults[0])


def test_a_cut_file_plays_up_to_the_cut():
    for length in range(OFFSETS[5] + 1, OFFSETS[6]):
        tokens, faults, reader = salvage(LONG[:length])
        assert numbers_kept(tokens) == [0, 1, 2, 3, 4]
        assert [type(fault) for fault in faults] == [errors.Truncated]
        assert not reader.complete


def test_a_damaged_index_costs_nothing():
    tokens, faults, reader = salvage(flip(LONG, OFFSETS[8] + 45))
    assert numbers_kept(tokens) == list(range(8))
    assert len(faults) == 1
    assert not reader.complete
    assert reader.scan_index() == BitstreamReader(io.BytesIO(LONG)).index()


def test_a_caller_can_leave_a_gop():
    reader = BitstreamReader(io.BytesIO(LONG))
    assert reader.next_unit().head.number == 0
    reader.skip_gop()
    assert [reader.next_unit().head.number for _ in range(2)] == [3, 4]
    reader.skip_gop()
    assert [unit.head.number for unit in reader] == [5, 6, 7]
    assert reader.skipped_chunks == 2
    assert reader.complete


def test_random_damage_never_escapes():
    rng = np.random.default_rng(1)
    for _ in range(100):
        data = bytearray(LONG)
        for _ in range(rng.integers(1, 6)):
            kind, at = rng.integers(0, 3), int(rng.integers(header_length(LONG), len(data)))
            if kind == 0:
                data[at] ^= int(rng.integers(1, 256))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 40))]
            else:
                data[at:at] = rng.bytes(int(rng.integers(1, 40)))
        tokens, faults, _ = salvage(bytes(data))
        numbers_kept(tokens)
        assert faults


def test_random_files_with_mended_checksums_never_escape():
    """Heads and bodies of noise behind right checksums: the deeper checks hold too."""
    rng = np.random.default_rng(2)
    data = TINY
    for _ in range(300):
        unit = int(rng.integers(0, len(unit_offsets(data)) - 1))
        before, kind, head, body, after = split_unit(data, unit)
        parts = [bytearray(head), bytearray(body)]
        part = parts[int(rng.integers(0, 2))]
        if part:
            at = int(rng.integers(0, len(part)))
            part[at : at + 1] = rng.bytes(int(rng.integers(0, 3)))
        broken = before + join_unit(kind, bytes(parts[0])[:512], bytes(parts[1])) + after
        error = error_of_independent(broken)
        try:
            decode_file(broken)
            fault = None
        except errors.BitstreamError as caught:
            fault = caught
        # Where there are two faults, each decoder may name another one first.
        assert (error is None) == (fault is None), (unit, error, fault)


# Bombs ----------------------------------------------------------------------------------------------------


def peak_of(call):
    tracemalloc.start()
    try:
        with pytest.raises(errors.BitstreamError) as caught:
            call()
        return tracemalloc.get_traced_memory()[1], caught.value
    finally:
        tracemalloc.stop()


def test_large_lengths_in_short_files_allocate_nothing():
    huge = 2**28
    bombs = [
        join_unit(b"P", b"\x01\0\0\0", b"", length=huge),
        join_unit(b"I", bytes((1, 0, 0, 0) * 2) + bytes(16), b"", length=huge),
        join_unit(b"C", b"", b"", length=2**32 - 1),
    ]
    for bomb in bombs:
        data = TINY[: header_length(TINY)] + bomb
        peak, _ = peak_of(lambda data=data: decode_file(data, stream=Pipe))
        assert peak < 4 << 20
    peak, error = peak_of(lambda: decode_file(TINY[:12] + (2**22).to_bytes(4, "little") + TINY[16:]))
    assert peak < 4 << 20
    assert isinstance(error, errors.Truncated)


def test_a_batch_of_countless_empty_packets_is_refused():
    body = bytes(5) * 70000
    data = TINY[: header_length(TINY)] + join_unit(b"P", (70000).to_bytes(4, "little"), body)
    peak, error = peak_of(lambda: decode_file(data))
    assert isinstance(error, errors.LimitExceeded)
    assert peak < 4 << 20


def test_limits_on_packets():
    data, _ = make_file(((1,),), packets=3)
    with pytest.raises(errors.LimitExceeded, match="packet of 4 bytes"):
        decode_file(data, Limits(max_packet_bytes=3))
    with pytest.raises(errors.LimitExceeded, match="3 packets"):
        decode_file(data, Limits(max_unit_packets=2))
    with pytest.raises(errors.LimitExceeded, match="unit of"):
        decode_file(data, Limits(max_unit_bytes=10))
