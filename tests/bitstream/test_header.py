"""The file header: round trips, and one test for each thing that can be wrong with it."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import pytest
from bitstream_helpers import AUDIO, HEADER, decode_file, error_of_independent, make_file, patch_header, u32
from hypothesis import given, settings
from hypothesis import strategies as st

from lfqcodec import errors
from lfqcodec.bitstream import (
    MAGIC,
    NO_HASH,
    BitstreamReader,
    BitstreamWriter,
    FileHeader,
    Limits,
    Profile,
    pack_header,
    parse_header,
    parse_prologue,
)
from lfqcodec.media import Colour, StreamInfo

DATA, _ = make_file(((1,),), packets=0)
U32 = st.integers(1, 2**32 - 1)
RATIOS = st.builds(Fraction, U32, U32)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=255)
SHORT = st.integers(0, 2**32 - 1)
STREAMS = st.builds(
    StreamInfo,
    kind=st.sampled_from(["audio", "subtitle"]),
    codec=TEXT.filter(bool),
    time_base=RATIOS,
    sample_rate=SHORT,
    channels=st.integers(0, 65535),
    layout=TEXT,
    bit_rate=SHORT,
    frame_size=SHORT,
    initial_padding=SHORT,
    language=TEXT,
    extradata=st.binary(max_size=50),
)
CODES = st.integers(0, 255)


@st.composite
def headers(draw):
    still = draw(st.booleans())
    exact = draw(st.booleans())
    return FileHeader(
        width=draw(st.integers(1, 8192)),
        height=draw(st.integers(1, 8192)),
        time_base=draw(RATIOS),
        frame_rate=draw(st.none() | RATIOS),
        frame_count=1 if still else draw(st.none() | st.integers(1, 2**32)),
        colour=draw(st.builds(Colour, CODES, CODES, CODES, st.booleans())),
        sar=draw(RATIOS),
        rotation=draw(st.sampled_from([0, 90, 180, 270])),
        gop_chunks=draw(st.integers(1, 65535)),
        max_stages=draw(st.integers(1, 16)),
        profile=Profile.EXACT if exact else Profile.STATIC,
        tokenizer_sha256=draw(st.binary(min_size=32, max_size=32)),
        prior_sha256=draw(st.binary(min_size=32, max_size=32).filter(any)) if exact else NO_HASH,
        streams=tuple(draw(st.lists(STREAMS, max_size=4))),
        still_image=still,
    )


@settings(max_examples=150, deadline=None)
@given(headers())
def test_round_trip(header):
    data = pack_header(header)
    assert parse_prologue(data[:16]) == len(data)
    assert parse_header(data) == header
    assert pack_header(parse_header(data)) == data


@settings(max_examples=100, deadline=None)
@given(headers(), st.data())
def test_changed_bytes_with_a_mended_crc_never_crash(header, data):
    packed = pack_header(header)
    at = data.draw(st.integers(10, len(packed) - 5))
    mutated = patch_header(packed, at, data.draw(st.binary(min_size=1, max_size=4))[: len(packed) - 4 - at])
    try:
        if parse_prologue(mutated[:16]) != len(mutated):
            return
        again = parse_header(mutated)
    except errors.BitstreamError:
        return
    assert pack_header(again) == mutated


def test_size_of_the_fixed_part():
    assert len(pack_header(replace(HEADER, streams=()))) == 140
    assert len(pack_header(HEADER)) <= 200


FAULTS = [
    ("flag 1", 10, b"\x02\x00", "InvalidField"),
    ("flag 15", 10, b"\x00\x80", "InvalidField"),
    ("header length 139", 12, u32(139), "InvalidField"),
    ("header length 0", 12, u32(0), "InvalidField"),
    ("header of 4 GiB", 12, u32(2**32 - 1), "LimitExceeded"),
    ("width 0", 16, u32(0), "InvalidField"),
    ("width 16385", 16, u32(16385), "LimitExceeded"),
    ("width 2^31", 16, u32(2**31), "LimitExceeded"),
    ("height 0", 20, u32(0), "InvalidField"),
    ("height 16385", 20, u32(16385), "LimitExceeded"),
    ("2^26 + 2^14 pixels", 16, u32(16384) + u32(4097), "LimitExceeded"),
    ("frame count 0", 24, bytes(8), "InvalidField"),
    ("2^60 frames", 24, (2**60).to_bytes(8, "little"), "LimitExceeded"),
    ("time base 0/1", 32, u32(0) + u32(1), "InvalidField"),
    ("time base 1/0", 32, u32(1) + u32(0), "InvalidField"),
    ("time base 2/4", 32, u32(2) + u32(4), "InvalidField"),
    ("frame rate 0/1", 40, u32(0) + u32(1), "InvalidField"),
    ("frame rate 1/0", 40, u32(1) + u32(0), "InvalidField"),
    ("frame rate 60/2", 40, u32(60) + u32(2), "InvalidField"),
    ("sample aspect 0/0", 48, bytes(8), "InvalidField"),
    ("sample aspect 3/3", 48, u32(3) + u32(3), "InvalidField"),
    ("colour range 2", 59, b"\x02", "InvalidField"),
    ("rotation 45", 60, b"\x2d\x00", "InvalidField"),
    ("rotation 360", 60, b"\x68\x01", "InvalidField"),
    ("17 bits per token", 62, b"\x11", "InvalidField"),
    ("spatial factor 16", 63, b"\x10", "InvalidField"),
    ("temporal factor 8", 64, b"\x08", "InvalidField"),
    ("chunks of 16 frames", 65, b"\x10", "InvalidField"),
    ("0 stages", 66, b"\x00", "InvalidField"),
    ("17 stages", 66, b"\x11", "InvalidField"),
    ("profile 2", 67, b"\x02", "InvalidField"),
    ("profile exact without a prior", 67, b"\x01", "InvalidField"),
    ("GOP of 0 chunks", 68, b"\x00\x00", "InvalidField"),
    ("65 streams", 70, b"\x41", "LimitExceeded"),
    ("a stream too many", 70, b"\x02", "InvalidField"),
    ("a stream too few", 70, b"\x00", "InvalidField"),
    ("reserved byte", 71, b"\x01", "InvalidField"),
    ("static with a prior", 104, b"\x01", "InvalidField"),
    ("stream kind 2", 136, b"\x02", "InvalidField"),
    ("stream without codec", 137, b"\x00", "InvalidField"),
    ("stream time base 0/1", 140, u32(0), "InvalidField"),
    ("stream time base 2/48000", 140, u32(2), "InvalidField"),
    ("extradata of 2^20 + 1 bytes", 166, u32(2**20 + 1), "LimitExceeded"),
    ("extradata longer than the header", 166, u32(3), "InvalidField"),
    ("extradata shorter than the header", 166, u32(1), "InvalidField"),
    ("codec name with a control byte", 170, b"\x1f", "InvalidField"),
    ("codec name beyond ASCII", 170, b"\xe9", "InvalidField"),
]


@pytest.mark.parametrize(
    ("offset", "value", "name"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_faults(offset, value, name):
    data = patch_header(DATA, offset, value)
    with pytest.raises(errors.BitstreamError) as caught:
        decode_file(data)
    assert type(caught.value).__name__ == name
    assert caught.value.offset is not None
    assert caught.value.chunk is None
    assert error_of_independent(data) == name


@pytest.mark.parametrize("count", [2, 2**64 - 1])
def test_a_still_image_has_one_frame(count):
    data = patch_header(patch_header(DATA, 10, b"\x01\x00"), 24, count.to_bytes(8, "little"))
    with pytest.raises(errors.InvalidField, match="still image"):
        decode_file(data)
    assert error_of_independent(data) == "InvalidField"


def test_fields_too_many():
    data = patch_header(DATA, 0, b"", grow=b"\0")
    with pytest.raises(errors.InvalidField, match="too many"):
        decode_file(data)
    assert error_of_independent(data) == "InvalidField"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "Truncated"),
        (MAGIC[:5], "Truncated"),
        (b"RIFF", "BadMagic"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "BadMagic"),
        (MAGIC.replace(b"\r\n", b"\n") + bytes(200), "BadMagic"),
        (bytes(5000), "BadMagic"),
        (MAGIC, "Truncated"),
        (MAGIC + b"\x02\x00", "UnsupportedVersion"),
        (MAGIC + b"\x00\x00" + bytes(200), "UnsupportedVersion"),
        (MAGIC + b"\xff\xff" + b"whatever a later version may hold", "UnsupportedVersion"),
        (MAGIC + b"\x01\x00\x00", "Truncated"),
    ],
)
def test_foreign_and_later_files(data, name):
    with pytest.raises(errors.BitstreamError) as caught:
        BitstreamReader(io.BytesIO(data))
    assert type(caught.value).__name__ == name
    assert error_of_independent(data) == name


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": -1},
        {"frame_count": 0},
        {"time_base": Fraction(0)},
        {"frame_rate": Fraction(-1)},
        {"sar": Fraction(0)},
        {"colour": Colour(256)},
        {"rotation": 1},
        {"gop_chunks": 0},
        {"gop_chunks": 65536},
        {"max_stages": 0},
        {"max_stages": 17},
        {"tokenizer_sha256": b"short"},
        {"prior_sha256": b"\1" * 32},
        {"prior_sha256": b"\1" * 31},
        {"profile": Profile.EXACT},
        {"still_image": True},
        {"still_image": True, "frame_count": 2},
        {"streams": (AUDIO,) * 256},
        {"streams": (replace(AUDIO, kind="video"),)},
        {"streams": (replace(AUDIO, codec=""),)},
        {"streams": (replace(AUDIO, layout="é"),)},
        {"streams": (replace(AUDIO, time_base=Fraction(-1)),)},
    ],
)
def test_values_that_cannot_be_written(changes):
    with pytest.raises(errors.InvalidField):
        replace(HEADER, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"time_base": Fraction(1, 2**32)},
        {"frame_count": 2**64 - 1},
        {"streams": (replace(AUDIO, sample_rate=-1),)},
        {"streams": (replace(AUDIO, channels=65536),)},
        {"width": 2**32},
    ],
)
def test_values_that_do_not_fit_their_fields(changes):
    with pytest.raises(errors.InvalidField, match="does not fit"):
        pack_header(replace(HEADER, **changes))


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({"width": 20000}, Limits()),
        ({}, Limits(max_width=15)),
        ({}, Limits(max_height=7)),
        ({}, Limits(max_pixels=127)),
        ({"frame_count": 11}, Limits(max_frames=10)),
        ({}, Limits(max_streams=0)),
        ({}, Limits(max_extradata_bytes=1)),
        ({}, Limits(max_header_bytes=140)),
    ],
)
def test_limits_hold_for_reader_and_writer(changes, limits):
    header = replace(HEADER, **changes)
    with pytest.raises(errors.LimitExceeded):
        BitstreamReader(io.BytesIO(pack_header(header)), limits)
    with pytest.raises(errors.LimitExceeded):
        BitstreamWriter(io.BytesIO(), header, limits)


def test_limits_can_be_raised():
    header = replace(HEADER, width=20000)
    parse_header(pack_header(header), Limits(max_width=20000))
