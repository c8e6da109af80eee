"""Bjontegaard deltas between two rate-distortion curves, and their means over sequences.

Source: G. Bjontegaard, VCEG-M33, with the piecewise cubic Hermite interpolation (PCHIP) of the JCT-VC common
test conditions (JCTVC-L1100) in place of one polynomial. Rates enter as their base-10 logarithm.

Rules, where the sources leave a choice:

* PSNR is integrated in dB. MS-SSIM is integrated as -10 log10(1 - MS-SSIM), called ms_ssim_db: close to 1,
  where codecs work, the plain value hardly moves. LPIPS is integrated as it is: it is a distance already,
  its differences can be read off, and a logarithm would give most of the weight to values close to 0, which
  are far from the low rates that this benchmark is about.
* Only points of the Pareto front count: a point goes if another one has at most its rate and at least its
  quality. Both axes then rise from point to point, as PCHIP needs, and the curve is what a user would choose
  from. Points of infinite quality (lossless) go too.
* Two points are enough (PCHIP is then a straight line), though four are usual: the counts are given.
* A delta is refused where the curves share less than a quarter of the shorter one's range. It would rest on
  the ends of both curves, where the slopes of PCHIP are guesses. The share is given beside every delta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.stats import t as student

from benchmarks.results import Results, metric_values
from lfqcodec.errors import LfqError

MIN_POINTS = 2
USUAL_POINTS = 4
MIN_OVERLAP = 0.25
CONFIDENCE = 0.95

Curve = Iterable[tuple[float, float]]
"""Points (bits per pixel, value of a metric as in `Row`)."""


class BdRefused(LfqError):
    """Two curves cannot be compared; the text says why."""


@dataclass(frozen=True)
class Metric:
    """A measure of quality. `field` is that of `Row`; deltas of quality are in `unit`."""

    name: str
    field: str
    title: str
    unit: str
    higher_is_better: bool = True

    def scaled(self, value: float) -> float:
        """The value in the scale that is integrated; infinite where there is no error."""
        if self.field != "ms_ssim":
            return value
        return -10 * math.log10(1 - value) if value < 1 else math.inf

    def unscaled(self, value: float) -> float:
        """What `scaled` was made of."""
        return 1 - 10 ** (-value / 10) if self.field == "ms_ssim" else value

    @property
    def sign(self) -> int:
        """What makes higher better."""
        return 1 if self.higher_is_better else -1


METRICS = (
    Metric("psnr", "psnr", "PSNR", "dB"),
    Metric("ms_ssim_db", "ms_ssim", "MS-SSIM", "dB"),
    Metric("lpips", "lpips", "LPIPS", "", higher_is_better=False),
    Metric("lpips_shifted", "lpips_shifted", "LPIPS, shifted", "", higher_is_better=False),
)


@dataclass(frozen=True)
class Delta:
    """A delta with what it rests on.

    `value`: percent of rate, or the metric's unit. `overlap`: the range that both curves share over the range
    of the shorter one. `points` and `dropped`: points used, and points not on the Pareto front, of (anchor,
    test).
    """

    value: float
    overlap: float
    points: tuple[int, int]
    dropped: tuple[int, int]


@dataclass(frozen=True)
class Front:
    """The Pareto front of a curve: log10 of the rates, and qualities of which higher is better; both rise."""

    rates: NDArray[np.float64]
    qualities: NDArray[np.float64]
    dropped: int

    def quality_at(self, rate: float) -> float | None:
        """Quality at a rate in bits per pixel, None outside of the curve."""
        where = math.log10(rate)
        if len(self.rates) < MIN_POINTS or not self.rates[0] <= where <= self.rates[-1]:
            return None
        return float(PchipInterpolator(self.rates, self.qualities)(where))


def front(curve: Curve, metric: Metric) -> Front:
    """The points of a curve that count. See the rules above."""
    points = [(math.log10(rate), metric.sign * metric.scaled(value)) for rate, value in curve]
    kept: list[tuple[float, float]] = []
    # By rate, the best of equal ones first: what is not better than all before it is dominated.
    for rate, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if math.isfinite(quality) and (not kept or quality > kept[-1][1]):
            kept.append((rate, quality))
    pairs = np.array(kept, np.float64).reshape(-1, 2)
    return Front(pairs[:, 0], pairs[:, 1], len(points) - len(kept))


def _mean_difference(
    axes: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    what: str,
    names: tuple[str, str],
    shown: Callable[[float], float] = float,
) -> tuple[float, float]:
    """Mean of second curve minus first curve over the range of x that they share, and the share.

    `shown` turns an x into what the text of a refusal has.
    """
    spans = [(float(x[0]), float(x[-1])) for x, _ in axes]
    low, high = max(a for a, _ in spans), min(b for _, b in spans)
    overlap = (high - low) / min(b - a for a, b in spans)
    if overlap < MIN_OVERLAP:
        shared = f"only {100 * overlap:.0f} % of the shorter range is" if overlap > 0 else "none is"
        ranges = [
            f"{name} {shown(a):.4g} to {shown(b):.4g}" for name, (a, b) in zip(names, spans, strict=True)
        ]
        raise BdRefused(f"too little common {what}: {shared} ({', '.join(ranges)})")
    areas = [float(PchipInterpolator(x, y).integrate(low, high)) for x, y in axes]
    return (areas[1] - areas[0]) / (high - low), overlap


def _fronts(anchor: Curve, test: Curve, metric: Metric, names: tuple[str, str]) -> tuple[Front, Front]:
    both = front(anchor, metric), front(test, metric)
    for name, own in zip(names, both, strict=True):
        if len(own.rates) < MIN_POINTS:
            count, total = len(own.rates), len(own.rates) + own.dropped
            of = f" of {total}" if own.dropped else ""
            raise BdRefused(
                f"{name} has {count} usable point{'s' * (count != 1)}{of}, {MIN_POINTS} are needed"
            )
    return both


NAMES = ("anchor", "test")


def bd_rate(anchor: Curve, test: Curve, metric: Metric, names: tuple[str, str] = NAMES) -> Delta:
    """By how many percent more bits `test` needs than `anchor` at equal quality; less than 0: it needs fewer.

    `names` of both go into the text of `BdRefused`, which is raised for curves that cannot be compared.
    """
    one, two = _fronts(anchor, test, metric, names)
    # A range of LPIPS is told as it is, and therefore falls: turn it here, so that the text has real values.
    axes = [(metric.sign * own.qualities, own.rates) for own in (one, two)]
    axes = [(x[:: metric.sign], y[:: metric.sign]) for x, y in axes]
    what = f"range of {metric.title}" + (f" in {metric.unit}" if metric.unit else "")
    mean, overlap = _mean_difference(axes, what, names)
    counts = (len(one.rates), len(two.rates)), (one.dropped, two.dropped)
    return Delta(100 * (10**mean - 1), overlap, *counts)


def bd_quality(anchor: Curve, test: Curve, metric: Metric, names: tuple[str, str] = NAMES) -> Delta:
    """Quality of `test` minus that of `anchor` at equal rate, in the metric's unit (LPIPS: under 0 is good).

    `names` as for `bd_rate`. Raises `BdRefused`.
    """
    one, two = _fronts(anchor, test, metric, names)
    axes = [(own.rates, metric.sign * own.qualities) for own in (one, two)]
    mean, overlap = _mean_difference(axes, "range of bpp", names, lambda x: 10.0**x)
    return Delta(mean, overlap, (len(one.rates), len(two.rates)), (one.dropped, two.dropped))


@dataclass(frozen=True)
class Summary:
    """Mean over sequences with its 95 % confidence interval; None where there is no (or one) sequence.

    `arithmetic` is the plain mean of the percentages of BD-rates, as most tables have it; None for qualities.
    """

    count: int
    mean: float | None
    low: float | None
    high: float | None
    arithmetic: float | None = None


def _interval(values: list[float]) -> tuple[float, float, float]:
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, math.nan, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean, mean - reach, mean + reach


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def summarise_qualities(values: Iterable[float]) -> Summary:
    """Arithmetic mean and Student's t interval: sequences are drawn from the videos that one might code.

    Not a bootstrap: with the few sequences of a benchmark its intervals come out too narrow.
    """
    own = list(values)
    if not own:
        return Summary(0, None, None, None)
    mean, low, high = map(_known, _interval(own))
    return Summary(len(own), mean, low, high)


def summarise_rates(percents: Iterable[float]) -> Summary:
    """Geometric mean of the rate ratios and Student's t interval of their logarithms, as percent.

    Half the bits and twice the bits then make no difference, whichever codec is the anchor. The arithmetic
    mean of the percentages (-50 and +100) would call that 25 % more.
    """
    own = list(percents)
    if not own:
        return Summary(0, None, None, None)
    logs = [math.log(1 + percent / 100) for percent in own]
    mean, low, high = (_known(100 * math.expm1(value)) for value in _interval(logs))
    return Summary(len(own), mean, low, high, float(np.mean(own)))


@dataclass(frozen=True)
class Side:
    """BD-rate or BD-quality of all sequences: what was computed, what was refused and why, the mean."""

    deltas: Mapping[str, Delta]
    refused: Mapping[str, str]
    summary: Summary


@dataclass(frozen=True)
class Comparison:
    """`test` against `anchor` in one metric. `absent`: neither has a single value of it."""

    anchor: str
    test: str
    metric: str
    rate: Side
    quality: Side
    absent: bool


def points(results: Results, codec: str, sequence: str, metric: Metric) -> list[tuple[float, float]]:
    """The curve of a codec on a sequence, as far as the metric was measured."""
    rows = results.curve(codec, sequence)
    return [(row.bpp, value) for row, value in metric_values(rows, metric.field)]


def compare(results: Results, anchor: str, test: str, metric: Metric) -> Comparison:
    """Both deltas on every sequence that either codec has rows of, and their means."""
    names = (anchor, test)
    measured = sorted({row.sequence for row in results.rows.values() if row.codec in names})
    curves = {name: tuple(points(results, codec, name, metric) for codec in names) for name in measured}

    def side(delta: Callable[..., Delta], summarise: Callable[[Iterable[float]], Summary]) -> Side:
        deltas: dict[str, Delta] = {}
        refused: dict[str, str] = {}
        for name, (one, two) in curves.items():
            try:
                deltas[name] = delta(one, two, metric, names)
            except BdRefused as error:
                refused[name] = str(error)
        return Side(deltas, refused, summarise(own.value for own in deltas.values()))

    absent = not any(own for both in curves.values() for own in both)
    return Comparison(
        *(anchor, test, metric.name),
        side(bd_rate, summarise_rates),
        side(bd_quality, summarise_qualities),
        absent,
    )
