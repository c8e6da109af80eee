"""Batches of copied audio and subtitle packets (spec section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfqcodec.bitstream.limits import MAX_PTS, MIN_PTS, Limits
from lfqcodec.bitstream.syntax.fields import Cursor, limit, pack, pack_svarint, pack_varint, require
from lfqcodec.bitstream.syntax.header import FileHeader
from lfqcodec.bitstream.syntax.units import UnitFrame
from lfqcodec.errors import InvalidField
from lfqcodec.media import StreamPacket

FLAG_KEYFRAME = 1


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
        _check_packet(packet, len(header.streams))
        _check_size(len(packet.data), limits)
        expected = due.get(packet.stream, 0)
        plain = (
            last is not None
            and (packet.stream, packet.keyframe, packet.duration)
            == (last.stream, last.keyframe, last.duration)
            and packet.pts == packet.dts == expected
        )
        body += pack_varint(len(packet.data) << 1 | plain)
        if not plain:
            body += pack("BB", "stream", packet.stream, packet.keyframe)
            body += pack_svarint(packet.pts - expected) + pack_svarint(packet.dts - packet.pts)
            body += pack_varint(packet.duration)
        body += packet.data
        due[packet.stream] = packet.pts + packet.duration
        last = packet
    return pack("I", "packet count", len(packets)), bytes(body)


def _check_size(size: int, limits: Limits, offset: int | None = None) -> None:
    limit(size, limits.max_packet_bytes, f"packet of {size} bytes", offset=offset)


def _check_packet(packet: StreamPacket, streams: int, offset: int | None = None) -> None:
    known = 0 <= packet.stream < streams
    require(known, f"packet of stream {packet.stream}, which is not announced", offset=offset)
    require(0 <= packet.duration <= MAX_PTS, "duration of a packet is out of range", offset=offset)
    in_range = MIN_PTS <= packet.pts <= MAX_PTS - packet.duration and MIN_PTS <= packet.dts <= MAX_PTS
    require(in_range, "time of a packet does not fit 64 bits", offset=offset)


def parse_packets_head(frame: UnitFrame, limits: Limits) -> PacketsHead:
    """Parse the head of a packets unit. Raises `InvalidField` or `LimitExceeded`."""
    cursor = Cursor(frame.head, frame.head_offset)
    (count,) = cursor.unpack("I", "packet count")
    cursor.finish("packets head")
    at, size = frame.head_offset, frame.body_length
    require(1 <= count <= size, f"{count} packets in {size} bytes", offset=at)
    limit(count, limits.max_unit_packets, f"{count} packets in a unit", offset=at)
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
        _check_size(size, limits, at)
        if first & 1:
            if not packets:
                raise InvalidField("the first packet of a batch must be written in full", offset=at)
            stream, keyframe, duration = packets[-1].stream, packets[-1].keyframe, packets[-1].duration
            pts = dts = due[stream]
        else:
            stream, flags = cursor.unpack("BB", "stream and packet flags")
            require(flags <= FLAG_KEYFRAME, f"reserved packet flags are set: {flags:#04x}", offset=at)
            keyframe = bool(flags & FLAG_KEYFRAME)
            pts = due.get(stream, 0) + cursor.svarint("packet time")
            dts = pts + cursor.svarint("packet time")
            duration = cursor.varint("packet duration")
        packet = StreamPacket(stream, pts, dts, duration, keyframe, cursor.take(size, "packet data"))
        _check_packet(packet, streams, at)
        due[stream] = pts + duration
        packets.append(packet)
    cursor.finish("packets")
    return Packets(head, tuple(packets))
