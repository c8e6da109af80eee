"""Bits per token of every stage, without and with the prior, on a folder of clips and on a still picture."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import lfqcodec
from benchmarks.quality import SUFFIXES
from lfqcodec.bitstream import Chunk, Profile, check_tokens
from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKENS, WORD_BITS
from lfqcodec.codec.device import pick_device
from lfqcodec.entropy import RowSource, decode_tokens, uniform_rows
from lfqcodec.errors import LfqError, WeightsMissing
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.prior.rows import GopCoder
from lfqcodec.video import open_video, open_writer
from lfqcodec.weights import resolve_model
from lfqcodec.weights.loading import load_network
from lfqcodec.weights.store import Model, Prior, prior_for

STILL_FRAMES = 65
"""One GOP of four chunks: 17 latent frames."""
TOTAL = "all"


@dataclass(frozen=True)
class Row:
    """One stage of one clip, in bits per token.

    `static` and `exact` count the words of the files; `overhead` is by how many percent those of `exact`
    exceed the code length that its frequency rows stand for. `first` and `later` are that code length for
    the first latent frame of the GOPs and for the other ones.
    """

    clip: str
    stage: str
    tokens: int
    static: float
    exact: float
    overhead: float
    first: float
    later: float | None


@dataclass(frozen=True)
class Clip:
    """One clip as a whole. `container` is the percentage of the file of profile exact that is no payload."""

    clip: str
    frames: int
    width: int
    height: int
    static_bytes: int
    exact_bytes: int
    container: float


@dataclass
class _Counts:
    """Of one stage: words of both files, and tokens and code length of first and later latent frames."""

    static_words: int
    exact_words: int
    tokens: NDArray[np.int64]
    bits: NDArray[np.float64]

    def row(self, clip: str, stage: str) -> Row:
        tokens, bits = int(self.tokens.sum()), float(self.bits.sum())
        return Row(
            clip=clip,
            stage=stage,
            tokens=tokens,
            static=WORD_BITS * self.static_words / tokens,
            exact=WORD_BITS * self.exact_words / tokens,
            overhead=100 * (WORD_BITS * self.exact_words / bits - 1),
            first=float(self.bits[0] / self.tokens[0]),
            later=float(self.bits[1] / self.tokens[1]) if self.tokens[1] else None,
        )


def counted(source: RowSource, bits: NDArray[np.float64], per_frame: int) -> RowSource:
    """`source`, adding the code length of each latent frame of `per_frame` subtokens to `bits`, [T]."""
    try:
        batch = next(source)
        while True:
            symbols = yield batch
            _, frequencies = batch.intervals(symbols)
            length = PRECISION_BITS - np.log2(frequencies)
            bits += np.bincount(batch.positions // per_frame, length, len(bits))
            batch = source.send(symbols)
    except StopIteration:
        return


def _chunks(path: Path, model: str | None) -> Iterator[Chunk]:
    with lfqcodec.open(path, model=model) as file:
        yield from (unit for unit in file.units() if isinstance(unit, Chunk))


def count(static: Path, exact: Path, prior: Prior, model: str | None) -> list[_Counts]:
    """Decode both files, whose tokens must be the same, and count stage by stage."""
    with lfqcodec.open(exact, model=model) as file:
        header = file.header
    coder = GopCoder(load_network(prior, pick_device("auto")), *header.grid)
    counts = [_Counts(0, 0, np.zeros(2, np.int64), np.zeros(2, np.float64)) for _ in range(header.max_stages)]
    for plain, chunk in zip(_chunks(static, model), _chunks(exact, model), strict=True):
        head, shape = chunk.head, chunk.head.shape(header)
        area = shape[1] * shape[2]
        coder.begin_chunk(shape[0], gop_start=head.gop_start)
        # Latent frames of this chunk that are the first of a GOP, and those that are not.
        first = int(head.gop_start)
        for stage, own in enumerate(counts):
            bits = np.zeros(shape[0])
            rows = counted(coder.rows(stage), bits, SUBTOKENS * area)
            tokens = decode_tokens(rows, chunk.streams[stage], shape)
            check_tokens(tokens, head, stage, Profile.EXACT)
            rows = uniform_rows(tokens.size)
            if not np.array_equal(decode_tokens(rows, plain.streams[stage], shape), tokens):
                raise LfqError(f"{exact}: the two profiles hold different tokens")
            own.static_words += plain.head.words[stage]
            own.exact_words += head.words[stage]
            own.tokens += np.array([first, shape[0] - first]) * area
            own.bits += [bits[:first].sum(), bits[first:].sum()]
    return counts


def measure(
    clip: Path, name: str, model: Model, prior: Prior, wanted: str | None, frames: int | None, folder: Path
) -> tuple[Clip, list[Row]]:
    """Encode a clip in both profiles, all stages as they are, and read the files back."""
    reports, paths = [], []
    for profile in ("static", "exact"):
        path = folder / f"{profile}.lfq"
        reports.append(
            lfqcodec.encode(
                *(clip, path),
                model=wanted,
                stages=model.config.stages,
                profile=profile,
                frames=frames,
                audio=False,
                overwrite=True,
            )
        )
        paths.append(path)
    counts = count(paths[0], paths[1], prior, wanted)
    total = _Counts(
        sum(own.static_words for own in counts),
        sum(own.exact_words for own in counts),
        np.sum([own.tokens for own in counts], 0),
        np.sum([own.bits for own in counts], 0),
    )
    rows = [own.row(name, str(stage)) for stage, own in enumerate(counts)] + [total.row(name, TOTAL)]
    plain, exact = reports
    container = 100 * (1 - exact.payload_bytes / exact.file_bytes)
    whole = Clip(name, exact.frames, exact.width, exact.height, plain.file_bytes, exact.file_bytes, container)
    return whole, rows


def make_still(clip: Path, folder: Path) -> Path:
    """A video that shows the first picture of `clip` all the time."""
    with open_video(clip, max_frames=1, copy_streams=False) as reader:
        picture = next(event.rgb for event in reader.events() if isinstance(event, Frame))
        height, width, _ = picture.shape
        info = VideoInfo(width, height, Fraction(1, 25), Fraction(25), colour=reader.info.colour)
    path = folder / "still.mkv"
    with open_writer(path, info) as writer:
        for number in range(STILL_FRAMES):
            writer.write(Frame(number, picture))
    return path


def means(rows: Sequence[Row]) -> list[Row]:
    """Means over the clips, stage by stage; tokens are summed."""
    result = []
    for stage in dict.fromkeys(row.stage for row in rows):
        own = [row for row in rows if row.stage == stage]
        later = [row.later for row in own if row.later is not None]
        values = {
            field.name: float(np.mean([getattr(row, field.name) for row in own]))
            for field in fields(Row)
            if field.name in ("static", "exact", "overhead", "first")
        }
        tokens = sum(row.tokens for row in own)
        mean_later = float(np.mean(later)) if later else None
        result.append(Row(clip="mean", stage=stage, tokens=tokens, later=mean_later, **values))
    return result


def _cells(row: Row) -> list[str]:
    later = "-" if row.later is None else f"{row.later:.2f}"
    figures = [f"{row.static:.2f}", f"{row.exact:.2f}", f"{row.first:.2f}", later]
    return [row.clip, row.stage, *figures, f"{row.overhead:.2f} %"]


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    """The rows as aligned text, or as a Markdown table."""
    titles = ["clip", "stage", "static", "exact", "first", "later", "overhead"]
    lines = [titles, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    aligned = [
        [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in aligned)
    aligned.insert(1, ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)])
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


@click.command("bits")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", help="Model name, file or folder (default: the shipped one).")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=STILL_FRAMES,
    show_default=True,
    help="Only the first frames of each clip; 65 are one GOP.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write everything as JSON.")
@click.option("--markdown", is_flag=True, help="Print means and still picture as a Markdown table.")
def bits(folder: Path, model: str | None, frames: int, out: Path | None, markdown: bool) -> None:
    """Bits per token of every stage of all clips in FOLDER, in the profiles static and exact.

    `first` and `later`: what the frequency rows of the prior stand for in the first latent frame of a GOP
    and in the others; `overhead`: what the files take on top of that. The last clip is a still picture: the
    first one of the first clip, over and over.
    """
    found = resolve_model(model)
    prior = prior_for(found)
    if prior is None:
        raise WeightsMissing(f"model {found.name} has no prior")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise LfqError(f"{folder}: no clips")
    clips: list[Clip] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, tqdm(total=len(paths) + 1, unit="clip") as progress:
        for path in paths:
            try:
                whole, own = measure(path, path.name, found, prior, model, frames, Path(scratch))
                clips.append(whole)
                rows += own
            except LfqError as error:
                tqdm.write(f"left out: {error}", file=sys.stderr)
            progress.update()
        if not clips:
            raise LfqError(f"{folder}: no clip could be measured")
        still = make_still(folder / clips[0].clip, Path(scratch))
        still_clip, still_rows = measure(still, "still", found, prior, model, None, Path(scratch))
        progress.update()
    mean = means(rows)
    click.echo(table([*([] if markdown else rows), *mean, *still_rows], markdown=markdown))
    if not markdown:
        click.echo("\nnot payload, of the file in profile exact:")
        for whole in [*clips, still_clip]:
            picture = f"{whole.frames} frames {whole.width}x{whole.height}"
            click.echo(f"  {whole.clip}: {whole.container:.2f} % of {whole.exact_bytes} bytes ({picture})")
    if out is not None:
        record: dict[str, Any] = {
            "lfqcodec": lfqcodec.__version__,
            "model": found.name,
            "model_sha256": found.sha256.hex(),
            "prior": prior.name,
            "prior_sha256": prior.sha256.hex(),
            "frames": frames,
            "still_of": clips[0].clip,
            "clips": [asdict(whole) for whole in [*clips, still_clip]],
            "means": [asdict(row) for row in mean],
            "rows": [asdict(row) for row in [*rows, *still_rows]],
        }
        out.write_text(json.dumps(record, indent=1) + "\n")
