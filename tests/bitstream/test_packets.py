"""Copied packets: round trips, cost, and one test for each thing that can be wrong."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import pytest
from bitstream_helpers import (
    AUDIO,
    HEADER,
    add_chunk,
    independent,
    make_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from token_support import Noise, chunk_tokens, token_encoder

from lfqcodec import errors
from lfqcodec.bitstream import BitstreamReader, BitstreamWriter, Limits, Packets
from lfqcodec.bitstream.syntax.fields import Cursor, pack_svarint, pack_varint
from lfqcodec.media import StreamInfo, StreamPacket

TEXT = StreamInfo("subtitle", "subrip", Fraction(1, 1000))
TWO = replace(HEADER, streams=(AUDIO, TEXT))
TIMES = st.integers(-(2**61), 2**61) | st.integers(-10, 10)
PACKETS = st.builds(
    StreamPacket,
    stream=st.integers(0, 1),
    pts=TIMES,
    dts=TIMES,
    duration=st.integers(0, 2**61) | st.just(1024),
    keyframe=st.booleans(),
    data=st.binary(max_size=20),
)


def write(packets, header=TWO, limits=None):
    out = io.BytesIO()
    with BitstreamWriter(out, header, limits or Limits()) as writer:
        tokens = chunk_tokens(header, 1, True, Noise("packets"))
        add_chunk(writer, tokens, True, (0,), 1, token_encoder(header))
        writer.write_packets(packets)
    return out.getvalue()


def read(data):
    units = list(BitstreamReader(io.BytesIO(data)))
    return [packet for unit in units if isinstance(unit, Packets) for packet in unit.packets]


@settings(max_examples=150, deadline=None)
@given(st.lists(PACKETS, max_size=12), st.booleans())
def test_round_trip(packets, regular):
    if regular:
        packets = [replace(p, pts=k * 1024, dts=k * 1024, duration=1024) for k, p in enumerate(packets)]
    data = write(packets)
    expected = sorted(packets, key=lambda packet: packet.stream)
    assert read(data) == expected
    as_lists = [[p.stream, p.pts, p.dts, p.duration, p.keyframe, p.data] for p in expected]
    assert independent.decode(data)["packets"] == {
        "count": len(packets),
        "sha256": independent.packets_digest(as_lists),
    }


def test_order_and_batches():
    packets = [StreamPacket(k % 2, k, k, 1, True, bytes(k)) for k in range(7)]
    data = write(packets, limits=Limits(max_unit_packets=3))
    units = [unit for unit in BitstreamReader(io.BytesIO(data)) if isinstance(unit, Packets)]
    assert [unit.head.count for unit in units] == [3, 3, 1]
    for stream in (0, 1):
        assert [p for p in read(data) if p.stream == stream] == packets[stream::2]


def test_regular_audio_costs_two_bytes_a_packet():
    packets = [StreamPacket(0, k * 1024, k * 1024, 1024, True, bytes(340)) for k in range(100)]
    assert len(write(packets)) - len(write([])) - 34000 <= 2 * 100 + 40


def test_many_bytes_are_split_into_units():
    packets = [StreamPacket(0, k, k, 1, True, bytes(9 << 20)) for k in range(3)]
    data = write(packets)
    heads = [head for head in BitstreamReader(io.BytesIO(data)).heads() if not hasattr(head, "words")]
    assert [head.count for head in heads] == [1, 1, 1]
    assert read(data) == packets


@pytest.mark.parametrize(
    "packet",
    [
        StreamPacket(2, 0, 0, 0, True, b""),
        StreamPacket(-1, 0, 0, 0, True, b""),
        StreamPacket(0, 0, 0, -1, True, b""),
        StreamPacket(0, 2**63 - 1, 0, 1, True, b""),
        StreamPacket(0, -(2**63) - 1, 0, 1, True, b""),
        StreamPacket(0, 0, 2**63, 1, True, b""),
        StreamPacket(0, 2**62, -(2**62) - 1, 1, True, b""),
    ],
)
def test_packets_that_cannot_be_written(packet):
    with pytest.raises(errors.InvalidField):
        write([packet])


def test_a_damaged_batch_costs_no_frames():
    data, tokens = make_file(((17, 3),))
    at = data.index(b"LFQP") + 20
    reader = BitstreamReader(io.BytesIO(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]))
    units, faults = [], []
    while True:
        try:
            unit = reader.next_unit()
        except errors.BitstreamError as error:
            faults.append(error)
            continue
        if unit is None:
            break
        units.append(unit)
    assert [type(fault) for fault in faults] == [errors.ChecksumMismatch]
    assert [unit.head.number for unit in units if not isinstance(unit, Packets)] == [0, 1]
    assert len(units) == 2 * len(tokens) - 1
    assert reader.skipped_chunks == 0


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_varints(unsigned, signed):
    cursor = Cursor(pack_varint(unsigned) + pack_svarint(signed))
    assert (cursor.varint(""), cursor.svarint("")) == (unsigned, signed)
    cursor.finish("")


def test_varint_examples():
    assert pack_varint(300) == b"\xac\x02"
    assert [pack_svarint(value) for value in (0, -1, 1, -2)] == [b"\0", b"\1", b"\2", b"\3"]
    for bad in (-1, 2**64):
        with pytest.raises(errors.InvalidField):
            pack_varint(bad)
    for bad in (-(2**63) - 1, 2**63):
        with pytest.raises(errors.InvalidField):
            pack_svarint(bad)
