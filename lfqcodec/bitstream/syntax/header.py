"""The file header, and the table in it of copied audio and subtitle streams (spec section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from lfqcodec.bitstream.geometry import LayerCounts
from lfqcodec.bitstream.limits import (
    BITS_PER_TOKEN,
    CHUNK_FRAMES,
    DEFAULT_LIMITS,
    MAGIC,
    MAX_GOP_CHUNKS,
    SPATIAL_FACTOR,
    TEMPORAL_FACTOR,
    VERSION,
    Limits,
    Profile,
)
from lfqcodec.bitstream.syntax.fields import Cursor, crc32, limit, pack, pack_ratio, require
from lfqcodec.bitstream.syntax.metadata import check_metadata, pack_metadata, parse_metadata
from lfqcodec.errors import BadMagic, ChecksumMismatch, Truncated, UnsupportedVersion
from lfqcodec.media import Colour, Metadata, StreamInfo

PROLOGUE_BYTES: Final = 16
"""Magic, version, flags and header length: what has to be read before the rest can be."""

FIXED_BYTES: Final = 144
"""Length of a header without copied streams and metadata, its CRC included."""

FRAME_COUNT_OFFSET: Final = 24
RESERVED_BYTES: Final = 3
UNKNOWN_FRAMES: Final = (1 << 64) - 1
FLAG_STILL_IMAGE: Final = 1
FLAG_METADATA: Final = 2
NO_HASH: Final = bytes(32)
KINDS: Final = ("audio", "subtitle")
ROTATIONS: Final = (0, 90, 180, 270)
FACTORS: Final = {
    "bits per token": BITS_PER_TOKEN,
    "spatial factor": SPATIAL_FACTOR,
    "temporal factor": TEMPORAL_FACTOR,
    "chunk frames": CHUNK_FRAMES,
}
"""What the four bytes after the rotation have to hold."""


@dataclass(frozen=True)
class FileHeader:
    """Everything that holds for a whole file; a value out of range raises `InvalidField` (spec section 3).

    `width` and `height` are those of the coded picture, before `rotation` (clockwise degrees that a player
    still has to apply) and `sar`. `frame_rate` and `frame_count` are None where unknown. `layers` says how
    many layers of tokens there are, `gop_chunks` is an upper bound. `tokenizer_sha256` is all zero where no
    tokenizer made the tokens; `prior_sha256` is all zero exactly in profile `static`. A still image has
    `frame_count` 1.
    """

    width: int
    height: int
    time_base: Fraction
    layers: LayerCounts
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    colour: Colour = field(default_factory=Colour)
    sar: Fraction = Fraction(1)
    rotation: int = 0
    gop_chunks: int = 4
    profile: Profile = Profile.STATIC
    tokenizer_sha256: bytes = NO_HASH
    prior_sha256: bytes = NO_HASH
    streams: tuple[StreamInfo, ...] = ()
    still_image: bool = False
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        static = self.profile == Profile.STATIC
        gop = self.gop_chunks
        codes = (self.colour.primaries, self.colour.transfer, self.colour.matrix)
        for condition, message, offset in (
            (self.width >= 1, f"width must be at least 1, not {self.width}", 16),
            (self.height >= 1, f"height must be at least 1, not {self.height}", 20),
            (self.frame_count is None or self.frame_count >= 1, "frame count is 0", 24),
            (self.time_base > 0, "time base is not positive", 32),
            (self.frame_rate is None or self.frame_rate > 0, "frame rate is not positive", 40),
            (self.sar > 0, "sample aspect ratio is not positive", 48),
            *(
                (0 <= code <= 255, f"colour code point out of range: {code}", 56 + at)
                for at, code in enumerate(codes)
            ),
            (self.rotation in ROTATIONS, f"rotation must be 0, 90, 180 or 270, not {self.rotation}", 60),
            (1 <= gop <= MAX_GOP_CHUNKS, f"GOP length must be 1..{MAX_GOP_CHUNKS} chunks, not {gop}", 70),
            (len(self.tokenizer_sha256) == 32, "tokenizer SHA-256 must be 32 bytes", 76),
            (len(self.prior_sha256) == 32, "prior SHA-256 must be 32 bytes", 108),
            (
                not static or self.prior_sha256 == NO_HASH,
                "profile static has no prior, but its hash is set",
                108,
            ),
            (static or self.prior_sha256 != NO_HASH, "profile exact needs the hash of its prior", 108),
            (not self.still_image or self.frame_count == 1, "a still image has exactly one frame", 24),
            (len(self.streams) <= 255, "more than 255 copied streams", 72),
        ):
            require(condition, message, offset=offset)
        for stream in self.streams:
            _check_stream(stream)
        check_metadata(self.metadata, len(self.streams))


def pack_header(header: FileHeader) -> bytes:
    """The bytes of the header, CRC included. Raises `InvalidField` where a value does not fit its field."""
    rate, colour = header.frame_rate, header.colour
    count = UNKNOWN_FRAMES if header.frame_count is None else header.frame_count
    unknown = header.frame_count is None
    require(unknown or count < UNKNOWN_FRAMES, "frame count does not fit its field", offset=24)
    metadata = pack_metadata(header.metadata)
    flags = (FLAG_STILL_IMAGE if header.still_image else 0) | (FLAG_METADATA if metadata else 0)
    table = b"".join(_pack_stream(stream) for stream in header.streams) + metadata
    body = b"".join(
        (
            MAGIC,
            pack("HHI", "header length", VERSION, flags, FIXED_BYTES + len(table)),
            pack("IIQ", "size or frame count", header.width, header.height, count),
            pack_ratio(header.time_base, "time base"),
            bytes(8) if rate is None else pack_ratio(rate, "frame rate"),
            pack_ratio(header.sar, "sample aspect ratio"),
            pack("BBBB", "colour", colour.primaries, colour.transfer, colour.matrix, colour.full_range),
            pack("HBBBB", "rotation", header.rotation, *FACTORS.values()),
            pack("BBB", "layers", header.layers.intra, header.layers.anchor, header.layers.between),
            pack("B", "profile", header.profile),
            pack("HB", "GOP length or stream count", header.gop_chunks, len(header.streams)),
            bytes(RESERVED_BYTES),
            header.tokenizer_sha256,
            header.prior_sha256,
            table,
        )
    )
    return body + pack("I", "header CRC", crc32(body))


def parse_prologue(data: bytes, limits: Limits = DEFAULT_LIMITS) -> int:
    """Check magic and version in the first 16 bytes and give the header length.

    `data` is shorter where the file is. Errors in this order: `BadMagic`, `Truncated`,
    `UnsupportedVersion`, `InvalidField` or `LimitExceeded` (header length).
    """
    if data[:8] != MAGIC[: len(data[:8])]:
        raise BadMagic("not a .lfq file", offset=0)
    version = int.from_bytes(data[8:10], "little")
    if len(data) >= 10 and version != VERSION:
        raise UnsupportedVersion(f"format version {version}; this decoder knows version {VERSION}", offset=8)
    if len(data) < PROLOGUE_BYTES:
        raise Truncated("file ends inside the header", offset=len(data))
    length = int.from_bytes(data[12:16], "little")
    require(length >= FIXED_BYTES, f"header length {length} is below {FIXED_BYTES}", offset=12)
    limit(length, limits.max_header_bytes, f"header of {length} bytes", offset=12)
    return length


def parse_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> FileHeader:
    """Parse a complete header, `parse_prologue(data)` bytes long, CRC included.

    Raises `ChecksumMismatch`, `InvalidField` or `LimitExceeded`, each with the offset of the field.
    """
    if crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ChecksumMismatch("header is damaged", offset=len(data) - 4)
    cursor = Cursor(data[:-4])
    cursor.take(10, "magic and version")
    flags, _ = cursor.unpack("HI", "flags and header length")
    known = FLAG_STILL_IMAGE | FLAG_METADATA
    require(flags & ~known == 0, f"reserved header flags are set: {flags:#06x}", offset=10)
    width, height, count = cursor.unpack("IIQ", "size and frame count")
    limit(width, limits.max_width, f"width {width}", offset=16)
    limit(height, limits.max_height, f"height {height}", offset=20)
    limit(width * height, limits.max_pixels, f"{width}x{height} pixels", offset=16)
    frame_count = None if count == UNKNOWN_FRAMES else count
    limit(frame_count or 0, limits.max_frames, f"{frame_count} frames", offset=24)
    time_base = cursor.ratio("time base")
    frame_rate = None
    if data[40:48] == bytes(8):
        cursor.take(8, "frame rate")
    else:
        frame_rate = cursor.ratio("frame rate")
    sar = cursor.ratio("sample aspect ratio")
    primaries, transfer, matrix, full_range = cursor.unpack("BBBB", "colour")
    require(full_range <= 1, f"colour range must be 0 or 1, not {full_range}", offset=59)
    rotation, *factors = cursor.unpack("HBBBB", "rotation and factors")
    for at, (value, (what, wanted)) in enumerate(zip(factors, FACTORS.items(), strict=True)):
        require(value == wanted, f"{what} must be {wanted}, not {value}", offset=62 + at)
    layers = LayerCounts(*cursor.unpack("BBB", "layers"))
    profile, gop_chunks, stream_count = cursor.unpack("BHB", "profile, GOP length and stream count")
    require(profile in tuple(Profile), f"unknown profile {profile}", offset=69)
    limit(stream_count, limits.max_streams, f"{stream_count} copied streams", offset=72)
    reserved = cursor.take(RESERVED_BYTES, "reserved bytes")
    require(reserved == bytes(RESERVED_BYTES), "reserved header bytes are set", offset=73)
    tokenizer, prior = cursor.take(32, "tokenizer SHA-256"), cursor.take(32, "prior SHA-256")
    streams = tuple(_parse_stream(cursor, limits) for _ in range(stream_count))
    metadata = parse_metadata(cursor, stream_count) if flags & FLAG_METADATA else Metadata()
    cursor.finish("header")
    return FileHeader(
        width=width,
        height=height,
        time_base=time_base,
        frame_rate=frame_rate,
        frame_count=frame_count,
        colour=Colour(primaries, transfer, matrix, bool(full_range)),
        sar=sar,
        rotation=rotation,
        gop_chunks=gop_chunks,
        layers=layers,
        profile=Profile(profile),
        tokenizer_sha256=tokenizer,
        prior_sha256=prior,
        streams=streams,
        still_image=bool(flags & FLAG_STILL_IMAGE),
        metadata=metadata,
    )


def check_limits(header: FileHeader, limits: Limits) -> None:
    """`LimitExceeded` where a header that is about to be written is over `limits`."""
    data = pack_header(header)
    parse_prologue(data, limits)
    parse_header(data, limits)


def _printable(text: str) -> bool:
    return all(" " <= character <= "~" for character in text)


def _check_stream(stream: StreamInfo) -> None:
    """`InvalidField` unless every value of `stream` can be written."""
    require(stream.kind in KINDS, f"unknown kind of copied stream: {stream.kind!r}")
    require(bool(stream.codec), "a copied stream has no codec name")
    for what, text in (("codec", stream.codec), ("layout", stream.layout), ("language", stream.language)):
        short = _printable(text) and len(text) <= 255
        require(short, f"{what} of a copied stream is not short ASCII: {text!r}")
    require(stream.time_base > 0, "time base of a copied stream is not positive")


def _pack_stream(stream: StreamInfo) -> bytes:
    """The bytes of one entry. Raises `InvalidField` where a value does not fit its field."""
    texts = [text.encode("ascii") for text in (stream.codec, stream.layout, stream.language)]
    return b"".join(
        (
            pack("BBBB", "kind or text length", KINDS.index(stream.kind), *map(len, texts)),
            pack_ratio(stream.time_base, "stream time base"),
            pack("IH", "sample rate or channels", stream.sample_rate, stream.channels),
            pack("II", "bit rate or frame size", stream.bit_rate, stream.frame_size),
            pack("II", "padding or extradata length", stream.initial_padding, len(stream.extradata)),
            *texts,
            stream.extradata,
        )
    )


def _parse_stream(cursor: Cursor, limits: Limits) -> StreamInfo:
    """Parse one entry. Raises `InvalidField` or `LimitExceeded` (extradata)."""
    start = cursor.offset
    kind, *lengths = cursor.unpack("BBBB", "stream kind and text lengths")
    require(kind < len(KINDS), f"unknown kind of copied stream: {kind}", offset=start)
    require(lengths[0] > 0, "a copied stream has no codec name", offset=start + 1)
    time_base = cursor.ratio("stream time base")
    sample_rate, channels, bit_rate, frame_size = cursor.unpack("IHII", "stream parameters")
    initial_padding, extradata = cursor.unpack("II", "padding and extradata length")
    where = cursor.offset - 4
    limit(extradata, limits.max_extradata_bytes, f"extradata of {extradata} bytes", offset=where)
    texts = []
    for length in lengths:
        at = cursor.offset
        text = cursor.take(length, "text of a copied stream").decode("latin-1")
        require(_printable(text), "text of a copied stream is not printable ASCII", offset=at)
        texts.append(text)
    return StreamInfo(
        kind=KINDS[kind],
        codec=texts[0],
        time_base=time_base,
        sample_rate=sample_rate,
        channels=channels,
        layout=texts[1],
        bit_rate=bit_rate,
        frame_size=frame_size,
        initial_padding=initial_padding,
        language=texts[2],
        extradata=cursor.take(extradata, "extradata"),
    )
