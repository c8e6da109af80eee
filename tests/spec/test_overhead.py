"""Everything that is not payload stays below 1% at 100 kbit/s, as section 16 of the specification says."""

from __future__ import annotations

import io
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import add_chunk
from token_support import NOTHING, Noise, Style, chunk_tokens, token_encoder

from lfqcodec.bitstream import BitstreamWriter, ChunkHead, FileHeader, LayerCounts, Limits
from lfqcodec.bitstream.syntax.fields import crc32

SPEC = (Path(__file__).parents[2] / "bitstream_spec.md").read_text("utf-8")


LAYERS = LayerCounts(12, 4, 2)


def overhead(gop, *, seconds=60, durations=(1,), rate=100_000):
    """Bytes that are not payload, bytes in all, and chunks, of a video of 30 frames/s and 2 streams."""
    header = FileHeader(640, 360, Fraction(1, 30), LAYERS, frame_rate=Fraction(30), gop_chunks=gop)
    out = io.BytesIO()
    frame = chunk = pts = payload = 0
    with BitstreamWriter(out, header) as writer:
        while frame < 30 * seconds:
            start = chunk % gop == 0
            valid = 17 if start else 16
            size = valid * rate // 30 // 8 // 4  # words
            steps = [durations[(frame + k) % len(durations)] for k in range(valid)]
            writer.write_chunk(
                gop_start=start,
                pts=[pts + sum(steps[:k]) for k in range(valid)],
                last_duration=steps[-1],
                streams=[np.ones(size // 2, np.uint32), np.ones(size - size // 2, np.uint32)],
                token_crcs=[1, 2],
            )
            frame, chunk, pts, payload = frame + valid, chunk + 1, pts + sum(steps), payload + 4 * size
    return len(out.getvalue()) - payload, len(out.getvalue()), chunk


@pytest.mark.parametrize(
    ("gop", "durations", "per_chunk"),
    [(4, (1,), 43), (4, (512,), 44), (1, (1,), 61), (4, (33, 33, 34), 59), (8, (33, 33, 34), 57)],
)
def test_overhead(gop, durations, per_chunk):
    extra, total, chunks = overhead(gop, durations=durations)
    assert extra < 0.01 * total
    assert (extra - 206) / chunks <= per_chunk
    ten_seconds = overhead(gop, seconds=10, durations=durations)
    assert ten_seconds[0] < 0.0125 * ten_seconds[1]


def test_fixed_parts():
    extra, _, chunks = overhead(4, seconds=1)
    assert chunks == 2
    assert extra == 144 + 42 + 20 + 2 * 37 + 17 + 4


def test_a_clip_that_stands_still():
    """What it takes after its first picture: another quality, that nothing moves, then nothing.

    Motion comes before the picture in the stream, so what it costs is what its rows say.
    """
    header = FileHeader(640, 360, Fraction(1, 30), LAYERS, gop_chunks=3)
    sizes = []
    for gop in ((1,), (17, 16, 16)):
        out, encoder, noise = io.BytesIO(), token_encoder(header), Noise("still")
        with BitstreamWriter(out, header) as writer:
            for number, valid in enumerate(gop):
                start, times = number == 0, range(16 * number + (number > 0), 16 * number + 17)[:valid]
                groups = chunk_tokens(header, valid, start, noise, NOTHING, streams=1)
                if start:
                    groups[0] = chunk_tokens(header, 1, True, Noise("picture"), Style(qualities=(96,)))[0]
                    groups[1:2] = [(groups[1][0] + 480, *groups[1][1:])] if valid > 1 else []
                head = add_chunk(writer, groups, start, times, 1, encoder)
                sizes.append(head.size)
    picture, first, *later = sizes
    assert picture > 10_000
    still = sum(
        24 - math.log2(2**24 - sum(moved << 9 - min(s, 512 - s).bit_length() for s in range(1, 512)))
        for moved in (2048, 1536)
    )
    assert first - picture <= 4 * 23 * 40 * still / 8 + 4
    text = re.search(r"A chunk in which nothing is coded takes (\d+) bytes", SPEC)
    assert text
    assert later == [int(text[1])] * 2
    assert int(text[1]) < 150


def test_limits_of_the_text_are_those_of_the_code():
    limits = Limits()
    table = SPEC[SPEC.index("## 14.") : SPEC.index("## 15.")]
    rows = dict(re.findall(r"^\| (.+?) \| (2\^\d+|\d+)", table, re.MULTILINE))
    values = {name: 2 ** int(text[2:]) if text.startswith("2^") else int(text) for name, text in rows.items()}
    assert values == {
        "width, height": limits.max_width,
        "pixels in a picture": limits.max_pixels,
        "frames in a file": limits.max_frames,
        "GOPs in a file": limits.max_gops,
        "header length": limits.max_header_bytes,
        "copied streams": limits.max_streams,
        "extradata of a stream": limits.max_extradata_bytes,
        "body of a unit": limits.max_unit_bytes,
        "packets in a unit": limits.max_unit_packets,
        "data of a packet": limits.max_packet_bytes,
    }
    assert limits.max_height == limits.max_width


def test_crc_check_value():
    assert "0xCBF43926" in SPEC
    assert crc32(b"123456789") == 0xCBF43926
    value = 0xFFFFFFFF
    for byte in b"123456789":
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    assert value ^ 0xFFFFFFFF == 0xCBF43926


def test_a_head_fits_its_limit():
    """The longest head that version 2 can have."""
    worst = ChunkHead(0, True, 0, tuple(2**31 * k for k in range(17)), 2**31, (1,) * 2, (1,) * 2)
    assert 7 + 16 + 5 * worst.valid + worst.stream_count * (5 + 4) <= 512
