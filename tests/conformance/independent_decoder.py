"""A second decoder of .lfq files, from bitstream_spec.md alone: standard library only, nothing of lfqcodec.

    python tests/conformance/independent_decoder.py FILE [--tokens]

Prints header, chunks, packets, index and the SHA-256 of all tokens (u32 little-endian, stream after stream,
chunk after chunk) and of all motion vectors as JSON; with --tokens also the tokens themselves. On a fault it
prints the name of the error with offset and chunk on stderr and exits with 4. It is plain rather than fast:
one subtoken at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import zlib
from pathlib import Path

# Python leaves the folder of a script out of its path where it is told to run alone.
sys.path.insert(0, str(Path(__file__).parent))

from independent_tokens import Fault, Rans, Stream, decode_stream, list_groups, pack_tokens, read_motion

# Section 14: default limits.
MAX_SIDE, MAX_PIXELS, MAX_FRAMES, MAX_GOPS = 16384, 1 << 26, 1 << 32, 1 << 20
MAX_HEADER, MAX_STREAMS, MAX_EXTRADATA = 1 << 22, 64, 1 << 20
MAX_BODY, MAX_UNIT_PACKETS, MAX_PACKET, MAX_HEAD = 1 << 28, 1 << 16, 1 << 26, 512

MAGIC = bytes.fromhex("89 4C 46 51 0D 0A 1A 0A")
TAIL = bytes.fromhex("89 4C 46 51 45 4E 44 0A")
UNKNOWN = (1 << 64) - 1


class Fields:
    """Section 1: fields taken one after the other from bytes start..end of the file."""

    def __init__(self, data, start, end, chunk=None):
        self.data, self.at, self.end, self.chunk = data, start, end, chunk

    def fail(self, message, name="InvalidField"):
        raise Fault(name, message, self.at, self.chunk)

    def need(self, condition, message, name="InvalidField"):
        if not condition:
            self.fail(message, name)

    def take(self, count):
        self.need(self.at + count <= self.end, "structure is too short for its fields")
        self.at += count
        return self.data[self.at - count : self.at]

    def u(self, size):
        return int.from_bytes(self.take(size), "little")

    def i64(self):
        return int.from_bytes(self.take(8), "little", signed=True)

    def varint(self):
        value = 0
        for group in range(10):
            byte = self.u(1)
            value += (byte & 127) << (7 * group)
            if byte < 128:
                self.need(byte > 0 or group == 0, "varint is not in its shortest form")
                self.need(value <= UNKNOWN, "varint is too large")
                return value
        return self.fail("varint is too long")

    def svarint(self):
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def ratio(self):
        numerator, denominator = self.u(4), self.u(4)
        self.need(numerator and denominator and math.gcd(numerator, denominator) == 1, "bad ratio")
        return f"{numerator}/{denominator}"

    def text(self, length):
        data = self.take(length)
        self.need(all(0x20 <= byte <= 0x7E for byte in data), "text is not printable ASCII")
        return data.decode("ascii")

    def utf8(self):
        data = self.take(self.varint())
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return self.fail("text is not UTF-8")

    def finish(self):
        self.need(self.at == self.end, "structure is longer than its fields")


def in_i64(*values):
    return all(-(1 << 63) <= value < 1 << 63 for value in values)


def read_header(data):
    """Section 3. Gives the header as a dict and its length."""
    if data[:8] != MAGIC[: len(data[:8])]:
        raise Fault("BadMagic", "not a .lfq file", 0)
    if len(data) < 10:
        raise Fault("Truncated", "no version", len(data))
    if int.from_bytes(data[8:10], "little") != 2:
        raise Fault("UnsupportedVersion", "version is not 2", 8)
    if len(data) < 16:
        raise Fault("Truncated", "no header length", len(data))
    length = int.from_bytes(data[12:16], "little")
    if length < 144:
        raise Fault("InvalidField", "header length", 12)
    if length > MAX_HEADER:
        raise Fault("LimitExceeded", "header length", 12)
    if len(data) < length:
        raise Fault("Truncated", "header", len(data))
    if zlib.crc32(data[: length - 4]) != int.from_bytes(data[length - 4 : length], "little"):
        raise Fault("ChecksumMismatch", "header", length - 4)
    f = Fields(data, 10, length - 4)
    flags = f.u(2)
    f.need(flags < 4, "reserved flags")
    f.take(4)
    still = flags & 1
    header = {"still_image": still == 1, "width": f.u(4), "height": f.u(4)}
    f.need(header["width"] and header["height"], "empty picture")
    f.need(header["width"] <= MAX_SIDE and header["height"] <= MAX_SIDE, "picture side", "LimitExceeded")
    f.need(header["width"] * header["height"] <= MAX_PIXELS, "picture area", "LimitExceeded")
    count = f.u(8)
    f.need(count > 0, "no frames")
    f.need(count == UNKNOWN or count <= MAX_FRAMES, "frame count", "LimitExceeded")
    f.need(not still or count == 1, "a still image has one frame")
    header["frame_count"] = None if count == UNKNOWN else count
    header["time_base"] = f.ratio()
    if data[f.at : f.at + 8] == bytes(8):
        f.take(8)
        header["frame_rate"] = None
    else:
        header["frame_rate"] = f.ratio()
    header["sar"] = f.ratio()
    header["colour"] = [f.u(1), f.u(1), f.u(1)]
    full_range = f.u(1)
    f.need(full_range < 2, "range")
    header["full_range"] = full_range == 1
    header["rotation"] = f.u(2)
    f.need(header["rotation"] in (0, 90, 180, 270), "rotation")
    f.need(f.take(4) == bytes((18, 8, 4, 17)), "constants of version 2")
    for name, most in (("intra", 16), ("anchor", 8), ("between", 4)):
        header[f"{name}_layers"] = f.u(1)
        f.need(1 <= header[f"{name}_layers"] <= most, f"{name} layers")
    header["profile"] = f.u(1)
    f.need(header["profile"] < 2, "profile")
    header["gop_chunks"] = f.u(2)
    f.need(header["gop_chunks"] > 0, "GOP length")
    streams = f.u(1)
    f.need(streams <= MAX_STREAMS, "streams", "LimitExceeded")
    f.need(f.take(3) == bytes(3), "reserved bytes")
    header["tokenizer_sha256"] = f.take(32).hex()
    prior = f.take(32)
    f.need((prior == bytes(32)) == (header["profile"] == 0), "hash of the prior")
    header["prior_sha256"] = prior.hex()
    header["streams"] = [read_stream(f) for _ in range(streams)]
    if flags & 2:
        header["metadata"] = read_metadata(f, streams)
    f.finish()
    return header, length


def read_stream(f):
    """Section 3.2."""
    kind, codec, layout, language = f.u(1), f.u(1), f.u(1), f.u(1)
    f.need(kind < 2 and codec > 0, "kind or codec of a stream")
    stream = {
        "kind": ("audio", "subtitle")[kind],
        "time_base": f.ratio(),
        "sample_rate": f.u(4),
        "channels": f.u(2),
    }
    stream |= {"bit_rate": f.u(4), "frame_size": f.u(4), "initial_padding": f.u(4)}
    extradata = f.u(4)
    f.need(extradata <= MAX_EXTRADATA, "extradata", "LimitExceeded")
    stream |= {"codec": f.text(codec), "layout": f.text(layout), "language": f.text(language)}
    stream["extradata"] = f.take(extradata).hex()
    return stream


def read_metadata(f, streams):
    """Section 3.3."""
    tags = read_tags(f)
    tracks = []
    for _ in range(1 + streams):
        bits = f.u(2)
        f.need(bits < 512, "reserved track flags")
        tracks.append([bits, read_tags(f)])
    chapters = []
    for _ in range(f.varint()):
        start = f.svarint()
        end = start + f.varint()
        f.need(in_i64(end), "end of a chapter")
        chapters.append([start, end, f.utf8()])
    f.need(tags or chapters or any(bits or own for bits, own in tracks), "empty metadata")
    return {"tags": tags, "tracks": tracks, "chapters": chapters}


def read_tags(f):
    tags = []
    for _ in range(f.varint()):
        key = f.text(f.u(1))
        f.need(key and not any("A" <= letter <= "Z" for letter in key), "key of a tag")
        f.need(not tags or tags[-1][0] < key, "order of tags")
        tags.append([key, f.utf8()])
    return tags


def read_unit(data, at, chunk):
    """Section 4. Gives type, fields of the head, start and end of the body."""
    if at == len(data):
        raise Fault("Truncated", "no index", at, chunk)
    if len(data) - at < 10:
        raise Fault("Truncated", "unit", len(data), chunk)
    if data[at : at + 3] != b"LFQ":
        raise Fault("InvalidField", "no unit starts here", at, chunk)
    n = int.from_bytes(data[at + 4 : at + 6], "little")
    m = int.from_bytes(data[at + 6 : at + 10], "little")
    if n > MAX_HEAD:
        raise Fault("InvalidField", "head length", at + 4, chunk)
    body = at + 14 + n
    if len(data) < body:
        raise Fault("Truncated", "unit head", len(data), chunk)
    if zlib.crc32(data[at : body - 4]) != int.from_bytes(data[body - 4 : body], "little"):
        raise Fault("ChecksumMismatch", "unit head", at, chunk)
    kind = data[at + 3 : at + 4]
    if kind not in (b"C", b"P", b"I"):
        raise Fault("InvalidField", "unit type", at + 3, chunk)
    if m > MAX_BODY:
        raise Fault("LimitExceeded", "body length", at + 6, chunk)
    return kind, Fields(data, at + 10, at + 10 + n, chunk), body, body + m


def check_body(data, body, end, chunk):
    if len(data) < end + 4:
        raise Fault("Truncated", "unit body", len(data), chunk)
    if zlib.crc32(data[body:end]) != int.from_bytes(data[end : end + 4], "little"):
        raise Fault("ChecksumMismatch", "unit body", body, chunk)


class Video:
    """Sections 5 to 7: what one chunk must know of the one before."""

    def __init__(self, header):
        self.header = header
        self.chunks, self.gops = [], []
        self.frames = self.in_gop = 0
        self.open = False
        self.last_pts = self.end = self.steady = self.since = self.field = self.quality = None

    def read_chunk(self, data, at, f, body, end):
        h = self.header
        flags, valid, count = f.u(1), f.u(1), f.u(1)
        starts, mode, groups = flags & 1, flags >> 2 & 3, flags >> 4 & 3
        f.need(flags < 64 and mode < 3 and groups < 3, "reserved flags")
        f.need(1 <= valid <= (17 if starts else 16), "valid frames")
        groups = list_groups(h, valid, starts, (4, 2, 1)[groups])
        streams = [Stream(number, groups) for number in range(2)]
        f.need(1 <= count <= (2 if streams[1].tokens else 1), "streams")
        number = f.u(4)
        f.need(number == len(self.chunks), "chunk number")
        if starts:
            f.need(f.u(8) == self.frames, "first frame")
            self.in_gop = 0
            self.since = self.gops[-1][2] if self.gops else None
        else:
            f.need(self.in_gop > 0 and self.open, "chunk does not start a GOP")
        self.in_gop += 1
        f.need(self.in_gop <= h["gop_chunks"], "GOP too long")
        f.need(flags & 2 or not starts, "no first time")
        pts = [f.i64() if flags & 2 else self.end]
        if mode == 0:
            f.need(not starts and self.steady is not None, "no constant duration")
            durations = [self.steady] * valid
        else:
            durations = [f.varint()] * valid if mode == 1 else [f.varint() for _ in range(valid)]
        f.need(all(1 <= each < 1 << 32 for each in durations), "duration")
        for each in durations:
            pts.append(pts[-1] + each)
        f.need(in_i64(*pts), "time")
        f.need(not starts or self.since is None or in_i64(pts[0] - self.since), "GOPs too far apart")
        f.need(self.last_pts is None or pts[0] > self.last_pts, "times do not increase")
        for stream in streams[:count]:
            stream.words = f.varint()
            f.need(stream.words <= -(-48 * stream.tokens // 32) + 2, "words", "CorruptPayload")
            stream.crc = f.u(4)
        f.finish()
        f.need(end - body == 4 * sum(stream.words for stream in streams), "body length")
        f.need(h["frame_count"] is None or self.frames + valid <= h["frame_count"], "too many frames")
        f.need(self.frames + valid <= MAX_FRAMES, "frame count", "LimitExceeded")
        check_body(data, body, end, number)
        if starts:
            self.field = self.quality = None
        qualities = []
        for stream in streams[:count]:
            stored = [
                int.from_bytes(data[k : k + 4], "little") for k in range(body, body + 4 * stream.words, 4)
            ]
            found = decode_stream(stream, Rans(stored, (body, number)), h, self.quality)
            qualities = found or qualities
            body += 4 * stream.words
            if zlib.crc32(pack_tokens(stream.all_tokens())) != stream.crc:
                raise Fault("ChecksumMismatch", f"tokens of stream {stream.number}", at, number)
        self.quality = qualities[-1]
        fields, self.field = read_motion(groups, self.field, h)
        if starts:
            f.need(len(self.gops) < MAX_GOPS, "GOPs", "LimitExceeded")
            self.gops.append([at, self.frames, pts[0]])
        self.chunks.append(
            {
                "number": number,
                "gop_start": bool(starts),
                "first_frame": self.frames,
                "pts": pts[:-1],
                "last_duration": durations[-1],
                "streams": count,
                "token_crcs": [stream.crc for stream in streams[:count]],
                "quality": qualities,
            }
        )
        self.open = valid == (17 if starts else 16)
        self.frames += valid
        self.last_pts, self.end = pts[-2], pts[-1]
        self.steady = durations[0] if len(set(durations)) == 1 else None
        return streams, groups, fields


def read_packets(data, f, body, end, streams):
    """Section 8."""
    count = f.u(4)
    f.finish()
    f.need(1 <= count <= end - body, "packet count")
    f.need(count <= MAX_UNIT_PACKETS, "packet count", "LimitExceeded")
    check_body(data, body, end, None)
    f = Fields(data, body, end)
    packets, due = [], {}
    for _ in range(count):
        v = f.varint()
        f.need(v >> 1 <= MAX_PACKET, "packet size", "LimitExceeded")
        if v & 1:
            f.need(packets, "first packet is plain")
            stream, duration, key = packets[-1][0], packets[-1][3], packets[-1][4]
            pts = dts = due[stream]
        else:
            stream, flags = f.u(1), f.u(1)
            f.need(stream < streams, "stream of a packet")
            f.need(flags < 2, "reserved packet flags")
            key = flags == 1
            pts = due.get(stream, 0) + f.svarint()
            dts = pts + f.svarint()
            duration = f.varint()
        f.need(in_i64(pts, dts, duration, pts + duration), "time of a packet")
        due[stream] = pts + duration
        packets.append([stream, pts, dts, duration, key, f.take(v >> 1)])
    f.finish()
    return packets


def read_index(data, at, f, body, end, video):
    """Section 9, and what of the header the index must agree with."""
    gops, chunks, frames, end_time = f.u(4), f.u(4), f.u(8), f.i64()
    f.finish()
    f.need(1 <= gops <= chunks and 3 * gops <= end - body, "number of GOPs")
    f.need(gops <= MAX_GOPS and frames <= MAX_FRAMES, "index", "LimitExceeded")
    check_body(data, body, end, None)
    f = Fields(data, body, end)
    entries, before = [], [0, 0, 0]
    for number in range(gops):
        steps = [f.varint(), f.varint(), f.svarint()]
        f.need(min(steps) > 0 if number else steps[0] > 0 and steps[1] == 0, "index entry")
        before = [a + b for a, b in zip(before, steps, strict=True)]
        f.need(before[0] < at and before[1] < frames and in_i64(before[2]), "index entry")
        entries.append(before)
    f.finish()
    f.need(before[2] < end_time, "end time")
    f.need(entries == video.gops, "index does not match the GOPs")
    f.need([chunks, frames, end_time] == [len(video.chunks), video.frames, video.end], "totals")
    f.need(video.header["frame_count"] in (None, frames), "frame count")
    trailer = data[end + 4 : end + 24]
    if len(trailer) < 20:
        raise Fault("Truncated", "trailer", len(data))
    f.at = end + 4
    f.need(trailer[12:] == TAIL, "tail magic")
    f.need(zlib.crc32(trailer[:8]) == int.from_bytes(trailer[8:12], "little"), "trailer", "ChecksumMismatch")
    f.need(int.from_bytes(trailer[:8], "little") == at, "index offset")
    f.need(len(data) == end + 24, "bytes behind the trailer")


def packets_digest(packets):
    """SHA-256 over each packet: stream, pts, dts, duration, key flag, size as text lines, then its data."""
    digest = hashlib.sha256()
    for stream, pts, dts, duration, key, payload in packets:
        digest.update(f"{stream} {pts} {dts} {duration} {int(key)} {len(payload)}\n".encode())
        digest.update(payload)
    return digest.hexdigest()


def decode(data, *, keep_tokens=False):
    """Decode a whole file, given as bytes, to the dict that is printed as JSON. Raises `Fault`."""
    header, at = read_header(data)
    if header["profile"] != 0:
        raise Fault("UnsupportedProfile", "this decoder does not compute the prior of profile exact", 67)
    video, packets, tokens = Video(header), [], []
    digest, motion = hashlib.sha256(), hashlib.sha256()
    while True:
        kind, f, body, end = read_unit(data, at, len(video.chunks))
        if kind == b"I":
            break
        if kind == b"C":
            streams, groups, fields = video.read_chunk(data, at, f, body, end)
            for stream in streams:
                digest.update(pack_tokens(stream.all_tokens()))
            for field in fields:
                motion.update("".join(f"{dx} {dy}\n" for dx, dy in field).encode())
            if keep_tokens:
                tokens.append([{layer.name: layer.tokens for layer in group} for group in groups])
        else:
            packets += read_packets(data, f, body, end, len(header["streams"]))
        at = end + 4
    read_index(data, at, f, body, end, video)
    result = {
        "header": header,
        "frames": video.frames,
        "end_pts": video.end,
        "chunks": video.chunks,
        "gops": video.gops,
        "packets": {"count": len(packets), "sha256": packets_digest(packets)},
        "tokens_sha256": digest.hexdigest(),
        "motion_sha256": motion.hexdigest(),
    }
    return result | ({"tokens": tokens} if keep_tokens else {})


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Independent decoder of static .lfq files.")
    parser.add_argument("file")
    parser.add_argument("--tokens", action="store_true", help="print the tokens too")
    options = parser.parse_args(arguments)
    data = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    try:
        result = decode(data, keep_tokens=options.tokens)
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 4
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
