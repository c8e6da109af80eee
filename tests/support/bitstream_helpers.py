"""Small .lfq files, both decoders, a way to break files on purpose, and a plain-Python rANS."""

from __future__ import annotations

import importlib.util
import io
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from lfqcodec.bitstream import (
    BitstreamReader,
    BitstreamWriter,
    Chunk,
    FileHeader,
    check_tokens,
    latent_frames,
    token_crc,
)
from lfqcodec.bitstream.limits import DEFAULT_LIMITS
from lfqcodec.entropy import decode_tokens, encode_tokens, uniform_rows
from lfqcodec.media import StreamInfo, StreamPacket

CONFORMANCE = Path(__file__).parents[1] / "conformance"
AUDIO = StreamInfo(
    "audio", "aac", Fraction(1, 48000), 48000, 2, "stereo", 128000, 1024, 1024, "eng", b"\x11\x90"
)
HEADER = FileHeader(16, 8, Fraction(1, 30), frame_rate=Fraction(30), gop_chunks=2, streams=(AUDIO,))


def load(name):
    """A script of tests/conformance as a module."""
    spec = importlib.util.spec_from_file_location(name, CONFORMANCE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


independent = load("independent_decoder")


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


def tokens_of(rng, header, valid, gop_start, stages):
    shape = (latent_frames(valid, gop_start), *header.grid)
    return [rng.integers(0, 1 << 18, shape) for _ in range(stages)]


def add_chunk(writer, tokens, gop_start, pts, last_duration):
    return writer.write_chunk(
        gop_start=gop_start,
        pts=pts,
        last_duration=last_duration,
        streams=[encode_tokens(uniform_rows(each.size), each) for each in tokens],
        token_crcs=[token_crc(each) for each in tokens],
    )


def make_file(gops=((17, 3), (2,)), *, header=HEADER, stages=2, packets=2, out=None, seed=0, durations=(1,)):
    """A file of random tokens. Gives its bytes and the tokens of each chunk, stage by stage."""
    rng = np.random.default_rng(seed)
    out = io.BytesIO() if out is None else out
    writer = BitstreamWriter(out, header)
    pts, frame, everything = 0, 0, []
    for gop in gops:
        for position, valid in enumerate(gop):
            steps = [durations[(frame + k) % len(durations)] for k in range(valid)]
            times = [pts + sum(steps[:k]) for k in range(valid)]
            tokens = tokens_of(rng, header, valid, position == 0, stages)
            add_chunk(writer, tokens, position == 0, times, steps[-1])
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


def decode_chunk(reader, chunk):
    """All tokens of a chunk, checked."""
    shape = chunk.head.shape(reader.header)
    out = []
    for stage, words in enumerate(chunk.streams):
        rows = uniform_rows(int(np.prod(shape)))
        tokens = decode_tokens(rows, words, shape, offset=chunk.head.offset, chunk=chunk.head.number)
        check_tokens(tokens, chunk.head, stage, reader.header.profile)
        out.append(tokens)
    return out


def decode_file(data, limits=DEFAULT_LIMITS, stream=io.BytesIO):
    """All tokens of a file, strictly: the first fault is raised."""
    reader = BitstreamReader(stream(data), limits)
    out = [decode_chunk(reader, unit) for unit in reader if isinstance(unit, Chunk)]
    assert reader.complete
    return out


def same_tokens(left, right):
    return len(left) == len(right) and all(
        len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(left, right, strict=True)
    )


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
