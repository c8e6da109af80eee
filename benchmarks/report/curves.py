"""Mean curves of codecs over sequences, and the table of one rate that the MAGVIT-v2 paper has.

A mean curve has one point a setting: the arithmetic mean of the bits per pixel (what a collection of such
videos takes) and the arithmetic means of the qualities, over the same sequences at every point of every
codec. Bjontegaard deltas are not taken from it, but from the curves of the single sequences.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarks.report.bd import METRICS, Metric, front
from benchmarks.results import Results, Row

PAPER_BPP = 0.0384
"""The rate of Table 3 in Yu et al., "Language Model Beats Diffusion" (MAGVIT-v2, arXiv 2310.05737)."""


@dataclass(frozen=True)
class Point:
    """A setting of a codec, meant over sequences: bits per pixel, and metric name -> value as in `Row`.

    A metric that some of the sequences lack is None.
    """

    setting: str
    bpp: float
    values: dict[str, float | None]


@dataclass(frozen=True)
class Means:
    """Mean curves by codec, points by rising rate.

    `left_out` names sequences, and settings, that take no part, each with the reason.
    """

    curves: dict[str, list[Point]]
    sequences: list[str]
    left_out: list[str]


def _settings(results: Results) -> tuple[set[tuple[str, str]], list[str]]:
    """(codec, setting) pairs that at least half of the sequences have, and notes on the others."""
    counts = Counter((row.codec, row.setting) for row in results.rows.values())
    total = len({row.sequence for row in results.rows.values()})
    notes = [
        f"{codec} {setting}: measured on {count} of {total} sequences, fewer than half"
        for (codec, setting), count in sorted(counts.items())
        if 2 * count < total
    ]
    return {pair for pair, count in counts.items() if 2 * count >= total}, notes


def mean_curves(results: Results) -> Means:
    """Means over those sequences that have every setting of every codec, all of the same source.

    A setting that fewer than half of the sequences have is left out first, or it would take the others along.
    """
    wanted, left_out = _settings(results)
    complete = []
    for sequence in sorted({row.sequence for row in results.rows.values()}):
        missing = sorted(pair for pair in wanted if (*pair, sequence) not in results.rows)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            left_out.append(f"{sequence}: lacks {' '.join(missing[0])}{more}")
        elif len({results.rows[*pair, sequence].source_sha256 for pair in wanted}) > 1:
            left_out.append(f"{sequence}: not all measured on the same source")
        else:
            complete.append(sequence)
    curves: dict[str, list[Point]] = {}
    for codec in results.codec_names() if complete else []:
        settings = sorted(setting for name, setting in wanted if name == codec)
        found = [_mean(results, codec, setting, complete) for setting in settings]
        if found:
            curves[codec] = sorted(found, key=lambda point: point.bpp)
    return Means(curves, complete, left_out)


def _mean(results: Results, codec: str, setting: str, sequences: list[str]) -> Point:
    rows = [results.rows[codec, setting, sequence] for sequence in sequences]
    values = {metric.field: _mean_value(rows, metric) for metric in METRICS}
    return Point(setting, float(np.mean([row.bpp for row in rows])), values)


def _mean_value(rows: list[Row], metric: Metric) -> float | None:
    # All or nothing, so that every point of a curve stands for the same sequences. Nothing of lossless ones.
    values = [getattr(row, metric.field) for row in rows]
    return float(np.mean(values)) if all(v is not None and math.isfinite(v) for v in values) else None


def mean_points(curve: list[Point], metric: Metric) -> list[tuple[float, float]]:
    """The points of a mean curve that have the metric."""
    pairs = [(point.bpp, point.values[metric.field]) for point in curve]
    return [(bpp, value) for bpp, value in pairs if value is not None]


@dataclass(frozen=True)
class AtRate:
    """A codec at one rate: its nearest measured point (in log rate), and read off its curve at that rate.

    `interpolated` is None for metrics without a curve that spans the rate.
    """

    codec: str
    nearest: Point
    interpolated: dict[str, float | None]


def table_at(means: Means, bpp: float = PAPER_BPP) -> list[AtRate]:
    """Every codec at a rate, in bits per pixel. Values between points are those of PCHIP in log rate."""
    table = []
    for codec, curve in means.curves.items():
        nearest = min(curve, key=lambda point: (abs(math.log(point.bpp / bpp)), point.bpp))
        between: dict[str, float | None] = {}
        for metric in METRICS:
            found = front(mean_points(curve, metric), metric).quality_at(bpp)
            between[metric.field] = None if found is None else metric.unscaled(metric.sign * found)
        table.append(AtRate(codec, nearest, between))
    return table
