"""Bjontegaard deltas: known answers, the rules, and the package `bjontegaard` as a second opinion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_support import add, made_up, row

from benchmarks.report.bd import (
    METRICS,
    BdRefused,
    bd_quality,
    bd_rate,
    compare,
    front,
    summarise_qualities,
    summarise_rates,
)
from benchmarks.results import Results

PSNR, MS_SSIM, LPIPS, _ = METRICS
CURVE = [(0.02, 28.0), (0.05, 31.0), (0.11, 33.5), (0.3, 36.0), (0.7, 38.2)]


def half(curve, factor=0.5):
    return [(rate * factor, value) for rate, value in curve]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_same_curve_at_half_the_rate(metric):
    values = {"psnr": CURVE, "ms_ssim_db": [(r, 1 - 10 ** (-v / 20)) for r, v in CURVE]}
    curve = values.get(metric.name, [(r, 20 - v / 2) for r, v in CURVE])
    found = bd_rate(curve, half(curve), metric)
    assert found.value == pytest.approx(-50)
    assert found.overlap == pytest.approx(1)
    assert (found.points, found.dropped) == ((5, 5), (0, 0))
    assert bd_rate(half(curve), curve, metric).value == pytest.approx(100)
    assert bd_rate(curve, curve, metric).value == pytest.approx(0)
    assert bd_quality(curve, curve, metric).value == pytest.approx(0)


def test_shifted_quality():
    assert bd_quality(CURVE, [(r, v + 1) for r, v in CURVE], PSNR).value == pytest.approx(1)
    # A straight line: 3 dB an octave, so 1 dB more is a third of an octave less, anywhere.
    line = [(0.1 * 2**k, 30.0 + 3 * k) for k in range(5)]
    better = [(r, v + 1) for r, v in line]
    found = bd_rate(line, better, PSNR)
    assert found.value == pytest.approx(100 * (2 ** (-1 / 3) - 1))
    assert found.overlap == pytest.approx(11 / 12)


def test_ms_ssim_is_compared_in_db():
    plain = [(0.1, 0.9), (0.2, 0.99)]
    assert [MS_SSIM.scaled(value) for _, value in plain] == pytest.approx([10, 20])
    assert MS_SSIM.unscaled(20) == pytest.approx(0.99)
    better = [(r, 1 - (1 - v) / 10**0.1) for r, v in plain]
    assert bd_quality(plain, better, MS_SSIM).value == pytest.approx(1)
    assert MS_SSIM.scaled(1.0) == math.inf


def test_lpips_is_compared_as_it_is_and_lower_is_better():
    plain = [(0.1, 0.5), (0.2, 0.4), (0.4, 0.2)]
    better = [(r, v - 0.05) for r, v in plain]
    assert bd_quality(plain, better, LPIPS).value == pytest.approx(-0.05)
    assert bd_rate(plain, better, LPIPS).value < 0


def test_agrees_with_bjontegaard():
    bjontegaard = pytest.importorskip("bjontegaard")
    random = np.random.default_rng(5)
    for _ in range(50):
        curves = []
        for _ in range(2):
            count = random.integers(4, 8)
            rates = 0.02 * 2 ** np.cumsum(random.uniform(0.5, 1.5, count))
            values = 28 + random.uniform(0, 2) + np.cumsum(random.uniform(0.8, 2, count))
            curves.append((rates, values))
        (rates, values), (rates2, values2) = curves
        pairs = [list(zip(*curve, strict=True)) for curve in curves]
        options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
        arguments = (rates, values, rates2, values2)
        assert bd_rate(*pairs, PSNR).value == pytest.approx(bjontegaard.bd_rate(*arguments, **options))
        assert bd_quality(*pairs, PSNR).value == pytest.approx(
            bjontegaard.bd_psnr(*arguments, **options), abs=1e-9
        )


def test_only_the_pareto_front_counts():
    worse = [
        (0.05, 30.9),  # same rate as a better point
        (0.2, 33.5),  # more bits for the same
        (0.25, 20.0),  # the curve dips
        (0.9, math.inf),  # lossless: no dB
        (0.95, math.nan),
    ]
    found = front([*worse, *reversed(CURVE)], PSNR)
    assert 10**found.rates == pytest.approx([rate for rate, _ in CURVE])
    assert found.qualities == pytest.approx([value for _, value in CURVE])
    assert found.dropped == len(worse)
    result = bd_rate(CURVE, [*half(CURVE), (0.4, 30.0)], PSNR)
    assert result.value == pytest.approx(-50)
    assert (result.points, result.dropped) == ((5, 5), (0, 1))
    assert (front([(1.0, 0.2), (2.0, 0.3), (3.0, 0.1)], LPIPS).qualities == [-0.2, -0.1]).all()


def test_refused():
    with pytest.raises(BdRefused, match=r"^lfq has 1 usable point of 2, 2 are needed$"):
        bd_rate(CURVE, [(0.1, 30), (0.2, 29)], PSNR, ("x265", "lfq"))
    with pytest.raises(BdRefused, match=r"^anchor has 0 usable points"):
        bd_quality([], CURVE, PSNR)
    with pytest.raises(BdRefused, match=r"^too little common range of PSNR in dB: none is \(a 28 to 38.2, b"):
        bd_rate(CURVE, [(r, v - 20) for r, v in CURVE], PSNR, ("a", "b"))
    with pytest.raises(BdRefused, match=r"of bpp: none is \(anchor 0.02 to 0.7, test 2 to 70\)"):
        bd_quality(CURVE, half(CURVE, 100), PSNR)
    with pytest.raises(BdRefused, match=r"LPIPS: none is \(anchor 0.1 to 0.2, test 0.5 to 0.7\)"):
        bd_rate([(1, 0.2), (2, 0.1)], [(1, 0.7), (2, 0.5)], LPIPS)


def test_a_quarter_of_the_shorter_range_must_be_shared():
    long = [(0.1 * 2**k, 30.0 + 3 * k) for k in range(5)]  # 30 to 42 dB

    def short(low):
        return [(0.1, low), (0.2, low + 4)]

    assert bd_rate(long, short(27.0), PSNR).overlap == pytest.approx(0.25)
    with pytest.raises(BdRefused, match="only 20 % of the shorter range is"):
        bd_rate(long, short(26.8), PSNR)
    assert bd_rate(long, short(33), PSNR).overlap == pytest.approx(1)


def test_means():
    found = summarise_rates([100.0, -50.0])
    assert found.count == 2
    assert found.mean == pytest.approx(0)  # geometric: twice and half
    assert found.arithmetic == pytest.approx(25)
    # t(0.975, 1) = 12.706; logs are +-ln 2, so the standard error is ln 2.
    assert 1 + found.high / 100 == pytest.approx(2**12.706, rel=1e-3)
    assert 1 + found.low / 100 == pytest.approx(2**-12.706, rel=1e-3)
    # By hand: mean 2, deviation 1, error 1 / sqrt(3), t(0.975, 2) = 4.30265.
    found = summarise_qualities([1.0, 2.0, 3.0])
    assert (found.mean, found.arithmetic) == (2, None)
    assert (found.low, found.high) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)
    one = summarise_rates([7.0])
    assert (one.count, one.low, one.high) == (1, None, None)
    assert one.mean == pytest.approx(7)
    assert summarise_rates([]).mean is None
    assert summarise_qualities([]) == summarise_rates([])


def test_compare_over_sequences(tmp_path):
    results = made_up(tmp_path)
    add(results, row("lfq", "crf=20", "lonely", 0.1, psnr=30.0))
    found = compare(results, "x265-medium", "lfq", PSNR)
    assert not found.absent
    assert list(found.rate.deltas) == ["sequence_0", "sequence_1", "sequence_2"]
    # The formula of these results: three times the bits, that is log2(3) octaves of 3 dB.
    assert [delta.value for delta in found.rate.deltas.values()] == pytest.approx([200] * 3)
    assert found.rate.summary.mean == pytest.approx(200)
    assert found.quality.summary.mean == pytest.approx(-3 * math.log2(3))
    assert found.rate.refused == {"lonely": "x265-medium has 0 usable points, 2 are needed"}
    assert compare(results, "x265-medium", "lfq", LPIPS).rate.summary.mean == pytest.approx(200, rel=0.02)


def test_a_metric_that_nobody_has(tmp_path):
    results = Results(folder=tmp_path, dataset="none")
    for codec in ("lfq", "x265-medium"):
        for bpp in (0.1, 0.2):
            add(results, row(codec, f"crf={bpp}", "a", bpp, psnr=30 + bpp))
    assert compare(results, "x265-medium", "lfq", LPIPS).absent
    assert not compare(results, "x265-medium", "lfq", PSNR).absent
