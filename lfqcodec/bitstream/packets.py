"""Batches of copied audio and subtitle packets (spec section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfqcodec.bitstream.fields import Cursor, pack_svarint, pack_u8, pack_u32, pack_varint, require
from lfqcodec.bitstream.header import FileHeader
from lfqcodec.bitstream.limits import MAX_PTS, MIN_PTS, Limits
from lfqcodec.bitstream.units import UnitFrame
from lfqcodec.errors import InvalidField, LimitExceeded
from lfqcodec.media import StreamPacket

FLAG_KEYFRAME = 1
HEAD_BYTES = 4


@dataclass(frozen=True)
class PacketsHead:
    """A batch of packets without its data. `offset` and `size` are those of the unit in the file."""

    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class Packets:
    """A batch of packets. Those of one stream are in order; streams come one after the other."""

    head: PacketsHead
    packets: tuple[StreamPacket, ...]


def pack_packets(packets: Sequence[StreamPacket], header: FileHeader, limits: Limits) -> tuple[bytes, bytes]:
    """Head and body of a packets unit, of at least one packet. Packets are put in order of their stream.

    Raises `InvalidField` or `LimitExceeded`.
    """
    require(len(packets) > 0, "a batch of packets must not be empty")
    body = bytearray()
    due: dict[int, int] = {}
    last: StreamPacket | None = None
    for packet in sorted(packets, key=lambda each: each.stream):
        _check_packet(packet, header, limits)
        expected = due.get(packet.stream, 0)
        plain = (
            last is not None
            and (packet.stream, packet.keyframe, packet.duration)
            == (last.stream, last.keyframe, last.duration)
            and packet.pts == packet.dts == expected
        )
        body += pack_varint(len(packet.data) << 1 | plain)
        if not plain:
            body += pack_u8(packet.stream, "stream") + pack_u8(int(packet.keyframe), "flags")
            body += pack_svarint(packet.pts - expected) + pack_svarint(packet.dts - packet.pts)
            body += pack_varint(packet.duration)
        body += packet.data
        due[packet.stream] = packet.pts + packet.duration
        last = packet
    return pack_u32(len(packets), "packet count"), bytes(body)


def _check_packet(packet: StreamPacket, header: FileHeader, limits: Limits) -> None:
    require(
        0 <= packet.stream < len(header.streams), f"packet of stream {packet.stream}, which is not announced"
    )
    require(0 <= packet.duration <= MAX_PTS, "duration of a packet is out of range")
    require(MIN_PTS <= packet.pts <= MAX_PTS - packet.duration, "time of a packet does not fit 64 bits")
    require(MIN_PTS <= packet.dts <= MAX_PTS, "time of a packet does not fit 64 bits")
    if len(packet.data) > limits.max_packet_bytes:
        raise LimitExceeded(
            f"packet of {len(packet.data)} bytes, at most {limits.max_packet_bytes} are allowed"
        )


def parse_packets_head(frame: UnitFrame, limits: Limits) -> PacketsHead:
    """Parse the head of a packets unit. Raises `InvalidField` or `LimitExceeded`."""
    cursor = Cursor(frame.head, frame.head_offset)
    count = cursor.u32("packet count")
    cursor.finish("packets head")
    require(
        1 <= count <= frame.body_length,
        f"{count} packets in {frame.body_length} bytes",
        offset=frame.head_offset,
    )
    if count > limits.max_unit_packets:
        raise LimitExceeded(
            f"{count} packets in a unit, at most {limits.max_unit_packets} are allowed",
            offset=frame.head_offset,
        )
    return PacketsHead(count, frame.offset, frame.size)


def parse_packets(head: PacketsHead, frame: UnitFrame, body: bytes, streams: int, limits: Limits) -> Packets:
    """Parse the body of a packets unit. Raises `InvalidField` or `LimitExceeded`."""
    cursor = Cursor(body, frame.body_offset)
    due: dict[int, int] = {}
    packets: list[StreamPacket] = []
    for _ in range(head.count):
        at = cursor.offset
        first = cursor.varint("packet size")
        size = first >> 1
        if size > limits.max_packet_bytes:
            raise LimitExceeded(
                f"packet of {size} bytes, at most {limits.max_packet_bytes} are allowed", offset=at
            )
        if first & 1:
            if not packets:
                raise InvalidField("the first packet of a batch must be written in full", offset=at)
            stream, keyframe, duration = packets[-1].stream, packets[-1].keyframe, packets[-1].duration
            pts = dts = due[stream]
        else:
            stream, flags = cursor.u8("stream"), cursor.u8("packet flags")
            require(stream < streams, f"packet of stream {stream}, which is not announced", offset=at)
            require(flags <= FLAG_KEYFRAME, f"reserved packet flags are set: {flags:#04x}", offset=at)
            keyframe = bool(flags & FLAG_KEYFRAME)
            pts = due.get(stream, 0) + cursor.svarint("packet time")
            dts = pts + cursor.svarint("packet time")
            duration = cursor.varint("packet duration")
            require(duration <= MAX_PTS, "duration of a packet is out of range", offset=at)
        require(
            pts >= MIN_PTS and pts + duration <= MAX_PTS and MIN_PTS <= dts <= MAX_PTS,
            "time of a packet does not fit 64 bits",
            offset=at,
        )
        due[stream] = pts + duration
        data = cursor.take(size, "packet data")
        packets.append(StreamPacket(stream, pts, dts, duration, keyframe, data))
    cursor.finish("packets")
    return Packets(head, tuple(packets))
