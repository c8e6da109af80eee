"""The file header: round trips, and one test for each thing that can be wrong with it."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import pytest
from bitstream_helpers import AUDIO, HEADER, patch_header
from hypothesis import given, settings
from hypothesis import strategies as st

from lfqcodec import errors
from lfqcodec.bitstream import (
    NO_HASH,
    BitstreamReader,
    BitstreamWriter,
    FileHeader,
    LayerCounts,
    Limits,
    Profile,
    pack_header,
    parse_header,
    parse_prologue,
)
from lfqcodec.media import TRACK_FLAGS, Chapter, Colour, Metadata, StreamInfo, Track

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
KEYS = st.text("abcxyz_- 09", min_size=1, max_size=20)
TAGS = st.dictionaries(KEYS, st.text(max_size=20), max_size=4).map(lambda each: tuple(sorted(each.items())))
FLAGS = st.sets(st.sampled_from(TRACK_FLAGS)).map(lambda each: tuple(sorted(each, key=TRACK_FLAGS.index)))
TRACKS = st.builds(Track, tags=TAGS, flags=FLAGS)
CHAPTERS = st.builds(
    lambda start, length, title: Chapter(start, start + length, title),
    st.integers(-(2**40), 2**62),
    st.integers(0, 2**62 - 1),
    st.text(max_size=20),
)


@st.composite
def headers(draw):
    still = draw(st.booleans())
    exact = draw(st.booleans())
    streams = tuple(draw(st.lists(STREAMS, max_size=4)))
    tracks = tuple(draw(TRACKS) for _ in streams)
    metadata = Metadata(draw(TAGS), draw(TRACKS), tracks, tuple(draw(st.lists(CHAPTERS, max_size=3))))
    if metadata == Metadata(streams=(Track(),) * len(streams)):
        metadata = Metadata()
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
        layers=LayerCounts(draw(st.integers(1, 16)), draw(st.integers(1, 8)), draw(st.integers(1, 4))),
        profile=Profile.EXACT if exact else Profile.STATIC,
        tokenizer_sha256=draw(st.binary(min_size=32, max_size=32)),
        prior_sha256=draw(st.binary(min_size=32, max_size=32).filter(any)) if exact else NO_HASH,
        streams=streams,
        still_image=still,
        metadata=metadata,
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
    assert len(pack_header(replace(HEADER, streams=()))) == 144
    assert len(pack_header(HEADER)) <= 204


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
        {"metadata": Metadata(streams=(Track(),))},
        {"metadata": Metadata((("title", "x"),), streams=())},
        {"metadata": Metadata((("Title", "x"),), streams=(Track(),))},
        {"metadata": Metadata((("b", ""), ("a", "")), streams=(Track(),))},
        {"metadata": Metadata((("a", "\ud800"),), streams=(Track(),))},
        {"metadata": Metadata(video=Track(flags=("forced", "default")), streams=(Track(),))},
        {"metadata": Metadata(streams=(Track(),), chapters=(Chapter(1, 0),))},
    ],
)
def test_values_that_cannot_be_written(changes):
    with pytest.raises(errors.InvalidField):
        replace(HEADER, **changes)


@pytest.mark.parametrize(
    "counts", [(0, 1, 1), (25, 1, 1), (1, 0, 1), (1, 9, 1), (1, 1, 0), (1, 1, 5), (-1, 1, 1)]
)
def test_layers_that_cannot_be_written(counts):
    with pytest.raises(errors.InvalidField, match="layers must be"):
        LayerCounts(*counts)


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
        ({}, Limits(max_header_bytes=144)),
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
    assert parse_header(pack_header(header), Limits(max_width=20000)) == header
