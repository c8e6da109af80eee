"""Makes the golden files under valid/: random tokens of a fixed seed, profile static, no weights needed.

    python tests/conformance/make_valid.py

Each FILE.lfq comes with FILE.json, what a decoder must find in it, computed from the tokens that went in and
not by decoding. Run it only when the format changes on purpose: a test holds the writer against these bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "valid"
sys.path.insert(0, str(HERE.parent / "support"))

from token_support import (  # noqa: E402
    NOTHING,
    USUAL,
    Noise,
    Style,
    by_stream,
    chunk_tokens,
    decode_motion,
    layers_of,
    token_encoder,
)

from lfqcodec.bitstream import (  # noqa: E402
    BitstreamReader,
    BitstreamWriter,
    Chunk,
    FileHeader,
    LayerCounts,
    drop_streams,
    token_crc,
)
from lfqcodec.media import TRACK_FLAGS, Chapter, Colour, Metadata, StreamInfo, StreamPacket, Track  # noqa: E402

AAC = StreamInfo(
    "audio", "aac", Fraction(1, 48000), 48000, 2, "stereo", 128000, 1024, 1024, "eng", b"\x11\x90"
)
SUBRIP = StreamInfo("subtitle", "subrip", Fraction(1, 1000), language="deu")
HOLIDAY = Metadata(
    (("artist", "A. N. Other"), ("location", "+52.5200+013.4050/"), ("title", "Größe & Übung")),
    Track((("language", "eng"),), ("default",)),
    (Track(), Track((("title", "Untertitel"),), ("default", "forced", "visual_impaired"))),
    (Chapter(-5, 500_000_000, "One"), Chapter(500_000_000, 1_066_666_667)),
)


@dataclass(frozen=True)
class Case:
    """One golden file. `gops` gives the new frames of each chunk, GOP by GOP."""

    name: str
    header: FileHeader
    gops: tuple[tuple[int, ...], ...]
    style: Style = USUAL
    streams: tuple[int, ...] = (2,)  # most that are coded, repeats over chunks
    group_sizes: tuple[int, ...] = (4,)  # repeats over chunks
    durations: tuple[int, ...] = (1,)  # repeats over frames
    first_pts: int = 0
    packets: bool = False
    pipe: bool = False
    pause: int = 0  # ticks between GOPs
    dropped: tuple[bool, ...] = ()  # of which chunks stream 1 is dropped once the file is written; repeats


class Pipe(io.BytesIO):
    """An output that cannot seek."""

    def seekable(self) -> bool:
        return False


def cases() -> list[Case]:
    """Every golden file."""
    return [*_of_groups(), *_of_sizes(), *_of_tokens(), *_of_the_container()]


BASE = FileHeader(32, 32, Fraction(1, 30), LayerCounts(2, 2, 1), frame_rate=Fraction(30), gop_chunks=1)


def _of_groups() -> Iterator[Case]:
    """Which pictures there are, and in how many chunks and GOPs."""
    for last in (1, 2, 3, 4):
        yield Case(f"last-group-of-{last}", BASE, ((5 + last,),))
    yield Case("first-picture-alone", BASE, ((1,),))
    yield Case("first-picture-and-one", BASE, ((2,),))
    yield Case("full-chunk", BASE, ((17,),))
    yield Case("groups-of-one", replace(BASE, gop_chunks=2), ((17, 3),), group_sizes=(1,))
    yield Case("gops-of-one-picture", BASE, ((1,),) * 5)
    yield Case("gops-of-one-chunk", BASE, ((17,), (6,), (17,)))
    yield Case("gop-of-three-chunks", replace(BASE, gop_chunks=3), ((17, 16, 16),))
    for last in (1, 2, 3, 4, 15):
        yield Case(f"last-chunk-of-{last}", replace(BASE, gop_chunks=2), ((17, last), (1,)))


def _of_sizes() -> Iterator[Case]:
    """How large pictures are, and how many layers there are."""
    for width, height in ((16, 16), (17, 16), (16, 17), (1, 1), (37, 23), (49, 65), (130, 3), (3, 130)):
        yield Case(f"size-{width}x{height}", replace(BASE, width=width, height=height), ((6,),))
    for intra in (1, 3, 8, 16):
        header = replace(BASE, width=20, layers=LayerCounts(intra, 1, 1))
        yield Case(f"intra-layers-{intra}", header, ((1,), (2,)))
    for anchor, between in ((1, 1), (2, 2), (3, 3), (4, 2), (8, 4)):
        header = replace(BASE, width=20, layers=LayerCounts(1, anchor, between))
        style = Style(20, depths=(0, 1, 2, 3))
        yield Case(f"group-layers-{anchor}-{between}", header, ((9,),), style)


def _of_tokens() -> Iterator[Case]:
    """What the tokens say."""
    wide = replace(BASE, width=80, height=48, gop_chunks=2)
    tall = replace(BASE, width=40, height=88)
    yield Case("nothing-coded", wide, ((17, 16),), NOTHING)
    yield Case("nothing-coded-in-one-stream", wide, ((17, 16),), NOTHING, streams=(1,))
    yield Case("all-values-set", BASE, ((5,),), Style(64, depths=(3,)))
    yield Case("no-depth", BASE, ((9,),), Style(40, depths=(0,)))
    for depth in (1, 2, 3):
        header = replace(BASE, width=48, height=48, layers=LayerCounts(1, 4, 4))
        yield Case(f"depth-{depth}", header, ((5,),), Style(16, depths=(depth,)))
    yield Case("depths-of-all-kinds", replace(tall, layers=LayerCounts(1, 5, 3)), ((9,),), Style(16))
    yield Case("motion-of-all-kinds", tall, ((9,),), Style(2, 64, 256, depths=(0, 0, 1)))
    yield Case("motion-that-wraps", wide, ((17, 16),), Style(1, 8, 3, 61, depths=(0,)))
    yield Case("motion-that-wraps-back", wide, ((17, 16),), Style(1, 8, 3, -77, depths=(0,)))
    yield Case("motion-far-outside", tall, ((9,),), Style(1, 64, 255, 255, depths=(0,)))
    yield Case("quality-stays", wide, ((17, 16),), Style(4, qualities=(96, 0)))
    yield Case("quality-changes", wide, ((17, 16),), Style(4, qualities=(0, 511, 64, 0, 448, 1)))
    yield Case(
        "colour-comes-and-goes", wide, ((17, 16),), Style(4, qualities=(512 + 96, 0, 512, 64, 512, 512))
    )
    yield Case("stream-1-dropped", wide, ((17, 16), (9,)), Style(8), dropped=(True,))
    yield Case(
        "stream-1-dropped-here-and-there", wide, ((17, 16), (17, 3)), Style(8), dropped=(False, True, True)
    )
    yield Case("stream-1-not-coded-at-first", wide, ((17, 16), (17, 16)), Style(8), streams=(1, 2))


def _of_the_container() -> Iterator[Case]:
    """All around the tokens."""
    dark = Colour(9, 16, 9, full_range=True)
    yield Case("rotated-and-dark", replace(BASE, rotation=90, colour=dark, sar=Fraction(4, 3)), ((7,),))
    yield Case(
        "still-image", replace(BASE, width=33, frame_rate=None, still_image=True, frame_count=1), ((1,),)
    )
    yield Case(
        "audio-and-subtitles",
        replace(BASE, gop_chunks=4, streams=(AAC, SUBRIP)),
        ((17, 16), (17, 16, 2)),
        packets=True,
    )
    both = replace(BASE, streams=(AAC, SUBRIP))
    yield Case("metadata", replace(both, metadata=HOLIDAY), ((17,),), packets=True)
    title = Metadata((("title", ""),))
    still = replace(BASE, frame_rate=None, still_image=True, frame_count=1)
    yield Case("metadata-of-a-still-image", replace(still, metadata=title), ((1,),))
    yield Case(
        "pipe-unknown-count",
        replace(BASE, gop_chunks=4, tokenizer_sha256=bytes(range(32))),
        ((17, 16, 9), (17, 1)),
        pipe=True,
    )
    yield Case(
        "variable-frame-rate",
        replace(BASE, time_base=Fraction(1, 90000), frame_rate=None, gop_chunks=3),
        ((17, 16, 16), (17, 4)),
        durations=(3003, 3003, 3003, 1501, 6007, 1),
        first_pts=-9000,
        pause=12345,
    )


def _packets(frame: int, frames: int) -> Iterator[StreamPacket]:
    """Half a second of made-up audio, and a subtitle, for the GOP that starts at `frame`."""
    noise = Noise(f"packets {frame}")
    for k in range(6):
        time = frame * 1600 + k * 1024
        yield StreamPacket(0, time, time, 1024, True, noise.bytes(20 + 3 * k))
    yield StreamPacket(1, frame * 33, frame * 33, 33 * frames, True, b"caption")
    yield StreamPacket(0, frame * 1600 + 9000, frame * 1600 + 8999, 960, False, b"")


def build(case: Case) -> tuple[bytes, dict[str, object]]:
    """The bytes of a golden file, and what a decoder must find in it."""
    noise = Noise(case.name)
    out = Pipe() if case.pipe else io.BytesIO()
    writer = BitstreamWriter(out, case.header)
    encoder, before = token_encoder(case.header), None
    chunks: list[dict[str, object]] = []
    gops: list[list[int]] = []
    packets: list[StreamPacket] = []
    tokens_digest, motion_digest = hashlib.sha256(), hashlib.sha256()
    pts, frame, quality = case.first_pts, 0, 0
    for gop in case.gops:
        first_of_gop = frame
        for position, valid in enumerate(gop):
            steps = [case.durations[(frame + k) % len(case.durations)] for k in range(valid)]
            times = [pts + sum(steps[:k]) for k in range(valid + 1)]
            start, number = position == 0, len(chunks)
            most = case.streams[number % len(case.streams)]
            size = case.group_sizes[number % len(case.group_sizes)]
            groups = chunk_tokens(case.header, valid, start, noise, case.style, most, size)
            streams = encoder.encode(groups, valid, gop_start=start, group_size=size)
            coded = by_stream(case.header, valid, start, groups, size)[: len(streams)]
            crcs = [token_crc(own) for own in coded]
            if start:
                gops.append([writer.bytes_written, frame, pts])
            writer.write_chunk(
                gop_start=start,
                pts=times[:-1],
                last_duration=steps[-1],
                streams=streams,
                token_crcs=crcs,
                group_size=size,
            )
            if case.dropped and case.dropped[number % len(case.dropped)]:
                crcs, layers = crcs[:1], layers_of(case.header, valid, start, size)
                groups = [
                    tuple(tokens[: sum(layer.stream == 0 for layer in own)])
                    for own, tokens in zip(layers, groups, strict=True)
                ]
            for own in by_stream(case.header, valid, start, groups, size):
                tokens_digest.update(own.astype("<u4").tobytes())
            qualities = []
            for group in groups:
                quality = (int(group[0][0, 0, 0]) + quality * (not start or bool(qualities))) % 512
                qualities.append(quality)
            fields, before = decode_motion(case.header, valid, start, groups, before, size)
            for field in fields:
                motion_digest.update("".join(f"{dx} {dy}\n" for dx, dy in field.tolist()).encode())
            chunks.append(
                {
                    "number": number,
                    "gop_start": start,
                    "first_frame": frame,
                    "pts": times[:-1],
                    "last_duration": steps[-1],
                    "streams": len(crcs),
                    "token_crcs": crcs,
                    "quality": qualities,
                }
            )
            pts, frame = times[-1], frame + valid
        if case.packets:
            batch = list(_packets(first_of_gop, frame - first_of_gop))
            writer.write_packets(batch)
            packets += sorted(batch, key=lambda each: each.stream)
        end, pts = pts, pts + case.pause
    writer.close()
    data = out.getvalue()
    if case.dropped:
        data, gops = _dropped(data, case.dropped, gops)
    header = case.header if case.pipe else replace(case.header, frame_count=frame)
    expected = {
        "header": _describe(header),
        "frames": frame,
        "end_pts": end,
        "chunks": chunks,
        "gops": gops,
        "packets": {"count": len(packets), "sha256": _digest(packets)},
        "tokens_sha256": tokens_digest.hexdigest(),
        "motion_sha256": motion_digest.hexdigest(),
    }
    return data, expected


def _dropped(data: bytes, which: tuple[bool, ...], gops: list[list[int]]) -> tuple[bytes, list[list[int]]]:
    """The file without stream 1 of these chunks, its payload not decoded, and where its GOPs now begin."""
    out = io.BytesIO()
    reader = BitstreamReader(io.BytesIO(data))
    moved = []
    with BitstreamWriter(out, reader.header) as writer:
        for unit in reader:
            assert isinstance(unit, Chunk)
            if unit.head.gop_start:
                moved.append([writer.bytes_written, *gops[len(moved)][1:]])
            drop = which[unit.head.number % len(which)]
            writer.copy_chunk(drop_streams(unit, 1) if drop else unit)
    return out.getvalue(), moved


def _digest(packets: Sequence[StreamPacket]) -> str:
    digest = hashlib.sha256()
    for p in packets:
        digest.update(f"{p.stream} {p.pts} {p.dts} {p.duration} {int(p.keyframe)} {len(p.data)}\n".encode())
        digest.update(p.data)
    return digest.hexdigest()


def _ratio(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"


def _describe(header: FileHeader) -> dict[str, object]:
    return {
        "still_image": header.still_image,
        "width": header.width,
        "height": header.height,
        "frame_count": header.frame_count,
        "time_base": _ratio(header.time_base),
        "frame_rate": _ratio(header.frame_rate),
        "sar": _ratio(header.sar),
        "colour": [header.colour.primaries, header.colour.transfer, header.colour.matrix],
        "full_range": header.colour.full_range,
        "rotation": header.rotation,
        "intra_layers": header.layers.intra,
        "anchor_layers": header.layers.anchor,
        "between_layers": header.layers.between,
        "profile": int(header.profile),
        "gop_chunks": header.gop_chunks,
        "tokenizer_sha256": header.tokenizer_sha256.hex(),
        "prior_sha256": header.prior_sha256.hex(),
        "streams": [
            {
                "kind": stream.kind,
                "time_base": _ratio(stream.time_base),
                "sample_rate": stream.sample_rate,
                "channels": stream.channels,
                "bit_rate": stream.bit_rate,
                "frame_size": stream.frame_size,
                "initial_padding": stream.initial_padding,
                "codec": stream.codec,
                "layout": stream.layout,
                "language": stream.language,
                "extradata": stream.extradata.hex(),
            }
            for stream in header.streams
        ],
    } | ({"metadata": _metadata(header.metadata)} if header.metadata != Metadata() else {})


def _metadata(metadata: Metadata) -> dict[str, object]:
    tracks = (metadata.video, *metadata.streams)
    return {
        "tags": [list(tag) for tag in metadata.tags],
        "tracks": [
            [sum(1 << TRACK_FLAGS.index(flag) for flag in track.flags), [list(tag) for tag in track.tags]]
            for track in tracks
        ],
        "chapters": [[chapter.start, chapter.end, chapter.title] for chapter in metadata.chapters],
    }


def expected_json(expected: dict[str, object]) -> str:
    """The text of the .json file beside a golden file."""
    return json.dumps(expected, indent=1) + "\n"


def write(folder: Path, made: Sequence[Case]) -> None:
    """Write the files of `made` into `folder`."""
    folder.mkdir(exist_ok=True)
    for case in made:
        data, expected = build(case)
        (folder / f"{case.name}.lfq").write_bytes(data)
        (folder / f"{case.name}.json").write_text(expected_json(expected), encoding="utf-8")
        print(f"{case.name}.lfq  {len(data)} bytes")


if __name__ == "__main__":
    write(FOLDER, cases())
