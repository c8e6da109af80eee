"""Quality by the place of a picture in its GOP, on a folder of clips."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

import lfqcodec
from benchmarks.datasets import Origin, Preparation, prepare
from benchmarks.datasets.find import videos_in
from benchmarks.machine import command_line, describe
from benchmarks.metrics import FrameScores, compare_frames, file_sha256, find_lpips, mean
from benchmarks.metrics.compare import MAX_PSNR
from benchmarks.options import clip_options
from lfqcodec.bitstream import ChunkHead
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.motion.layout import places
from lfqcodec.train.lpips import LPIPS, load_lpips
from lfqcodec.weights.store import resolve_model

SPAN = 16
"""Pictures that are put together to see what becomes of quality along a GOP."""
OTHERS = ("ms_ssim", "lpips", "lpips_shifted")
FIRST = "first"
ALL = "all"


@dataclass(frozen=True)
class Place:
    """Where a picture is: the number of pictures of the GOP before it, and its part.

    The part is `first`, or what it is in its group: `anchor`, `middle`, `quarters`.
    """

    number: int
    part: str


@dataclass(frozen=True)
class Row:
    """Means over the pictures of a clip, or of all, that are at one kind of place; for None see `Scores`."""

    clip: str
    place: str
    pictures: int
    psnr: float
    ms_ssim: float | None
    lpips: float | None
    lpips_shifted: float | None


def places_of(path: Path, model: str | None) -> Iterator[Place]:
    """The place of every picture of a .lfq file."""
    with lfqcodec.open(path, model=model) as file:
        layout = file.token_decoder().layout
        number = 0
        for head in (head for head in file.heads() if isinstance(head, ChunkHead)):
            number = 0 if head.gop_start else number
            sizes = layout.groups(head.valid, gop_start=head.gop_start, group_size=head.group_size)
            for group, count in enumerate(sizes):
                if head.gop_start and not group:
                    parts = {0: FIRST}
                else:
                    parts = {each: part for part, own in places(count).items() for each in own}
                for each in range(count):
                    yield Place(number + each, parts[each])
                number += count


def measure(
    clip: Path, model: str | None, crf: float, frames: int, network: LPIPS | None, folder: Path
) -> tuple[float, list[tuple[Place, FrameScores]]]:
    """Encode the pictures of a clip and decode the file: bpp, and the scores of every picture."""
    coded, decoded = folder / "coded.lfq", folder / "decoded.mkv"
    source = folder / prepare(Origin(clip.stem, clip), Preparation(frames=frames), folder).file
    report = lfqcodec.encode(source, coded, model=model, crf=crf, audio=False, overwrite=True)
    lfqcodec.decode(coded, decoded, model=model, overwrite=True)
    scores = compare_frames(source, decoded, lpips=network)
    return report.bpp, list(zip(places_of(coded, model), scores, strict=True))


def rows(clip: str, scores: Sequence[tuple[Place, FrameScores]]) -> Iterator[Row]:
    """Means by part, then along the GOP, then of all pictures."""
    for part in (FIRST, "anchor", "middle", "quarters"):
        yield from _row(clip, part, [own for place, own in scores if place.part == part])
    behind = [(place.number - 1, own) for place, own in scores if place.number]
    for begin in range(0, max((number for number, _ in behind), default=-1) + 1, SPAN):
        own = [score for number, score in behind if begin <= number < begin + SPAN]
        yield from _row(clip, f"{begin + 1} to {begin + SPAN}", own)
    yield from _row(clip, ALL, [own for _, own in scores])


def _row(clip: str, place: str, scores: Sequence[FrameScores]) -> Iterator[Row]:
    psnr = mean(min(MAX_PSNR, score.psnr) for score in scores)
    if psnr is not None:
        others = (mean(getattr(score, name) for score in scores) for name in OTHERS)
        yield Row(clip, place, len(scores), psnr, *others)


def _line(row: Row) -> str:
    others = (getattr(row, name) for name in OTHERS)
    text = "".join("       -" if value is None else f"{value:8.4f}" for value in others)
    return f"{row.clip:32} {row.place:12} {row.pictures:8} {row.psnr:7.2f} {text}"


@click.command("quality")
@clip_options
@click.option("--lpips-weights", type=click.Path(path_type=Path), help="LPIPS weights (see fetch lpips).")
@click.option("--out", type=click.Path(path_type=Path), help="Write rows and single pictures as JSON.")
def quality(
    folder: Path, model: str | None, crf: float, frames: int, lpips_weights: Path | None, out: Path | None
) -> None:
    """PSNR, MS-SSIM and LPIPS of every clip in FOLDER by the place of pictures in their GOP.

    First pictures, anchors, middles, quarters; and pictures 1 to 16, 17 to 32 and so on, which shows whether
    quality drifts. The clip `all` is all of them. Shifted LPIPS is that of the pictures without their first 2
    rows and 3 columns.
    """
    weights = find_lpips(lpips_weights)
    network = None if weights is None else load_lpips(weights)
    every: list[tuple[Place, FrameScores]] = []
    table: list[Row] = []
    pictures: dict[str, Any] = {}
    rates: dict[str, float] = {}
    paths = videos_in(folder)
    with tempfile.TemporaryDirectory() as scratch:
        for clip in tqdm(paths, unit="clip"):
            try:
                rates[clip.name], scores = measure(clip, model, crf, frames, network, Path(scratch))
            except LfqError as error:
                tqdm.write(f"left out: {error}", file=sys.stderr)
                continue
            table += rows(clip.name, scores)
            every += scores
            pictures[clip.name] = [{**asdict(place), **asdict(_finite(own))} for place, own in scores]
    if not table:
        raise LfqError(f"{folder}: no clip could be measured")
    table += rows(ALL, every)
    click.echo(f"{'clip':32} {'place':12} pictures    PSNR  MS-SSIM   LPIPS shifted")
    for row in table:
        click.echo(_line(row))
    for name, bpp in rates.items():
        click.echo(f"{name}: {bpp:.4f} bpp")
    if out is not None:
        found = resolve_model(model)
        record = {
            **describe(),
            "command": command_line(),
            "model": found.name,
            "model_sha256": found.sha256.hex(),
            "lpips_weights_sha256": None if weights is None else file_sha256(weights),
            "crf": crf,
            "frames": frames,
            "bpp": rates,
            "rows": [asdict(row) for row in table],
            "pictures": pictures,
        }
        out.write_text(json.dumps(record, indent=1) + "\n")


def _finite(scores: FrameScores) -> FrameScores:
    return replace(scores, psnr=min(MAX_PSNR, scores.psnr))
