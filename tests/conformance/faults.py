"""Files with one thing wrong each: every rule of the format that a file can break, and what it is called.

All checksums are right but where a checksum is what is wrong, so the check in question is reached.
"""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from bitstream_helpers import (  # noqa: E402
    AUDIO,
    HEADER,
    add_chunk,
    make_file,
    patch_header,
    patch_unit,
    put,
    split_unit,
    u32,
    unit_offsets,
    without_streams,
)
from token_support import Noise, Style, chunk_tokens, layers_of, token_encoder  # noqa: E402

from lfqcodec.bitstream import BitstreamWriter, FileHeader, LayerCounts, max_words  # noqa: E402
from lfqcodec.bitstream.limits import MAGIC  # noqa: E402
from lfqcodec.bitstream.syntax.fields import pack_svarint, pack_varint  # noqa: E402
from lfqcodec.media import StreamInfo, StreamPacket  # noqa: E402

FIELD, LIMIT, SUM, PAYLOAD = "InvalidField", "LimitExceeded", "ChecksumMismatch", "CorruptPayload"
CUT = "Truncated"
Change = Callable[[bytes], bytes] | bytes


@dataclass(frozen=True)
class Case:
    """`what` is wrong in `data`, against section `spec`; decoders say `error`."""

    area: str
    what: str
    spec: str
    error: str
    data: bytes


def flip(data: bytes, at: int) -> bytes:
    """One bit changed."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def head_end(data: bytes, number: int) -> int:
    """Where the body of a unit begins."""
    at = unit_offsets(data)[number]
    return at + 14 + int.from_bytes(data[at + 4 : at + 6], "little")


# What, offset in the header, value, error. The file has one stream of sound, described from byte 140 on.
_HEADER = [
    ("flag 1", 10, b"\x02\x00", FIELD),
    ("flag 15", 10, b"\x00\x80", FIELD),
    ("header length 143", 12, u32(143), FIELD),
    ("header length 0", 12, u32(0), FIELD),
    ("header of 4 GiB", 12, u32(2**32 - 1), LIMIT),
    ("width 0", 16, u32(0), FIELD),
    ("width 16385", 16, u32(16385), LIMIT),
    ("width 2^31", 16, u32(2**31), LIMIT),
    ("height 0", 20, u32(0), FIELD),
    ("height 16385", 20, u32(16385), LIMIT),
    ("2^26 + 2^14 pixels", 16, u32(16384) + u32(4097), LIMIT),
    ("frame count 0", 24, bytes(8), FIELD),
    ("2^60 frames", 24, (2**60).to_bytes(8, "little"), LIMIT),
    ("time base 0/1", 32, u32(0) + u32(1), FIELD),
    ("time base 1/0", 32, u32(1) + u32(0), FIELD),
    ("time base 2/4", 32, u32(2) + u32(4), FIELD),
    ("frame rate 0/1", 40, u32(0) + u32(1), FIELD),
    ("frame rate 1/0", 40, u32(1) + u32(0), FIELD),
    ("frame rate 60/2", 40, u32(60) + u32(2), FIELD),
    ("sample aspect 0/0", 48, bytes(8), FIELD),
    ("sample aspect 3/3", 48, u32(3) + u32(3), FIELD),
    ("colour range 2", 59, b"\x02", FIELD),
    ("rotation 45", 60, b"\x2d\x00", FIELD),
    ("rotation 360", 60, b"\x68\x01", FIELD),
    ("17 bits per token", 62, b"\x11", FIELD),
    ("spatial factor 16", 63, b"\x10", FIELD),
    ("temporal factor 8", 64, b"\x08", FIELD),
    ("chunks of 16 frames", 65, b"\x10", FIELD),
    ("0 intra layers", 66, b"\x00", FIELD),
    ("25 intra layers", 66, b"\x19", FIELD),
    ("0 anchor layers", 67, b"\x00", FIELD),
    ("9 anchor layers", 67, b"\x09", FIELD),
    ("0 layers of middles", 68, b"\x00", FIELD),
    ("5 layers of middles", 68, b"\x05", FIELD),
    ("profile 2", 69, b"\x02", FIELD),
    ("profile exact without a prior", 69, b"\x01", FIELD),
    ("GOP of 0 chunks", 70, b"\x00\x00", FIELD),
    ("65 streams", 72, b"\x41", LIMIT),
    ("255 streams in a table of one", 72, b"\xff", LIMIT),
    ("a stream too many", 72, b"\x02", FIELD),
    ("a stream too few", 72, b"\x00", FIELD),
    *((f"reserved byte {at}", at, b"\x01", FIELD) for at in (73, 74, 75)),
    ("static with a prior", 108, b"\x01", FIELD),
    ("stream kind 2", 140, b"\x02", FIELD),
    ("stream without codec", 141, b"\x00", FIELD),
    ("stream time base 0/1", 144, u32(0), FIELD),
    ("stream time base 2/48000", 144, u32(2), FIELD),
    ("extradata of 2^20 + 1 bytes", 170, u32(2**20 + 1), LIMIT),
    ("extradata longer than the header", 170, u32(3), FIELD),
    ("extradata shorter than the header", 170, u32(1), FIELD),
    ("codec name with a control byte", 174, b"\x1f", FIELD),
    ("codec name beyond ASCII", 174, b"\xe9", FIELD),
]


def of_the_header() -> Iterator[Case]:
    """Section 3, and what is no .lfq file at all."""
    data = make_file(((1,),), packets=0)[0]
    for what, at, value, error in _HEADER:
        yield Case("header", what, "3.2" if at >= 140 else "3.1", error, patch_header(data, at, value))
    still = patch_header(data, 10, b"\x01\x00")
    for count, name in ((2, "2"), (2**64 - 1, "unknown many")):
        frames = patch_header(still, 24, count.to_bytes(8, "little"))
        yield Case("header", f"still image of {name} frames", "3.1", FIELD, frames)
    yield Case("header", "a byte too many", "3", FIELD, patch_header(data, 0, b"", grow=b"\0"))
    yield Case("header", "header CRC", "3.1", SUM, flip(data, int.from_bytes(data[12:16], "little") - 1))
    yield Case("header", "width damaged", "3.1", SUM, flip(data, 16))
    claims = u32(1 << 31) * 2 + (1 << 60).to_bytes(8, "little")
    huge = patch_header(data, 16, claims)
    yield Case("bomb", "2^31 x 2^31 pixels and 2^60 frames", "14", LIMIT, huge)
    for what, error, foreign in (
        ("empty file", CUT, b""),
        ("half of the magic", CUT, MAGIC[:5]),
        ("magic alone", CUT, MAGIC),
        ("RIFF", "BadMagic", b"RIFF"),
        ("PNG", "BadMagic", b"\x89PNG\r\n\x1a\n" + bytes(60)),
        ("magic through a text filter", "BadMagic", MAGIC.replace(b"\r\n", b"\n") + data[8:]),
        ("zeros", "BadMagic", bytes(200)),
        ("version 0", "UnsupportedVersion", MAGIC + b"\0\0" + data[10:]),
        ("version 1", "UnsupportedVersion", MAGIC + b"\1\0" + data[10:]),
        ("version 3", "UnsupportedVersion", MAGIC + b"\3\0" + data[10:]),
        ("version 65535 and no more", "UnsupportedVersion", MAGIC + b"\xff\xff"),
    ):
        yield Case("foreign", what, "3.1", error, foreign)


# Units: 0 starts a GOP, 17 frames; 1 has 3 frames, all inherited; 2 starts a GOP, 1 frame; 3 is the index.
# Head of unit 0: flags, valid, streams, number u32, first frame u64 at 7, pts i64 at 15, duration at 23, then
# per stream words (1 byte) and CRC. Head of unit 1: flags, valid, streams, number, then streams at 7.
_CHUNKS = make_file(((17, 3), (1,)), header=without_streams())[0]
_BOUNDS = [max_words(53), max_words(72)]
"""Of 16x8 pixels, 2 intra layers, 2 of anchors, 1 of others: 1 + 2 4 and 4 (3 + 2 4); 4 (3 (2 + 4))."""
_HEADS: Sequence[tuple[str, int, Change, str]] = [
    ("flag 6", 0, put(0, b"\x47"), FIELD),
    ("flag 7", 0, put(0, b"\x87"), FIELD),
    ("durations 3", 0, put(0, b"\x0f"), FIELD),
    ("first chunk does not start a GOP", 0, lambda old: b"\x06" + old[1:7] + old[15:], FIELD),
    ("GOP start without time", 0, lambda old: b"\x05" + old[1:15] + old[23:], FIELD),
    ("GOP start inherits a duration", 0, lambda old: b"\x03" + old[1:23] + old[24:], FIELD),
    ("0 frames", 0, put(1, b"\x00"), FIELD),
    ("18 frames", 0, put(1, b"\x12"), FIELD),
    ("17 frames in a later chunk", 1, put(1, b"\x11"), FIELD),
    ("0 streams", 0, put(2, b"\x00"), FIELD),
    ("3 streams", 0, put(2, b"\x03"), FIELD),
    ("3 streams and a table of 3", 0, lambda old: put(2, b"\x03")(old) + bytes(5), FIELD),
    ("2 streams and nothing for the second", 2, lambda old: put(2, b"\x02")(old) + bytes(5), FIELD),
    ("streams and table differ", 0, put(2, b"\x01"), FIELD),
    ("number 1 first", 0, put(3, u32(1)), FIELD),
    ("number skipped", 1, put(3, u32(2)), FIELD),
    ("number repeated", 1, put(3, u32(0)), FIELD),
    ("first frame 1", 0, put(7, b"\x01"), FIELD),
    ("first frame 2^63", 2, put(14, b"\x80"), FIELD),
    ("time past 2^63", 0, put(15, b"\xff" * 7 + b"\x7f"), FIELD),
    ("time goes back", 2, put(15, bytes(8)), FIELD),
    ("time stands still", 2, put(15, b"\x13"), FIELD),
    ("duration 0", 0, put(23, b"\x00"), FIELD),
    ("duration 2^32", 0, lambda old: old[:23] + b"\x80\x80\x80\x80\x10" + old[24:], FIELD),
    ("long varint", 0, lambda old: old[:23] + b"\x81\x00" + old[24:], FIELD),
    ("varint of 2^64", 0, lambda old: old[:23] + b"\x80" * 9 + b"\x02" + old[24:], FIELD),
    ("varint of 11 bytes", 0, lambda old: old[:23] + b"\x80" * 10 + b"\x01" + old[24:], FIELD),
    ("words past the bound", 0, put(24, bytes((_BOUNDS[0] + 1,))), PAYLOAD),
    ("words of stream 1 past the bound", 0, put(29, bytes((_BOUNDS[1] + 1,))), PAYLOAD),
    ("2^40 words", 0, lambda old: old[:24] + b"\x80" * 5 + b"\x20" + old[25:], PAYLOAD),
    ("a word more than the body", 0, lambda old: put(24, bytes((old[24] + 1,)))(old), FIELD),
    ("token CRC", 0, lambda old: flip(old, 25), SUM),
    ("token CRC of stream 1", 0, lambda old: flip(old, 30), SUM),
    ("a byte too many", 0, lambda old: old + b"\0", FIELD),
    ("a byte too few", 0, lambda old: old[:-1], FIELD),
    ("empty head", 0, b"", FIELD),
    ("chunk after one that ended its GOP", 2, lambda old: b"\x02" + old[1:7] + old[15:23] + old[24:], FIELD),
]
_BODIES: Sequence[tuple[str, Change]] = [
    ("zero last word", lambda old: old[:-4] + bytes(4)),
    ("other words", lambda old: flip(old, 0)),
    ("words changed at their end", lambda old: old[:-1] + b"\xff"),
]
_UNITS: Sequence[tuple[str, dict[str, object], str]] = [
    ("unknown type", {"kind": b"X"}, FIELD),
    ("body of 4 GiB", {"length": 2**32 - 1}, LIMIT),
    ("body past the end", {"length": 2**28 - 8}, FIELD),
    ("head of 513 bytes", {"head": bytes(513)}, FIELD),
]


def of_the_units() -> Iterator[Case]:
    """Sections 4 to 7 and 12."""
    data = _CHUNKS
    offsets = unit_offsets(data)
    for what, change, error in _UNITS:
        yield Case("unit", what, "4", error, patch_unit(data, 1, **change))
    for what, number in (("chunk", 0), ("later chunk", 1), ("index", 3)):
        yield Case("unit", f"sync of {what}", "4", FIELD, flip(data, offsets[number]))
        yield Case("unit", f"head of {what} damaged", "4", SUM, flip(data, offsets[number] + 12))
        yield Case("unit", f"head CRC of {what}", "4", SUM, flip(data, head_end(data, number) - 1))
        yield Case("unit", f"body of {what} damaged", "4", SUM, flip(data, head_end(data, number)))
        yield Case("unit", f"body CRC of {what}", "4", SUM, flip(data, offsets[number + 1] - 1))
    for what, unit, head, error in _HEADS:
        yield Case("chunk", what, "6", error, patch_unit(data, unit, head=head))
    for what, body in _BODIES:
        yield Case("chunk", f"body with {what}", "12", PAYLOAD, patch_unit(data, 0, body=body))
    longer, _ = make_file(((17, 16, 16),), header=without_streams(gop_chunks=3))
    short, _ = make_file(((17, 16),), header=without_streams())
    end = offsets[0]
    yield Case("chunk", "GOP longer than the header says", "5", FIELD, short[:end] + longer[end:])
    for frames in (20, 22):
        true = patch_header(data, 24, frames.to_bytes(8, "little"))
        yield Case("chunk", f"{frames} frames announced and 21 there", "5", FIELD, true)
    apart = patch_unit(data, 0, head=put(15, (2**63).to_bytes(8, "little")))
    apart = patch_unit(apart, 2, head=put(15, bytes(8)))
    yield Case("chunk", "GOPs 2^63 ticks apart", "7", FIELD, apart)
    yield Case("chunk", "a chunk left out", "5", FIELD, data[: offsets[1]] + data[offsets[2] :])
    yield Case("chunk", "a chunk twice", "5", FIELD, data[: offsets[1]] + data[offsets[0] :])
    garbage = data[: offsets[2]] + bytes(40) + data[offsets[2] :]
    yield Case("unit", "garbage between two chunks", "4", FIELD, garbage)
    yield Case("bomb", "4 GiB of body in a short file", "14", LIMIT, patch_unit(data, 0, length=2**32 - 1))
    large = patch_header(data, 16, u32(400) * 2)
    yield Case("bomb", "400 x 400 pixels out of a few words", "12", PAYLOAD, large)


# Layer, place, its token there, what that says. Pictures are 40x24: blocks 2x3, latents 4x6, depths 1x2.
# There are three layers of anchors, two of others. All blocks but the first, which has none, have depth 1.
_TOKENS = [
    ("quality", 0, 1024, "quality over 1023"),
    ("quality", 0, 1 << 17, "quality with the highest bit"),
    ("intra.0", 5, 0b1000 << 9, "sign without a value in intra.0"),
    ("intra.1", 0, 1 | 2 << 9, "sign of another value in intra.1"),
    ("anchor.0", 2, 1 << 17, "sign without a value in anchor.0"),
    ("middle.0", 23, 0x1FF << 9, "signs without values in middle.0"),
    ("quarters.0", 47, 256 | 3 << 9, "signs of other values in quarters.0"),
    ("depth.middle", 0, 3, "depth 3 of 2 layers"),
    ("depth.quarters", 2, 3 << 4, "depth 3 of 2 layers in the second quarter"),
    ("depth.anchor", 1, 1 << 2, "depth to the right of the picture"),
    ("depth.middle", 1, 1 << 6, "depth below and to the right of the picture"),
    ("depth.anchor", 0, 1 << 8, "depth with bit 8"),
    ("depth.quarters", 3, 1 << 9, "depth with bit 9"),
    ("anchor.0", 0, 1, "value where the depth of an anchor is 0"),
    ("anchor.1", 2, 1 << 17 | 1 << 8, "value below the depth of an anchor"),
    ("anchor.2", 23, 1 << 9, "sign below the depth of an anchor"),
    ("middle.0", 7, 256, "value where the depth of a middle is 0"),
    ("middle.1", 2, 1, "value below the depth of a middle"),
    ("quarters.0", 25, 1, "value where the depth of the second quarter is 0"),
    ("quarters.1", 47, 4, "value below the depth of a quarter"),
]


def of_the_tokens() -> Iterator[Case]:
    """Section 10: tokens that must not be, coded all the same, with their checksum right."""
    header = FileHeader(40, 24, Fraction(1, 25), LayerCounts(2, 3, 2))
    layers = layers_of(header, 5, True)
    for name, place, token, what in _TOKENS:
        # Where a depth is wrong, no value is wrong for it.
        style = Style(3 * (not name.startswith("depth")), depths=(1,), qualities=(70, 3))
        groups = chunk_tokens(header, 5, True, Noise("faults"), style)
        for part in layers[1]:
            kind, _, picture = part.name.partition(".")
            own = groups[1][layers[1].index(part)]
            if kind == "depth":
                own[:, 0, 0] &= ~3
            elif kind != "motion" and picture:
                own[:, :2, :2] = 0
        number = 0 if name.startswith("intra") else 1
        position = [layer.name for layer in layers[number]].index(name)
        groups[number][position].reshape(-1)[place] = token
        out = io.BytesIO()
        with BitstreamWriter(out, header) as writer:
            add_chunk(writer, groups, True, range(5), 1, token_encoder(header))
        yield Case("tokens", what, "10", PAYLOAD, out.getvalue())


_TWO = replace(HEADER, streams=(AUDIO, StreamInfo("subtitle", "subrip", Fraction(1, 1000))))
# Unit 1 holds two packets; the first record: size varint 0, stream 1, flags 2, pts 3.., dts, duration, data.
_RECORD = b"\x06\x00\x01" + pack_svarint(5) + b"\x00\x07abc" + b"\x05de"
_EDGE, _DAWN = pack_svarint(2**63 - 1), pack_svarint(-(2**63))
_PACKETS: Sequence[tuple[str, dict[str, object], str]] = [
    ("no packets", {"head": u32(0)}, FIELD),
    ("more packets than bytes", {"head": u32(99)}, FIELD),
    ("a packet too many", {"head": u32(3)}, FIELD),
    ("a packet too few", {"head": u32(1)}, FIELD),
    ("2^16 + 1 packets", {"head": u32(65537), "body": bytes(70000)}, LIMIT),
    ("long head", {"head": u32(2) + b"\0"}, FIELD),
    ("short head", {"head": b"\2\0\0"}, FIELD),
    ("first is plain", {"body": put(0, b"\x07")}, FIELD),
    ("unknown stream", {"body": put(1, b"\x02")}, FIELD),
    ("reserved flag", {"body": put(2, b"\x03")}, FIELD),
    ("size past the end", {"body": put(9, b"\x09")}, FIELD),
    ("size below the end", {"body": put(9, b"\x03")}, FIELD),
    ("packet of 2^26 + 1 bytes", {"body": pack_varint(2 * (2**26 + 1)) + _RECORD[1:]}, LIMIT),
    ("time past 2^63", {"body": _RECORD[:3] + _EDGE + b"\x00\x01abc" + b"\x05de"}, FIELD),
    ("plain time past 2^63", {"body": _RECORD[:3] + _EDGE + b"\0\0abc" + b"\4\0\1\2\0\0de"}, FIELD),
    ("decoding time past 2^63", {"body": _RECORD[:4] + _EDGE + _RECORD[5:]}, FIELD),
    ("duration of 2^63", {"body": _RECORD[:3] + _DAWN + b"\0" + pack_varint(2**63) + b"abc"}, FIELD),
    ("long varint", {"body": b"\x86\x00" + _RECORD[1:]}, FIELD),
    ("cut record", {"head": u32(1), "body": b"\x00\x00"}, FIELD),
]


def of_the_packets() -> Iterator[Case]:
    """Section 8."""
    out = io.BytesIO()
    with BitstreamWriter(out, _TWO) as writer:
        tokens = chunk_tokens(_TWO, 1, True, Noise("packets"))
        add_chunk(writer, tokens, True, (0,), 1, token_encoder(_TWO))
        writer.write_packets(
            [StreamPacket(0, 5, 5, 7, True, b"abc"), StreamPacket(0, 12, 12, 7, True, b"de")]
        )
    data = out.getvalue()
    assert data.count(_RECORD) == 1
    for what, change, error in _PACKETS:
        yield Case("packets", what, "8", error, patch_unit(data, 1, **change))
    yield Case("packets", "body damaged", "4", SUM, flip(data, head_end(data, 1) + 2))
    bare = make_file(((17,),), header=replace(_TWO, streams=()))[0]
    at, end = unit_offsets(data)[1:3]
    mixed = bare[: unit_offsets(bare)[1]] + data[at:end]
    yield Case("packets", "packets without streams", "8", FIELD, mixed)


_GOPS = make_file(((17, 3), (2,), (17, 16), (1,)), header=without_streams())[0]
_INDEX_AT = unit_offsets(_GOPS)[-2]
_INDEX = split_unit(_GOPS, 6)[3]
_FIRST = pack_varint(unit_offsets(_GOPS)[0])
assert _INDEX.startswith(_FIRST + b"\0\0")
_INDEXES: Sequence[tuple[str, dict[str, object], str]] = [
    ("no GOPs", {"head": put(0, u32(0))}, FIELD),
    ("more GOPs than chunks", {"head": put(4, u32(3))}, FIELD),
    ("more GOPs than bytes", {"head": put(0, u32(6) + u32(2**32 - 1))}, FIELD),
    ("2^20 + 1 GOPs", {"head": put(0, u32(2**20 + 1) * 2), "body": bytes(2**22)}, LIMIT),
    ("a GOP too many", {"head": put(0, u32(5))}, FIELD),
    ("a GOP too few", {"head": put(0, u32(3))}, FIELD),
    ("a chunk too many", {"head": put(4, u32(7))}, FIELD),
    ("a frame too many", {"head": put(8, b"\x39")}, FIELD),
    ("2^60 frames", {"head": put(8, (2**60).to_bytes(8, "little"))}, LIMIT),
    ("end too late", {"head": put(16, b"\x39")}, FIELD),
    ("end before the last GOP", {"head": put(16, b"\x37")}, FIELD),
    ("long head", {"head": lambda old: old + b"\0"}, FIELD),
    ("short head", {"head": lambda old: old[:-1]}, FIELD),
    ("first offset 0", {"body": b"\0" + _INDEX[len(_FIRST) :] + b"\0"}, FIELD),
    ("first offset wrong", {"body": put(0, pack_varint(unit_offsets(_GOPS)[0] + 1))}, FIELD),
    ("first frame 1", {"body": put(len(_FIRST), b"\1")}, FIELD),
    ("first time wrong", {"body": put(len(_FIRST) + 1, b"\1")}, FIELD),
    ("frame stands still", {"body": put(len(_FIRST) + 4, b"\0")}, FIELD),
    ("time goes back", {"body": put(len(_FIRST) + 5, b"\1")}, FIELD),
    ("offset behind the index", {"body": _INDEX[:-4] + pack_varint(2**40) + _INDEX[-2:]}, FIELD),
    (
        "time past 2^63",
        {"body": _FIRST + b"\0" + pack_svarint(2**63 - 1) + _INDEX[len(_FIRST) + 2 :]},
        FIELD,
    ),
    ("a byte too many", {"body": _INDEX + b"\0"}, FIELD),
    ("a byte too few", {"body": _INDEX[:-1]}, FIELD),
]


def trailer(offset: int = _INDEX_AT, magic: bytes = b"\x89LFQEND\n") -> bytes:
    """The last 20 bytes of a file."""
    return offset.to_bytes(8, "little") + u32(zlib.crc32(offset.to_bytes(8, "little"))) + magic


def of_the_end() -> Iterator[Case]:
    """Section 9, and files that break off."""
    data, right = _GOPS, trailer()
    for what, change, error in _INDEXES:
        yield Case("index", what, "9", error, patch_unit(data, 6, **change))
    for what, error, tail in (
        ("trailer magic", FIELD, trailer(magic=b"\x89LFQEND\r")),
        ("trailer CRC", SUM, flip(right, 8)),
        ("trailer leads one byte before", FIELD, trailer(_INDEX_AT - 1)),
        ("trailer leads behind the file", FIELD, trailer(2**60)),
        ("a byte behind the trailer", FIELD, right + b"\0"),
        ("two trailers", FIELD, right + right),
    ):
        yield Case("trailer", what, "9", error, data[:-20] + tail)
    offsets = unit_offsets(data)
    for what, length in (
        ("in the version", 9),
        ("in the header length", 14),
        ("in the header", 100),
        ("behind the header", offsets[0]),
        ("in the first unit's length", offsets[0] + 8),
        ("in a head", offsets[1] + 15),
        ("in a body", head_end(data, 1) + 5),
        ("in a body's CRC", offsets[2] - 1),
        ("between two chunks", offsets[2]),
        ("before the index", offsets[6]),
        ("in the index", head_end(data, 6) + 3),
        ("before the trailer", offsets[7]),
        ("in the trailer", len(data) - 1),
    ):
        yield Case("ends", what, "2", CUT, data[:length])
    yield Case("index", "no chunk in the file", "2", FIELD, data[: offsets[0]] + data[offsets[6] :])


def all_cases() -> list[Case]:
    """Every file with a fault, in order of the sections."""
    return [
        *(*of_the_header(), *of_the_units(), *of_the_tokens(), *of_the_packets(), *of_the_end()),
        *of_the_metadata(),
        *of_the_groups(),
    ]


# What, the bytes of the metadata of a file with one copied stream: tags, two tracks, chapters.
_METADATA = [
    ("empty", b"\0" + b"\0\0\0" * 2 + b"\0"),
    ("cut off behind the tags", b"\1\1k\1v"),
    ("one track too few", b"\1\1k\1v" + b"\0\0\0" + b"\0"),
    ("one track too many", b"\1\1k\1v" + b"\0\0\0" * 3 + b"\0"),
    ("2^63 tags", pack_varint(1 << 63) + b"\1k\1v" + b"\0\0\0" * 2 + b"\0"),
    ("2^40 chapters", b"\1\1k\1v" + b"\0\0\0" * 2 + pack_varint(1 << 40)),
    ("key without letters", b"\1\0\1v" + b"\0\0\0" * 2 + b"\0"),
    ("key in capitals", b"\1\1K\1v" + b"\0\0\0" * 2 + b"\0"),
    ("key beyond ASCII", b"\1\1\xe9\1v" + b"\0\0\0" * 2 + b"\0"),
    ("keys out of order", b"\2\1l\1v\1k\1v" + b"\0\0\0" * 2 + b"\0"),
    ("one key twice", b"\2\1k\1v\1k\1v" + b"\0\0\0" * 2 + b"\0"),
    ("value that is not UTF-8", b"\1\1k\1\xff" + b"\0\0\0" * 2 + b"\0"),
    ("value longer than the header", b"\1\1k\x7fv" + b"\0\0\0" * 2 + b"\0"),
    ("reserved track flag", b"\1\1k\1v" + b"\0\2\0" + b"\0\0\0" + b"\0"),
    ("chapter that ends too late", b"\0" + b"\0\0\0" * 2 + b"\1\2" + pack_varint(2**63 - 1) + b"\0"),
    ("title that is not UTF-8", b"\0" + b"\0\0\0" * 2 + b"\1\0\0\2\xc3("),
    ("a byte too many", b"\1\1k\1v" + b"\0\0\0" * 2 + b"\0" + b"\0"),
]


def of_the_metadata() -> Iterator[Case]:
    """Section 3.3."""
    data = make_file(((1,),), packets=0)[0]
    for what, added in _METADATA:
        yield Case("metadata", what, "3.3", FIELD, patch_header(data, 10, b"\2\0", grow=added))
    yield Case("metadata", "flag 2", "3.1", FIELD, patch_header(data, 10, b"\4\0"))


def of_the_groups() -> Iterator[Case]:
    """Section 6: how many pictures groups have."""
    for what, flags in (("groups of size 3", b"\x37"), ("2 streams and groups of one picture", b"\x27")):
        yield Case("chunk", what, "6", FIELD, patch_unit(_CHUNKS, 0, head=put(0, flags)))
