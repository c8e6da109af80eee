"""Entries of the table of copied audio and subtitle streams in the header (spec section 3.2)."""

from __future__ import annotations

from fractions import Fraction

from lfqcodec.bitstream.fields import Cursor, pack_u8, pack_u16, pack_u32, require
from lfqcodec.bitstream.limits import Limits
from lfqcodec.errors import LimitExceeded
from lfqcodec.media import StreamInfo

KINDS = ("audio", "subtitle")


def _printable(text: str) -> bool:
    return all(" " <= character <= "~" for character in text)


def check_stream(stream: StreamInfo) -> None:
    """`InvalidField` unless every value of `stream` can be written."""
    require(stream.kind in KINDS, f"unknown kind of copied stream: {stream.kind!r}")
    require(bool(stream.codec), "a copied stream has no codec name")
    for what, text in (("codec", stream.codec), ("layout", stream.layout), ("language", stream.language)):
        require(
            _printable(text) and len(text) <= 255, f"{what} of a copied stream is not short ASCII: {text!r}"
        )
    require(stream.time_base > 0, "time base of a copied stream is not positive")


def pack_stream(stream: StreamInfo) -> bytes:
    """The bytes of one entry. Raises `InvalidField` where a value does not fit its field."""
    codec, layout, language = (
        text.encode("ascii") for text in (stream.codec, stream.layout, stream.language)
    )
    return b"".join(
        (
            pack_u8(KINDS.index(stream.kind), "stream kind"),
            pack_u8(len(codec), "codec length"),
            pack_u8(len(layout), "layout length"),
            pack_u8(len(language), "language length"),
            pack_u32(stream.time_base.numerator, "stream time base"),
            pack_u32(stream.time_base.denominator, "stream time base"),
            pack_u32(stream.sample_rate, "sample rate"),
            pack_u16(stream.channels, "channels"),
            pack_u32(stream.bit_rate, "bit rate"),
            pack_u32(stream.frame_size, "frame size"),
            pack_u32(stream.initial_padding, "initial padding"),
            pack_u32(len(stream.extradata), "extradata length"),
            codec,
            layout,
            language,
            stream.extradata,
        )
    )


def parse_stream(cursor: Cursor, limits: Limits) -> StreamInfo:
    """Parse one entry. Raises `InvalidField` or `LimitExceeded` (extradata)."""
    start = cursor.offset
    kind = cursor.u8("stream kind")
    require(kind < len(KINDS), f"unknown kind of copied stream: {kind}", offset=start)
    lengths = [cursor.u8("text length") for _ in range(3)]
    require(lengths[0] > 0, "a copied stream has no codec name", offset=start + 1)
    numerator, denominator = cursor.u32("stream time base"), cursor.u32("stream time base")
    require(numerator > 0 and denominator > 0, "time base of a copied stream has a zero", offset=start + 4)
    time_base = Fraction(numerator, denominator)
    require(
        time_base.denominator == denominator,
        "time base of a copied stream is not in lowest terms",
        offset=start + 4,
    )
    sample_rate = cursor.u32("sample rate")
    channels = cursor.u16("channels")
    bit_rate = cursor.u32("bit rate")
    frame_size = cursor.u32("frame size")
    initial_padding = cursor.u32("initial padding")
    extradata_length = cursor.u32("extradata length")
    if extradata_length > limits.max_extradata_bytes:
        raise LimitExceeded(
            f"extradata of {extradata_length} bytes, at most {limits.max_extradata_bytes} are allowed",
            offset=cursor.offset - 4,
        )
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
        extradata=cursor.take(extradata_length, "extradata"),
    )
