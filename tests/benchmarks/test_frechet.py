"""Fréchet distance and Inception Score against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from benchmarks.generation.frechet import Accumulator, Moments, frechet_distance, inception_score
from lfqcodec.errors import LfqError


def moments(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(np.array(mean, float), np.array(covariance, float))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (([0], [[1]]), ([3], [[4]]), 10.0),
        (([0, 0], [[1, 0], [0, 4]]), ([1, 2], [[9, 0], [0, 1]]), 10.0),
        (([0, 0], [[2, 1], [1, 2]]), ([1, 2], [[3, 0], [0, 1]]), 5.516685),
    ],
)
def test_distance(one, other, expected) -> None:
    assert frechet_distance(moments(*one), moments(*other)) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(moments(*other), moments(*one)) == pytest.approx(expected, abs=1e-6)


def test_moments_of_parts() -> None:
    features = np.random.default_rng(0).normal(1000.0, [1.0, 3.0, 0.1], (500, 3))
    parts = Accumulator(3)
    for part in np.split(features, [10, 11, 300]):
        parts.add(part)
    found = parts.moments()
    assert np.allclose(found.mean, features.mean(0), rtol=1e-12)
    assert np.allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)
    assert parts.full_rank
    assert frechet_distance(found, found) < 1e-8


def test_the_root_of_the_product_gives_the_same() -> None:
    """tr (S1 S2)^1/2, as most programs have it, by a root that is not ours."""
    rng = np.random.default_rng(0)
    one, other = (rng.normal(0, scale, (64, 5)) @ rng.normal(0, 1, (5, 5)) for scale in (1.0, 2.0))
    one, other = (Moments(each.mean(0), np.cov(each, rowvar=False)) for each in (one, other))
    root = linalg.sqrtm(one.covariance @ other.covariance).real
    expected = np.sum((one.mean - other.mean) ** 2)
    expected += np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_too_few_samples() -> None:
    few = Accumulator(3)
    few.add(np.zeros((1, 3)))
    with pytest.raises(LfqError, match="1 samples are too few"):
        few.moments()
    few.add(np.zeros((2, 3)))
    assert not few.full_rank
    with pytest.raises(LfqError, match="no samples"):
        inception_score(np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("rows", "split", "expected"),
    [
        ([(1, 0), (0, 1)] * 3, 5000, 2.0),
        ([(0.5, 0.5)] * 4, 5000, 1.0),
        ([(0.8, 0.2), (0.4, 0.6)], 5000, 1.090138),
        ([(1, 0), (0, 1)] * 2 + [(0.5, 0.5)] * 4, 4, 1.5),
    ],
)
def test_inception_score(rows, split, expected) -> None:
    assert inception_score(np.array(rows, float), split) == pytest.approx(expected, abs=1e-6)
