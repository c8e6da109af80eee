"""Bits by kind of layer, with static and with learned rows, on a folder of clips."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import lfqcodec
from benchmarks.datasets.find import videos_in
from benchmarks.machine import command_line, describe
from benchmarks.options import clip_options
from lfqcodec.bitstream import Chunk
from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKENS, WORD_BITS
from lfqcodec.entropy import Batch, RateModel, as_given
from lfqcodec.entropy.coder import drive
from lfqcodec.entropy.model import ROW_SUM
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.errors import LfqError
from lfqcodec.prior.motion.static import StaticMotionRates
from lfqcodec.weights.store import prior_for, resolve_model

CERTAIN = ROW_SUM - SYMBOLS
"""Frequency less 1 of the value of a subtoken that has no other."""


@dataclass(frozen=True)
class Row:
    """A kind of layer of a clip: all layers `anchor.0`, `anchor.1` ... are `anchor tokens`.

    `positions` are tokens, `coded` those of them that the file says anything about: the others lie deeper
    than their block is coded. `static` and `learned` are the code lengths of the same tokens in bits;
    `learned` is None without a prior. bpp are bits per source pixel of the whole clip.
    """

    clip: str
    layer: str
    positions: int
    coded: int
    static: float
    learned: float | None
    static_bpp: float
    learned_bpp: float | None

    @property
    def per_token(self) -> tuple[float, float | None]:
        """Bits of a coded token, static and learned."""
        count = max(1, self.coded)
        return self.static / count, None if self.learned is None else self.learned / count


@dataclass(frozen=True)
class Clip:
    """A clip as a whole. `overhead`: percent that the words of its file exceed the code length by.

    `container`: percent of the file that is no payload.
    """

    clip: str
    frames: int
    width: int
    height: int
    bytes: int
    bpp: float
    overhead: float
    container: float


class _Counter:
    """Code lengths by kind of layer under a rate model, to which all tokens of a file are shown in order."""

    def __init__(self, rates: RateModel) -> None:
        self.rates = rates
        self.bits: dict[str, float] = defaultdict(float)
        self.positions: dict[str, int] = defaultdict(int)
        self.coded: dict[str, int] = defaultdict(int)

    def add(self, number: int, name: str, tokens: NDArray[np.int32]) -> None:
        """Count layer `number` of the group that `rates` has begun."""
        kind, given = kind_of(name), as_given(tokens)

        def step(batch: Batch) -> NDArray[np.int32]:
            symbols = np.asarray(given(batch), np.int32)
            _, frequencies = batch.intervals(symbols)
            self.bits[kind] += float((PRECISION_BITS - np.log2(frequencies)).sum())
            if batch.weights.ndim == 2 or batch.weights[0] != CERTAIN:
                self.coded[kind] += int((batch.positions % SUBTOKENS == 0).sum())
            return symbols

        drive(self.rates.rows(number), SUBTOKENS * tokens.size, step)
        self.positions[kind] += tokens.size


def kind_of(layer: str) -> str:
    """`anchor tokens` for `anchor.3`; other names are kinds already."""
    part, _, number = layer.rpartition(".")
    return f"{part} tokens" if number.isdigit() else layer


def count(path: Path, model: str | None) -> tuple[_Counter, _Counter | None, int]:
    """What static rows make of the tokens of a file, and those of its prior if any; its payload in bits."""
    with lfqcodec.open(path, model=model) as file:
        learned = None if file.prior() is None else _Counter(file.token_decoder().rates)
        static = _Counter(StaticMotionRates())
        decoder, header = file.token_decoder(), file.header
        payload = 0
        for chunk in (unit for unit in file.units() if isinstance(unit, Chunk)):
            head = chunk.head
            payload += WORD_BITS * sum(head.words)
            size, first = (header.height, header.width), head.gop_start
            layers = decoder.layout.chunk(head.valid, size, gop_start=first, group_size=head.group_size)
            groups = decoder.decode(chunk)
            for counter in filter(None, (static, learned)):
                counter.rates.begin_chunk(layers, gop_start=first)
                for group, tokens in zip(layers, groups, strict=True):
                    counter.rates.begin_group()
                    for number, (layer, own) in enumerate(zip(group, tokens, strict=False)):
                        counter.add(number, layer.name, own)
    return static, learned, payload


def measure(clip: Path, model: str | None, crf: float, frames: int, folder: Path) -> tuple[Clip, list[Row]]:
    """Code a clip and count its bits."""
    path = folder / "coded.lfq"
    report = lfqcodec.encode(clip, path, model=model, crf=crf, frames=frames, audio=False, overwrite=True)
    static, learned, payload = count(path, model)
    pixels = report.frames * report.width * report.height
    rows = []
    for layer, bits in static.bits.items():
        shorter = None if learned is None else learned.bits[layer]
        rows.append(
            Row(
                *(clip.name, layer, static.positions[layer], static.coded[layer], bits, shorter),
                static_bpp=bits / pixels,
                learned_bpp=None if shorter is None else shorter / pixels,
            )
        )
    ideal = sum((learned or static).bits.values())
    whole = Clip(
        *(clip.name, report.frames, report.width, report.height, report.file_bytes, report.bpp),
        overhead=100 * (payload / ideal - 1),
        container=100 * (1 - payload / (8 * report.file_bytes)),
    )
    return whole, rows


def totals(rows: Sequence[Row], clips: Sequence[Clip]) -> Iterator[Row]:
    """All clips as one, kind by kind."""
    pixels = sum(clip.frames * clip.width * clip.height for clip in clips)
    for layer in dict.fromkeys(row.layer for row in rows):
        own = [row for row in rows if row.layer == layer]
        learned = [row.learned for row in own if row.learned is not None]
        bits = sum(row.static for row in own)
        shorter = sum(learned) if learned else None
        yield Row(
            *("all", layer, sum(row.positions for row in own), sum(row.coded for row in own), bits, shorter),
            static_bpp=bits / pixels,
            learned_bpp=None if shorter is None else shorter / pixels,
        )


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    """The rows as aligned text, or as a Markdown table. `share` is that of the clip's bits."""
    titles = ["clip", "layer", "coded", "of all", "bits/token", "learned", "bpp", "learned", "share"]
    lines = [titles]
    whole: dict[str, float] = defaultdict(float)
    for row in rows:
        whole[row.clip] += row.static if row.learned is None else row.learned
    for row in rows:
        own = row.static if row.learned is None else row.learned
        bits, shorter = row.per_token
        figures = [f"{bits:.2f}", _or_dash(shorter, 2), f"{row.static_bpp:.5f}", _or_dash(row.learned_bpp, 5)]
        covered = f"{row.coded / row.positions:.0%}"
        lines.append([row.clip, row.layer, f"{row.coded}", covered, *figures, f"{own / whole[row.clip]:.1%}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    aligned = [
        [cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in aligned)
    aligned.insert(1, ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)])
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


@click.command("bits")
@clip_options
@click.option("--out", type=click.Path(path_type=Path), help="Write everything as JSON.")
@click.option("--markdown", is_flag=True, help="Print all clips as one, as a Markdown table.")
def bits(folder: Path, model: str | None, crf: float, frames: int, out: Path | None, markdown: bool) -> None:
    """Bits by kind of layer of all clips in FOLDER, with static and with learned rows.

    Code lengths of the same tokens, so both columns are for one file. `learned` stays empty without a prior.
    """
    found = resolve_model(model)
    paths = videos_in(folder)
    clips: list[Clip] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in tqdm(paths, unit="clip"):
            try:
                whole, own = measure(path, model, crf, frames, Path(scratch))
                clips.append(whole)
                rows += own
            except LfqError as error:
                tqdm.write(f"left out: {error}", file=sys.stderr)
    if not clips:
        raise LfqError(f"{folder}: no clip could be measured")
    every = list(totals(rows, clips))
    click.echo(table([*([] if markdown else rows), *every], markdown=markdown))
    if not markdown:
        for whole in clips:
            picture = f"{whole.frames} frames {whole.width}x{whole.height}, {whole.bytes} bytes"
            shares = f"payload {whole.overhead:.2f} % over its code length, {whole.container:.2f} % container"
            click.echo(f"{whole.clip}: {picture}, {whole.bpp:.4f} bpp; {shares}")
    if out is not None:
        prior = prior_for(found)
        record: dict[str, Any] = {
            **describe(),
            "command": command_line(),
            "model": found.name,
            "model_sha256": found.sha256.hex(),
            "prior": None if prior is None else prior.name,
            "prior_sha256": None if prior is None else prior.sha256.hex(),
            "crf": crf,
            "frames": frames,
            "clips": [asdict(whole) for whole in clips],
            "all": [asdict(row) for row in every],
            "rows": [asdict(row) for row in rows],
        }
        out.write_text(json.dumps(record, indent=1) + "\n")
