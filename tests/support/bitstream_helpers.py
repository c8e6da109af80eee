"""Small .lfq files, both decoders, a way to break files on purpose, and a plain-Python rANS."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from fractions import Fraction

import independent_decoder as independent
import numpy as np
from token_support import USUAL, Noise, chunk_tokens, crcs_of, token_decoder, token_encoder

from lfqcodec.bitstream import BitstreamReader, BitstreamWriter, Chunk, FileHeader, LayerCounts
from lfqcodec.bitstream.limits import DEFAULT_LIMITS
from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.media import StreamInfo, StreamPacket

AUDIO = StreamInfo(
    "audio", "aac", Fraction(1, 48000), 48000, 2, "stereo", 128000, 1024, 1024, "eng", b"\x11\x90"
)
LAYERS = LayerCounts(2, 2, 1)
HEADER = FileHeader(16, 8, Fraction(1, 30), LAYERS, frame_rate=Fraction(30), gop_chunks=2, streams=(AUDIO,))


class Pipe(io.BytesIO):
    """A stream that cannot seek and gives little at a time."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation("seek")

    def tell(self):
        raise io.UnsupportedOperation("tell")

    def read(self, count=-1):
        return super().read(min(count, 7) if count >= 0 else count)


def add_chunk(writer, tokens, gop_start, pts, last_duration, encoder, group_size=4):
    """Write the next chunk of `encoder`, which codes a whole file; tokens by group and layer."""
    streams = encoder.encode(tokens, len(pts), gop_start=gop_start, group_size=group_size)
    return writer.write_chunk(
        gop_start=gop_start,
        pts=pts,
        last_duration=last_duration,
        streams=streams,
        token_crcs=crcs_of(writer.header, len(pts), gop_start, tokens, group_size)[: len(streams)],
        group_size=group_size,
    )


def make_file(
    gops=((17, 3), (2,)),
    *,
    header=HEADER,
    streams=2,
    packets=2,
    out=None,
    seed=0,
    durations=(1,),
    style=USUAL,
):
    """A file of random tokens. Gives its bytes and the tokens of each chunk by group and layer."""
    rng, noise, encoder = np.random.default_rng(seed), Noise(seed), token_encoder(header)
    out = io.BytesIO() if out is None else out
    writer = BitstreamWriter(out, header)
    pts, frame, everything = 0, 0, []
    for gop in gops:
        for position, valid in enumerate(gop):
            steps = [durations[(frame + k) % len(durations)] for k in range(valid)]
            times = [pts + sum(steps[:k]) for k in range(valid)]
            tokens = chunk_tokens(header, valid, position == 0, noise, style, streams)
            add_chunk(writer, tokens, position == 0, times, steps[-1], encoder)
            everything.append(tokens)
            pts, frame = pts + sum(steps), frame + valid
            if header.streams and packets:
                writer.write_packets(
                    StreamPacket(
                        0, frame * 1600 + k * 1024, frame * 1600 + k * 1024, 1024, True, rng.bytes(3 + k)
                    )
                    for k in range(packets)
                )
    writer.close()
    return out.getvalue(), everything


def decode_file(data, limits=DEFAULT_LIMITS, stream=io.BytesIO):
    """All tokens of a file, strictly: the first fault is raised."""
    reader = BitstreamReader(stream(data), limits)
    decoder = token_decoder(reader.header)
    out = [decoder.decode(unit) for unit in reader if isinstance(unit, Chunk)]
    assert reader.complete
    return out


def same_tokens(left, right):
    """Whether two lists of chunks hold the same tokens, which come by group and layer."""
    if isinstance(left, np.ndarray):
        return np.array_equal(left, right)
    return len(left) == len(right) and all(same_tokens(a, b) for a, b in zip(left, right, strict=True))


def error_of_independent(data):
    """The name of the error that the independent decoder gives, None where it finds none."""
    try:
        independent.decode(data)
    except independent.Fault as fault:
        return fault.name
    return None


# Breaking files ---------------------------------------------------------------------------------------


def u32(value):
    return value.to_bytes(4, "little")


def header_length(data):
    return int.from_bytes(data[12:16], "little")


def patch_header(data, offset, value, *, grow=b""):
    """Put bytes into the header and mend its length and CRC. `grow` is added at its end."""
    end = header_length(data)
    head = bytearray(data[: end - 4]) + grow
    head[offset : offset + len(value)] = value
    if grow:
        head[12:16] = u32(end + len(grow))
    return bytes(head) + u32(zlib.crc32(head)) + data[end:]


def unit_offsets(data):
    """Offsets of all units, and of the trailer."""
    at, out = header_length(data), []
    while data[at : at + 3] == b"LFQ":
        out.append(at)
        n, m = (
            int.from_bytes(data[at + 4 : at + 6], "little"),
            int.from_bytes(data[at + 6 : at + 10], "little"),
        )
        at += 18 + n + m
    return [*out, at]


def split_unit(data, number):
    """Bytes before a unit, its type, head, body, and bytes after it."""
    offsets = unit_offsets(data)
    at, end = offsets[number], offsets[number + 1]
    n = int.from_bytes(data[at + 4 : at + 6], "little")
    return (
        data[:at],
        data[at + 3 : at + 4],
        data[at + 10 : at + 10 + n],
        data[at + 14 + n : end - 4],
        data[end:],
    )


def join_unit(kind, head, body, length=None):
    start = (
        b"LFQ" + kind + len(head).to_bytes(2, "little") + u32(len(body) if length is None else length) + head
    )
    return start + u32(zlib.crc32(start)) + body + u32(zlib.crc32(body))


def patch_unit(data, number, *, kind=None, head=None, body=None, length=None):
    """Change type, head or body of a unit (bytes, or a function of the old bytes) and mend its CRCs."""
    before, old_kind, old_head, old_body, after = split_unit(data, number)
    new_head = head(old_head) if callable(head) else old_head if head is None else head
    new_body = body(old_body) if callable(body) else old_body if body is None else body
    return before + join_unit(kind or old_kind, new_head, new_body, length) + after


def put(offset, value):
    """A function that puts bytes at an offset."""
    return lambda old: old[:offset] + value + old[offset + len(value) :]


def without_streams(header=HEADER, **changes):
    return replace(header, streams=(), **changes)


# The rANS of section 12, word by word from its pseudocode ------------------------------------------------


def oracle_encode(intervals):
    state, words = 0, []
    for start, freq in reversed(intervals):
        if (state >> 40) >= freq:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = (state // freq << 24) + start + state % freq
        assert state < 1 << 64
    while state > 0:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return words


def oracle_decode(rows, words):
    words, state, out = list(words), 0, []
    for _ in range(2):
        if words:
            state = (state << 32) + words.pop()
    for row in rows:
        q, start, symbol = state & 0xFFFFFF, 0, 0
        while start + row[symbol] <= q:
            start += row[symbol]
            symbol += 1
        out.append(symbol)
        state = row[symbol] * (state >> 24) + q - start
        if state < 1 << 32 and words:
            state = (state << 32) + words.pop()
    assert state == 0
    assert not words
    return out


def random_rows(rng, count, sharpness):
    """Integer rows that sum to 2^24, from flat to so sharp that all but one entry are 1."""
    logits = rng.normal(size=(count, 512)) * sharpness
    weights = np.exp(logits - logits.max(1, keepdims=True))
    rows = 1 + np.floor(weights / weights.sum(1, keepdims=True) * (ROW_SUM - 512)).astype(np.int64)
    rows[np.arange(count), rows.argmax(1)] += ROW_SUM - rows.sum(1)
    return rows.astype(np.uint32)
