"""`lfqcodec info`. Reads heads only, and imports neither torch nor PyAV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from lfqcodec.bitstream import ChunkHead, Limits
from lfqcodec.cli.shared.options import json_option, limit_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.codec.decode.file import LfqFile, open_file
from lfqcodec.errors import BitstreamError, Truncated, WeightsError

_OF_STREAMS = ("kind", "codec", "sample_rate", "channels", "layout", "language")


def describe(file: LfqFile) -> dict[str, Any]:
    """What the file holds, as plain values; sizes in bytes, times in seconds, rates in bits per second."""
    header = file.header
    heads: list[ChunkHead] = []
    packets = copied = 0
    damage: str | None = None
    try:
        for head in file.heads():
            if isinstance(head, ChunkHead):
                heads.append(head)
            else:
                packets, copied = packets + head.count, copied + head.size
    except BitstreamError as error:
        damage = str(error)
        if isinstance(error, Truncated):
            damage += file.missing(sum(head.valid for head in heads))
    frames = sum(head.valid for head in heads)
    seconds = float(heads[-1].end_pts * header.time_base) if heads else 0.0
    payload = 4 * sum(sum(head.words) for head in heads)
    size = file.size() if file.seekable else file.piped_bytes
    pixels = header.width * header.height * frames
    try:
        model: str | None = file.model().name
    except WeightsError:
        model = None
    return {
        "file": file.name,
        "bytes": size,
        "width": header.width,
        "height": header.height,
        "frames": frames,
        "seconds": round(seconds, 6),
        "frame_rate": None if header.frame_rate is None else str(header.frame_rate),
        "time_base": str(header.time_base),
        "bpp": 8 * size / pixels if pixels else None,
        "bitrate": 8 * size / seconds if seconds else None,
        "payload_bytes": payload,
        "copied_bytes": copied,
        "container_bytes": size - payload - copied,
        "profile": header.profile.name.lower(),
        "token_streams": dict(sorted(Counter(head.stream_count for head in heads).items())),
        "gop_chunks": header.gop_chunks,
        "chunks": len(heads),
        "gops": sum(head.gop_start for head in heads),
        "model": model,
        "tokenizer_sha256": header.tokenizer_sha256.hex(),
        "prior_sha256": header.prior_sha256.hex(),
        "still_image": header.still_image,
        "rotation": header.rotation,
        "sample_aspect_ratio": str(header.sar),
        "colour": vars(header.colour),
        "streams": [{key: getattr(stream, key) for key in _OF_STREAMS} for stream in header.streams],
        "packets": packets,
        "metadata": asdict(header.metadata),
        "damage": damage,
    }


@click.command("info")
@click.argument("source", metavar="FILE")
@json_option
@limit_option
def command(source: str, as_json: bool, limits: Limits) -> None:
    """Tell what a .lfq file holds. FILE may be - for standard input."""
    with open_file(source, limits=limits) as file:
        facts = describe(file)
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if facts["damage"]:
        raise BitstreamError(facts["damage"])


def _metadata(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Lines for tags, for what is said of tracks, and for chapters. They come from a file: nothing acts."""

    def plain(text: str) -> str:
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    for key, value in metadata["tags"]:
        yield "tag", f"{key}: {plain(value)}"
    for name, track in enumerate([metadata["video"], *metadata["streams"]]):
        said = [f"{key}: {plain(value)}" for key, value in track["tags"]] + list(track["flags"])
        if said:
            yield "track", f"{name or 'video'}: {', '.join(said)}"
    for chapter in metadata["chapters"]:
        times = f"{chapter['start'] / 10**9:.3f} to {chapter['end'] / 10**9:.3f} s"
        yield "chapter", f"{times}  {plain(chapter['title'])}".rstrip()


def _print(facts: dict[str, Any]) -> None:
    length = f", {facts['frames']} frames, {facts['seconds']:.3f} s"
    kind = "picture" if facts["still_image"] else "video"
    if facts["frame_rate"]:
        length += f", {facts['frame_rate']} frames/s"
    counts = facts["token_streams"]
    streams = ", ".join(f"{count} (in {chunks} chunks)" for count, chunks in counts.items())
    if len(counts) == 1:
        streams = str(next(iter(counts)))
    model = facts["model"] or "not available here"
    lines = [
        ("file", f"{facts['file']}, {human_bytes(facts['bytes'])}"),
        (kind, f"{facts['width']}x{facts['height']}{'' if facts['still_image'] else length}"),
        ("chunks", f"{facts['chunks']}, GOPs: {facts['gops']}, token streams: {streams}"),
        ("profile", facts["profile"]),
        ("model", f"{model} (sha256 {facts['tokenizer_sha256'][:16]}...)"),
        (
            "bytes",
            f"{facts['payload_bytes']} tokens, {facts['copied_bytes']} sound and subtitles, "
            f"{facts['container_bytes']} container",
        ),
    ]
    if facts["bpp"]:
        rate = f", {facts['bitrate'] / 1000:.0f} kbit/s" if kind == "video" else ""
        lines.insert(3, ("rate", f"{facts['bpp']:.4f} bits per pixel{rate}"))
    for stream in facts["streams"]:
        text = " ".join(str(stream[key]) for key in ("codec", "layout", "language") if stream[key])
        hertz = f", {stream['sample_rate']} Hz" if stream["sample_rate"] else ""
        lines.append((stream["kind"], text + hertz))
    lines += _metadata(facts["metadata"])
    for label, text in lines:
        click.echo(f"{label:>9}  {text}")
