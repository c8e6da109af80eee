"""Makes the golden files under valid/: random tokens of a fixed seed, profile static, no weights needed.

    python tests/conformance/make_valid.py

Each FILE.lfq comes with FILE.json, what a decoder must find in it, computed from the tokens that went in and
not by decoding. Run it only when the format changes on purpose: a test holds the writer against these bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import (
    BitstreamReader,
    BitstreamWriter,
    Chunk,
    FileHeader,
    drop_stages,
    latent_frames,
    token_crc,
)
from lfqcodec.entropy import encode_tokens, uniform_rows
from lfqcodec.media import Colour, StreamInfo, StreamPacket

FOLDER = Path(__file__).parent / "valid"

AAC = StreamInfo(
    "audio", "aac", Fraction(1, 48000), 48000, 2, "stereo", 128000, 1024, 1024, "eng", b"\x11\x90"
)
SUBRIP = StreamInfo("subtitle", "subrip", Fraction(1, 1000), language="deu")


@dataclass(frozen=True)
class Case:
    """One golden file. `gops` gives the new frames of each chunk, GOP by GOP."""

    name: str
    header: FileHeader
    gops: tuple[tuple[int, ...], ...]
    stages: tuple[int, ...]  # repeats over chunks
    durations: tuple[int, ...] = (1,)  # repeats over frames
    first_pts: int = 0
    packets: bool = False
    pipe: bool = False
    pause: int = 0  # ticks between GOPs
    zero: bool = False  # all tokens are 0, which costs no word
    keep: int | None = None  # stages that are left once the file is written, the others being dropped


class Noise:
    """Bytes that depend on nothing but a seed: no library's generator may change the golden files."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._draws = 0

    def bytes(self, count: int) -> bytes:
        self._draws += 1
        return hashlib.shake_256(f"{self._seed} {self._draws}".encode()).digest(count)

    def tokens(self, shape: tuple[int, ...]) -> NDArray[np.uint32]:
        """Tokens, uint32 of `shape` in 0..2^18-1."""
        words = np.frombuffer(self.bytes(4 * math.prod(shape)), "<u4")
        return (words & 0x3FFFF).astype(np.uint32).reshape(shape)


class Pipe(io.BytesIO):
    """An output that cannot seek."""

    def seekable(self) -> bool:
        return False


def cases() -> list[Case]:
    """Every golden file."""
    tick = Fraction(1, 30)
    base = FileHeader(64, 48, tick, frame_rate=Fraction(30), gop_chunks=1, max_stages=1)
    dark = Colour(9, 16, 9, full_range=True)
    return [
        Case("one-stage", base, ((17,),), (1,)),
        Case("two-stages", replace(base, max_stages=2), ((17,), (3,)), (2,)),
        Case("three-stages", replace(base, width=40, height=24, max_stages=3), ((17,), (17,), (5,)), (3,)),
        Case("four-stages", replace(base, width=40, height=24, max_stages=4), ((17,), (1,)), (4,)),
        Case(
            "odd-size-gop-4",
            replace(base, width=37, height=23, gop_chunks=4, max_stages=2, rotation=90, colour=dark),
            ((17, 16, 16, 16), (17, 16, 7)),
            (2,),
        ),
        Case("one-frame", replace(base, width=50, height=30, max_stages=2), ((1,),), (2,)),
        Case(
            "still-image",
            replace(
                base, width=33, height=65, max_stages=3, frame_rate=None, still_image=True, frame_count=1
            ),
            ((1,),),
            (3,),
        ),
        Case(
            "audio-and-subtitles",
            replace(base, width=40, height=40, gop_chunks=4, max_stages=2, streams=(AAC, SUBRIP)),
            ((17, 16), (17, 16, 2)),
            (2,),
            packets=True,
        ),
        Case(
            "pipe-unknown-count",
            replace(base, width=24, height=16, gop_chunks=4, max_stages=2, tokenizer_sha256=bytes(range(32))),
            ((17, 16, 9), (17, 1)),
            (2, 1),
            pipe=True,
        ),
        Case(
            "variable-frame-rate",
            replace(base, width=16, height=16, time_base=Fraction(1, 90000), frame_rate=None, gop_chunks=3),
            ((17, 16, 16), (17, 4)),
            (1,),
            durations=(3003, 3003, 3003, 1501, 6007, 1),
            first_pts=-9000,
            pause=12345,
        ),
        Case(
            "sixteen-stages-tiny",
            replace(base, width=1, height=1, max_stages=16, sar=Fraction(4, 3), gop_chunks=65535),
            ((17, 16, 2),),
            (16,),
        ),
    ]


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
    chunks: list[dict[str, object]] = []
    gops: list[list[int]] = []
    packets: list[StreamPacket] = []
    tokens_digest = hashlib.sha256()
    pts, frame = case.first_pts, 0
    for gop in case.gops:
        first_of_gop = frame
        for position, valid in enumerate(gop):
            steps = [case.durations[(frame + k) % len(case.durations)] for k in range(valid)]
            times = [pts + sum(steps[:k]) for k in range(valid + 1)]
            shape = (latent_frames(valid, position == 0), *case.header.grid)
            stages = case.stages[len(chunks) % len(case.stages)]
            tokens = [noise.tokens(shape) * np.uint32(not case.zero) for _ in range(stages)]
            crcs = [token_crc(each) for each in tokens]
            if position == 0:
                gops.append([writer.bytes_written, frame, pts])
            writer.write_chunk(
                gop_start=position == 0,
                pts=times[:-1],
                last_duration=steps[-1],
                streams=[encode_tokens(uniform_rows(each.size), each) for each in tokens],
                token_crcs=crcs,
            )
            for each in tokens[: case.keep]:
                tokens_digest.update(each.astype("<u4").tobytes())
            chunks.append(
                {
                    "number": len(chunks),
                    "gop_start": position == 0,
                    "first_frame": frame,
                    "pts": times[:-1],
                    "last_duration": steps[-1],
                    "shape": list(shape),
                    "token_crcs": crcs[: case.keep],
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
    if case.keep is not None:
        data, gops = _dropped(data, case.keep, gops)
    header = case.header if case.pipe else replace(case.header, frame_count=frame)
    expected = {
        "header": _describe(header),
        "frames": frame,
        "end_pts": end,
        "chunks": chunks,
        "gops": gops,
        "packets": {"count": len(packets), "sha256": _digest(packets)},
        "tokens_sha256": tokens_digest.hexdigest(),
    }
    return data, expected


def _dropped(data: bytes, keep: int, gops: list[list[int]]) -> tuple[bytes, list[list[int]]]:
    """The file with `keep` stages a chunk, its payload not decoded, and where its GOPs now begin."""
    out = io.BytesIO()
    reader = BitstreamReader(io.BytesIO(data))
    moved = []
    with BitstreamWriter(out, reader.header) as writer:
        for unit in reader:
            assert isinstance(unit, Chunk)
            if unit.head.gop_start:
                moved.append([writer.bytes_written, *gops[len(moved)][1:]])
            writer.copy_chunk(drop_stages(unit, min(keep, unit.head.stages)))
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
        "max_stages": header.max_stages,
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
