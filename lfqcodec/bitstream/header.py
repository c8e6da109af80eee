"""The file header (spec section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from lfqcodec.bitstream.fields import Cursor, crc32, pack_u8, pack_u16, pack_u32, pack_u64, require
from lfqcodec.bitstream.geometry import latent_grid
from lfqcodec.bitstream.limits import (
    BITS_PER_TOKEN,
    CHUNK_FRAMES,
    DEFAULT_LIMITS,
    MAGIC,
    MAX_GOP_CHUNKS,
    MAX_STAGES,
    SPATIAL_FACTOR,
    TEMPORAL_FACTOR,
    VERSION,
    Limits,
    Profile,
)
from lfqcodec.bitstream.streams import check_stream, pack_stream, parse_stream
from lfqcodec.errors import (
    BadMagic,
    ChecksumMismatch,
    InvalidField,
    LimitExceeded,
    Truncated,
    UnsupportedVersion,
)
from lfqcodec.media import Colour, StreamInfo

PROLOGUE_BYTES: Final = 16
"""Magic, version, flags and header length: what has to be read before the rest can be."""

FIXED_BYTES: Final = 140
"""Length of a header without copied streams, its CRC included."""

FRAME_COUNT_OFFSET: Final = 24
UNKNOWN_FRAMES: Final = (1 << 64) - 1
FLAG_STILL_IMAGE: Final = 1
NO_HASH: Final = bytes(32)
ROTATIONS: Final = (0, 90, 180, 270)


@dataclass(frozen=True)
class FileHeader:
    """Everything that holds for a whole file; a value out of range raises `InvalidField` (spec section 3).

    `width` and `height` are those of the coded picture, before `rotation` (clockwise degrees that a player
    still has to apply) and `sar`. `frame_rate` and `frame_count` are None where unknown. `gop_chunks` and
    `max_stages` are upper bounds for the chunks that follow. `tokenizer_sha256` is all zero where no
    tokenizer made the tokens; `prior_sha256` is all zero exactly in profile `static`. A still image has
    `frame_count` 1.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    colour: Colour = field(default_factory=Colour)
    sar: Fraction = Fraction(1)
    rotation: int = 0
    gop_chunks: int = 4
    max_stages: int = 2
    profile: Profile = Profile.STATIC
    tokenizer_sha256: bytes = NO_HASH
    prior_sha256: bytes = NO_HASH
    streams: tuple[StreamInfo, ...] = ()
    still_image: bool = False

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width must be at least 1, not {self.width}", offset=16)
        require(self.height >= 1, f"height must be at least 1, not {self.height}", offset=20)
        require(self.frame_count is None or self.frame_count >= 1, "frame count is 0", offset=24)
        require(self.time_base > 0, "time base is not positive", offset=32)
        require(self.frame_rate is None or self.frame_rate > 0, "frame rate is not positive", offset=40)
        require(self.sar > 0, "sample aspect ratio is not positive", offset=48)
        for at, code in enumerate((self.colour.primaries, self.colour.transfer, self.colour.matrix)):
            require(0 <= code <= 255, f"colour code point out of range: {code}", offset=56 + at)
        require(
            self.rotation in ROTATIONS, f"rotation must be 0, 90, 180 or 270, not {self.rotation}", offset=60
        )
        require(
            1 <= self.max_stages <= MAX_STAGES,
            f"stages must be 1..{MAX_STAGES}, not {self.max_stages}",
            offset=66,
        )
        require(
            1 <= self.gop_chunks <= MAX_GOP_CHUNKS,
            f"GOP length must be 1..{MAX_GOP_CHUNKS} chunks, not {self.gop_chunks}",
            offset=68,
        )
        require(len(self.tokenizer_sha256) == 32, "tokenizer SHA-256 must be 32 bytes", offset=72)
        require(len(self.prior_sha256) == 32, "prior SHA-256 must be 32 bytes", offset=104)
        if self.profile == Profile.STATIC:
            require(
                self.prior_sha256 == NO_HASH, "profile static has no prior, but its hash is set", offset=104
            )
        else:
            require(self.prior_sha256 != NO_HASH, "profile exact needs the hash of its prior", offset=104)
        require(
            not self.still_image or self.frame_count == 1, "a still image has exactly one frame", offset=24
        )
        require(len(self.streams) <= 255, "more than 255 copied streams", offset=70)
        for stream in self.streams:
            check_stream(stream)

    @property
    def grid(self) -> tuple[int, int]:
        """Latent rows and columns (h, w)."""
        return latent_grid(self.width, self.height)


def pack_header(header: FileHeader) -> bytes:
    """The bytes of the header, CRC included. Raises `InvalidField` where a value does not fit its field."""
    rate = header.frame_rate
    count = UNKNOWN_FRAMES if header.frame_count is None else header.frame_count
    require(
        header.frame_count is None or count < UNKNOWN_FRAMES, "frame count does not fit its field", offset=24
    )
    table = b"".join(pack_stream(stream) for stream in header.streams)
    body = b"".join(
        (
            MAGIC,
            pack_u16(VERSION, "version"),
            pack_u16(FLAG_STILL_IMAGE if header.still_image else 0, "flags"),
            pack_u32(FIXED_BYTES + len(table), "header length"),
            pack_u32(header.width, "width"),
            pack_u32(header.height, "height"),
            pack_u64(count, "frame count"),
            _pack_ratio(header.time_base, "time base"),
            bytes(8) if rate is None else _pack_ratio(rate, "frame rate"),
            _pack_ratio(header.sar, "sample aspect ratio"),
            pack_u8(header.colour.primaries, "colour primaries"),
            pack_u8(header.colour.transfer, "colour transfer"),
            pack_u8(header.colour.matrix, "colour matrix"),
            pack_u8(int(header.colour.full_range), "colour range"),
            pack_u16(header.rotation, "rotation"),
            bytes((BITS_PER_TOKEN, SPATIAL_FACTOR, TEMPORAL_FACTOR, CHUNK_FRAMES)),
            pack_u8(header.max_stages, "stages"),
            pack_u8(int(header.profile), "profile"),
            pack_u16(header.gop_chunks, "GOP length"),
            pack_u8(len(header.streams), "stream count"),
            b"\0",
            header.tokenizer_sha256,
            header.prior_sha256,
            table,
        )
    )
    return body + pack_u32(crc32(body), "header CRC")


def parse_prologue(data: bytes, limits: Limits = DEFAULT_LIMITS) -> int:
    """Check magic and version in the first 16 bytes and give the header length.

    `data` is shorter where the file is. Errors in this order: `BadMagic`, `Truncated`,
    `UnsupportedVersion`, `InvalidField` or `LimitExceeded` (header length).
    """
    if data[:8] != MAGIC[: len(data[:8])]:
        raise BadMagic("not a .lfq file", offset=0)
    if len(data) < 10:
        raise Truncated("file ends inside the header", offset=len(data))
    version = int.from_bytes(data[8:10], "little")
    if version != VERSION:
        raise UnsupportedVersion(f"format version {version}; this decoder knows version {VERSION}", offset=8)
    if len(data) < PROLOGUE_BYTES:
        raise Truncated("file ends inside the header", offset=len(data))
    length = int.from_bytes(data[12:16], "little")
    require(length >= FIXED_BYTES, f"header length {length} is below {FIXED_BYTES}", offset=12)
    if length > limits.max_header_bytes:
        raise LimitExceeded(
            f"header of {length} bytes, at most {limits.max_header_bytes} are allowed", offset=12
        )
    return length


def parse_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> FileHeader:
    """Parse a complete header, `parse_prologue(data)` bytes long, CRC included.

    Raises `ChecksumMismatch`, `InvalidField` or `LimitExceeded`, each with the offset of the field.
    """
    stored = int.from_bytes(data[-4:], "little")
    if crc32(data[:-4]) != stored:
        raise ChecksumMismatch("header is damaged", offset=len(data) - 4)
    cursor = Cursor(data[:-4])
    cursor.take(10, "magic and version")
    flags = cursor.u16("flags")
    require(flags & ~FLAG_STILL_IMAGE == 0, f"reserved header flags are set: {flags:#06x}", offset=10)
    cursor.u32("header length")
    width, height = cursor.u32("width"), cursor.u32("height")
    _check_size(width, height, limits)
    count = cursor.u64("frame count")
    if count != UNKNOWN_FRAMES and count > limits.max_frames:
        raise LimitExceeded(f"{count} frames, at most {limits.max_frames} are allowed", offset=24)
    time_base = _ratio(cursor, "time base")
    if data[40:48] == bytes(8):
        cursor.take(8, "frame rate")
        frame_rate = None
    else:
        frame_rate = _ratio(cursor, "frame rate")
    sar = _ratio(cursor, "sample aspect ratio")
    primaries, transfer, matrix = (cursor.u8("colour") for _ in range(3))
    full_range = cursor.u8("colour range")
    require(full_range <= 1, f"colour range must be 0 or 1, not {full_range}", offset=59)
    rotation = cursor.u16("rotation")
    for at, (what, wanted) in enumerate(
        (
            ("bits per token", BITS_PER_TOKEN),
            ("spatial factor", SPATIAL_FACTOR),
            ("temporal factor", TEMPORAL_FACTOR),
            ("chunk frames", CHUNK_FRAMES),
        )
    ):
        value = cursor.u8(what)
        require(value == wanted, f"{what} must be {wanted}, not {value}", offset=62 + at)
    max_stages = cursor.u8("stages")
    profile = cursor.u8("profile")
    require(profile in tuple(Profile), f"unknown profile {profile}", offset=67)
    gop_chunks = cursor.u16("GOP length")
    stream_count = cursor.u8("stream count")
    if stream_count > limits.max_streams:
        raise LimitExceeded(
            f"{stream_count} copied streams, at most {limits.max_streams} are allowed", offset=70
        )
    require(cursor.u8("reserved") == 0, "reserved header byte is set", offset=71)
    tokenizer, prior = cursor.take(32, "tokenizer SHA-256"), cursor.take(32, "prior SHA-256")
    streams = tuple(parse_stream(cursor, limits) for _ in range(stream_count))
    cursor.finish("header")
    return FileHeader(
        width=width,
        height=height,
        time_base=time_base,
        frame_rate=frame_rate,
        frame_count=None if count == UNKNOWN_FRAMES else count,
        colour=Colour(primaries, transfer, matrix, bool(full_range)),
        sar=sar,
        rotation=rotation,
        gop_chunks=gop_chunks,
        max_stages=max_stages,
        profile=Profile(profile),
        tokenizer_sha256=tokenizer,
        prior_sha256=prior,
        streams=streams,
        still_image=bool(flags & FLAG_STILL_IMAGE),
    )


def check_limits(header: FileHeader, limits: Limits) -> None:
    """`LimitExceeded` where a header that is about to be written is over `limits`."""
    data = pack_header(header)
    parse_prologue(data, limits)
    parse_header(data, limits)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width > limits.max_width:
        raise LimitExceeded(f"width {width}, at most {limits.max_width} is allowed", offset=16)
    if height > limits.max_height:
        raise LimitExceeded(f"height {height}, at most {limits.max_height} is allowed", offset=20)
    if width * height > limits.max_pixels:
        raise LimitExceeded(
            f"{width}x{height} pixels, at most {limits.max_pixels} in all are allowed", offset=16
        )


def _pack_ratio(value: Fraction, what: str) -> bytes:
    return pack_u32(value.numerator, what) + pack_u32(value.denominator, what)


def _ratio(cursor: Cursor, what: str) -> Fraction:
    """A ratio of two u32, both at least 1 and without a common factor, so that it has one encoding only."""
    offset = cursor.offset
    numerator, denominator = cursor.u32(what), cursor.u32(what)
    if numerator == 0 or denominator == 0:
        raise InvalidField(f"{what} {numerator}/{denominator} has a zero", offset=offset)
    ratio = Fraction(numerator, denominator)
    require(
        ratio.denominator == denominator,
        f"{what} {numerator}/{denominator} is not in lowest terms",
        offset=offset,
    )
    return ratio
