"""The page: one HTML file that holds everything, and says in words what the figures mean."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.report.bd import METRICS, MIN_OVERLAP, USUAL_POINTS, Comparison, Metric, Summary
from benchmarks.report.curves import PAPER_BPP, AtRate, Means, mean_points
from benchmarks.report.viewer import SOURCE, Scene, Shown
from benchmarks.results import Results, Row

HERE = Path(__file__).parent
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Analysis:
    """All computed figures. `comparisons` are those of `ours` with every other codec, metric by metric.

    `anchor` is the codec to look at first. `notes` are what could not be done, and why.
    """

    results: Results
    ours: str
    anchor: str | None
    comparisons: list[Comparison]
    means: Means
    table: list[AtRate]
    notes: list[str]

    def of(self, anchor: str, metric: Metric) -> Comparison:
        """The comparison with one codec in one metric."""
        return next(c for c in self.comparisons if (c.anchor, c.metric) == (anchor, metric.name))

    def without_mean(self, metric: Metric) -> list[str]:
        """The codecs that have no point of a metric in the mean curves."""
        curves = self.means.curves
        return [name for name in self.results.codec_names() if not mean_points(curves.get(name, []), metric)]

    @property
    def others(self) -> list[str]:
        """The codecs that ours is compared with, the anchor first."""
        names = dict.fromkeys(c.anchor for c in self.comparisons)
        return sorted(names, key=lambda name: name != self.anchor)


@dataclass(frozen=True)
class Plots:
    """`<svg>` elements by metric name: of the means, and of every sequence."""

    means: Mapping[str, str]
    sequences: Mapping[str, Mapping[str, str]]


# Figures as text


def number(value: float | None, digits: int = 2) -> str:
    """Fixed point with a real minus sign, a dash for None."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 2) -> str:
    """As `number`, with a plus sign."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """Signed percent with three digits that count."""
    if value is None:
        return NONE
    return signed(value, 1 if abs(value) < 99.95 else 0) + " %"


def interval(summary: Summary, form: Any) -> str:
    """The confidence interval in square brackets."""
    if summary.low is None or summary.high is None:
        return "no interval from one sequence" if summary.count == 1 else ""
    return f"[{form(summary.low)}, {form(summary.high)}]"


def digits_of(metric: Metric) -> int:
    """How many decimals a difference in the metric's unit needs."""
    return 2 if metric.unit == "dB" else 3


def _winner(summary: Summary, ours: str, anchor: str, *, good: bool) -> str:
    if summary.low is None or summary.high is None:
        return "one sequence only, which says little"
    if summary.low <= 0 <= summary.high:
        return "no clear winner, the interval includes no difference"
    return f"{ours if good else anchor} wins"


def verdict(comparison: Comparison, metric: Metric) -> str:
    """Who wins, by rate and by quality where the two do not agree."""
    names = comparison.test, comparison.anchor
    rate, quality = comparison.rate.summary, comparison.quality.summary
    found = {}
    if rate.mean is not None:
        found["at equal quality"] = _winner(rate, *names, good=rate.mean < 0)
    if quality.mean is not None:
        found["at equal bits"] = _winner(quality, *names, good=quality.mean * metric.sign > 0)
    if not found:
        return "not measured" if comparison.absent else "no figure, every sequence was refused"
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{where}: {words}" for where, words in found.items())


def rate_words(comparison: Comparison, metric: Metric) -> str:
    """What a BD-rate means, as one sentence without its subject."""
    summary, anchor = comparison.rate.summary, comparison.anchor
    where = f"at equal {metric.title}"
    if comparison.absent:
        return f"has no figure {where}: not measured"
    if summary.mean is None:
        return f"cannot be compared with {anchor} {where}: refused on every sequence"
    ratio = 1 + summary.mean / 100
    if ratio >= 1.995:
        return f"needs {ratio:.1f} times the bits of {anchor} {where}"
    if abs(ratio - 1) < 0.005:
        return f"needs as many bits as {anchor} {where}"
    return f"needs {abs(summary.mean):.0f} % {'more' if ratio > 1 else 'fewer'} bits than {anchor} {where}"


def quality_words(comparison: Comparison, metric: Metric) -> str:
    """What a BD-quality means, as one sentence without its subject."""
    summary, anchor = comparison.quality.summary, comparison.anchor
    if comparison.absent:
        return f"has no {metric.title} at equal bits: not measured"
    if summary.mean is None:
        return f"cannot be compared with {anchor} in {metric.title} at equal bits: refused on every sequence"
    amount = f"{abs(summary.mean):.{digits_of(metric)}f}{' ' + metric.unit if metric.unit else ''}"
    way = "higher" if summary.mean > 0 else "lower"
    better = "better" if summary.mean * metric.sign > 0 else "worse"
    return f"has {amount} {way} {metric.title} ({better}) than {anchor} at equal bits"


def explanation(comparison: Comparison, metric: Metric) -> str:
    """What stands behind a verdict: both figures in words, or an example of a refusal."""
    if comparison.absent:
        return ""
    if comparison.rate.summary.mean is None and comparison.quality.summary.mean is None:
        sequence, reason = next(iter(comparison.rate.refused.items()))
        return f"For one, {sequence}: {reason}."
    words = f"{rate_words(comparison, metric)}; it {quality_words(comparison, metric)}"
    return f"{comparison.test} {words}."


def facts(row: Row | None) -> str:
    """Setting, rates and qualities of what the viewer shows; they are those of the whole sequence."""
    if row is None:
        return "lossless source"
    parts = [row.setting, f"{row.bpp:.4f} bpp", f"{row.kbps:.1f} kbit/s", f"PSNR {row.psnr:.2f} dB"]
    if row.ms_ssim is not None:
        parts.append(f"MS-SSIM {row.ms_ssim:.4f}")
    if row.lpips is not None:
        parts.append(f"LPIPS {row.lpips:.4f}")
    return " · ".join(parts)


def _scene(scene: Scene) -> dict[str, Any]:
    def picture(shown: Shown) -> dict[str, str]:
        return {"codec": shown.codec, "facts": facts(shown.row), "picture": shown.picture}

    return {
        "sequence": scene.sequence,
        "width": scene.width,
        "height": scene.height,
        "frame": scene.frame,
        "credit": scene.credit,
        "shown": [picture(shown) for shown in scene.shown],
    }


def title(analysis: Analysis) -> str:
    """The heading: which codecs are compared, and on how many sequences."""
    names = analysis.others or analysis.results.codec_names()
    codecs = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    if analysis.others:
        codecs = f"{analysis.ours} against {codecs}"
    count = len({row.sequence for row in analysis.results.rows.values()})
    return f"{codecs}: {count} sequence{'s' * (count != 1)}"


def compared(results: Results) -> list[tuple[str, str]]:
    """Name and text of what was compared: sequences, frames, sizes, and the settings of each codec."""
    rows = results.rows.values()
    measured = {row.sequence: row for row in rows}.values()
    frames = [row.frames for row in measured]
    each = f"{min(frames)} to {max(frames)}" if min(frames) < max(frames) else f"{frames[0]}"
    sizes = Counter(f"{row.width}\N{MULTIPLICATION SIGN}{row.height}" for row in measured)
    lines = [
        ("sequences", f"{len(measured)} of {results.dataset}"),
        ("frames", f"{sum(frames)}, {each} a sequence"),
        ("sizes", ", ".join(f"{size} ({count})" for size, count in sizes.most_common())),
    ]
    for codec in results.codec_names():
        model = results.codecs[codec].get("model")
        own = _settings({row.setting for row in rows if row.codec == codec})
        lines.append((codec, f"{model}, {own}" if model else own))
    return lines


def _settings(settings: Iterable[str]) -> str:
    """Settings by the numbers in them; what they all begin with, as in crf=8 and crf=10, stands once."""
    found = sorted(settings, key=lambda text: ([int(digits) for digits in re.findall(r"\d+", text)], text))
    names = {text.partition("=")[0] for text in found if "=" in text}
    if len(names) == 1 and all("=" in text for text in found):
        return f"{names.pop()} {', '.join(text.partition('=')[2] for text in found)}"
    return ", ".join(found)


def flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and text of everything in a record; what is nested gets names such as "packages torch"."""
    lines: list[tuple[str, str]] = []
    for name, value in record.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            lines += flat(value, f"{label} ")
        else:
            lines.append((label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return lines


@functools.cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "signed": signed, "percent": percent}
    found.globals |= {
        "digits_of": digits_of,
        "explanation": explanation,
        "flat": flat,
        "interval": interval,
        "percent": percent,
        "verdict": verdict,
        "signed_for": lambda metric: functools.partial(signed, digits=digits_of(metric)),
    }
    return found


def _own_text(name: str) -> Markup:
    """A file of this package, which is put into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


def render(analysis: Analysis, plots: Plots, scenes: Sequence[Scene]) -> str:
    """The page as text."""
    results = analysis.results
    measured = sorted({row.sequence for row in results.rows.values()})
    runs = results.runs
    return (
        _environment()
        .get_template("template.html")
        .render(
            css=_own_text("page.css"),
            script=_own_text("page.js"),
            analysis=analysis,
            title=title(analysis),
            compared=compared(results),
            without_mean=analysis.without_mean,
            results=results,
            measured=measured,
            commits=sorted({str(run["commit"])[:12] for run in runs if run.get("commit")}),
            dates=[str(run["started"])[:10] for run in runs if run.get("started")],
            metrics=METRICS,
            min_overlap=MIN_OVERLAP,
            usual_points=USUAL_POINTS,
            paper_bpp=PAPER_BPP,
            mean_plots={name: Markup(svg) for name, svg in plots.means.items()},
            small_plots={
                name: {sequence: Markup(svg) for sequence, svg in own.items()}
                for name, own in plots.sequences.items()
            },
            rows=[results.rows[key] for key in sorted(results.rows)],
            failures=[results.failures[key] for key in sorted(results.failures)],
            scenes=[_scene(scene) for scene in scenes],
            source=SOURCE,
        )
    )
