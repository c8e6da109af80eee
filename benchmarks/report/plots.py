"""Rate-distortion plots. Equal results give equal bytes, so that committed plots change only with them."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from benchmarks.report.bd import Metric
from lfqcodec.output import replacing

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Codec -> points (bits per pixel, value as in `Row`)."""

# Okabe and Ito's colours, told apart with every common form of colour blindness. One a family of codecs;
# presets of a family differ in marker and line.
FAMILIES = {"lfq": "#D55E00", "x265": "#0072B2", "x264": "#009E73", "svtav1": "#CC79A7"}
OTHERS = ("#E69F00", "#56B4E9", "#8C6D1F", "#777777")
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
INK, FAINT = "#1b1f24", "#c9ced6"
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lfqcodec",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}


@dataclass(frozen=True)
class Style:
    """How a codec looks everywhere."""

    colour: str
    marker: str
    dash: Any
    width: float


def styles(codecs: Sequence[str]) -> dict[str, Style]:
    """One style a codec: the colour goes by the family (x265 of x265-medium), ours is drawn thicker."""
    others = itertools.cycle(OTHERS)
    colours = dict(FAMILIES)
    order: Counter[str] = Counter()
    found = {}
    for number, codec in enumerate(codecs):
        family = codec.partition("-")[0]
        colour = colours.get(family) or colours.setdefault(family, next(others))
        dash = DASHES[order[family] % len(DASHES)]
        found[codec] = Style(colour, MARKERS[number % len(MARKERS)], dash, 2.2 if codec == "lfq" else 1.4)
        order[family] += 1
    return found


def axis_label(metric: Metric) -> str:
    """Name, unit, and which way is better where it is not up."""
    if not metric.higher_is_better:
        return f"{metric.title} (lower is better, axis turned)"
    return f"{metric.title} [dB]" if metric.field == "psnr" else metric.title


def _rate(value: float, _: int | None = None) -> str:
    return f"{value:.4g}"


TICKS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
"""Choices of what powers of ten are multiplied with, the densest first."""
MEAN_AXIS, SMALL_AXIS = 4.0, 2.3
"""Inches that the rate axis is long: of the figure of the means, and of a small plot."""
LABEL_WIDTH = 0.52
"""Inches that a number at the rate axis takes, with the gap to the next one."""


def _ticks(low: float, high: float, width: float) -> list[float]:
    """Rates to write at an axis of `width` inches from `low` to `high`: as many as do not run together."""
    inches = width / math.log10(high / low)
    found: list[float] = []
    for factors in TICKS:
        powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [rate for rate in found if low <= rate <= high]
        if all(math.log10(b / a) * inches >= LABEL_WIDTH for a, b in itertools.pairwise(found)):
            break
    return found


def _axes(axes: Axes, metric: Metric, curves: Curves, looks: Mapping[str, Style], size: float) -> None:
    """The curves. `size` scales lines and markers: 1 in the figure of the means, less in small plots."""
    for codec, curve in curves.items():
        if not curve:
            continue
        look = looks[codec]
        axes.plot(
            [rate for rate, _ in curve],
            [value for _, value in curve],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            linewidth=look.width * size,
            markersize=5 * size,
            label=codec,
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high, MEAN_AXIS if size == 1 else SMALL_AXIS)))
    axes.xaxis.set_major_formatter(FuncFormatter(_rate))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(6 if size == 1 else 4))
    axes.grid(True, which="major")
    axes.tick_params(which="both", color=FAINT)
    if not metric.higher_is_better:
        axes.invert_yaxis()


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of that many inches, drawn by Agg: no window system is asked."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS, "backend": "agg"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def mean_figure(metric: Metric, curves: Curves, looks: Mapping[str, Style], count: int) -> Drawing:
    """One metric, all codecs, the mean over `count` sequences."""
    with _figure(4.8, 4.4) as figure:
        axes = figure.add_subplot()
        _axes(axes, metric, curves, looks, 1)
        axes.set_xlabel("bits per pixel (log)")
        axes.set_ylabel(axis_label(metric))
        axes.set_title(f"{metric.title}, mean of {count} sequence{'s' * (count != 1)}", loc="left")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return Drawing.of(figure)


def small_figure(metric: Metric, sequence: str, curves: Curves, looks: Mapping[str, Style]) -> Drawing:
    """One metric on one sequence, without a legend."""
    with _figure(2.8, 2.1) as figure:
        axes = figure.add_subplot()
        _axes(axes, metric, curves, looks, 0.7)
        axes.set_title(sequence, loc="left", parse_math=False)
        return Drawing.of(figure, png=False)


def multiples_figure(
    metric: Metric, sequences: Mapping[str, Curves], looks: Mapping[str, Style], columns: int = 4
) -> Drawing:
    """One metric, one small plot a sequence, one legend."""
    columns = min(columns, len(sequences))
    rows = math.ceil(len(sequences) / columns)
    with _figure(max(4.8, 2.8 * columns), 2.1 * rows + 1) as figure:
        handles: dict[str, Any] = {}
        for number, (name, curves) in enumerate(sequences.items(), 1):
            axes = figure.add_subplot(rows, columns, number)
            _axes(axes, metric, curves, looks, 0.7)
            axes.set_title(name, loc="left", parse_math=False)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        title = f"{axis_label(metric)} over bits per pixel (log), each sequence"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        figure.legend(
            [handles[name] for name in looks if name in handles],
            [name for name in looks if name in handles],
            loc="outside lower center",
            ncols=4 if columns > 2 else 2,
        )
        return Drawing.of(figure)


@dataclass(frozen=True)
class Drawing:
    """A drawn figure as SVG text and PNG bytes (None where only the page shows it)."""

    svg: str
    png: bytes | None

    @classmethod
    def of(cls, figure: Figure, *, png: bool = True) -> Drawing:
        """Draw, inside of the settings that the figure was made in."""
        text, picture = io.StringIO(), io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        if png:
            figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        # Matplotlib leaves blanks at the ends of lines, which git would complain about.
        svg = re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)
        return cls(svg, picture.getvalue() if png else None)

    def save(self, stem: Path) -> None:
        """Write `stem`.svg and `stem`.png."""
        for suffix, data in ((".svg", self.svg.encode()), (".png", self.png)):
            if data is not None:
                with replacing(stem.with_name(stem.name + suffix), overwrite=True) as temporary:
                    temporary.write_bytes(data)

    def inline(self, prefix: str) -> str:
        """The `<svg>` element for a page: no background, ink that follows the text colour, own ids.

        `prefix` is one that no other drawing of the page has: letters, digits and hyphens.
        """
        start = self.svg.index("<svg")
        text = re.sub(r"<(metadata|style)\b.*?</\1>", "", self.svg[start:], flags=re.DOTALL)
        text = re.sub(r'<g id="patch_1">.*?</g>', "", text, count=1, flags=re.DOTALL)
        text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
        # Sizes in points would keep it from shrinking with the page; the viewBox has the shape.
        text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
        return text.replace("#ffffff", "none").replace(INK, "currentColor").replace(FAINT, "var(--line)")
