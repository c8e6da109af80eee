"""Steering towards a bitrate, at its ends: sizes that do not depend on crf, and targets out of reach."""

from __future__ import annotations

import pytest

from lfqcodec.codec.encode.rate_control import BitrateControl
from lfqcodec.codec.gop import OperatingPoint
from lfqcodec.weights.rates import load_rates
from lfqcodec.weights.store import prior_for, resolve_model


@pytest.fixture(scope="module")
def table():
    model = resolve_model()
    prior = prior_for(model)
    assert prior is not None
    rates = load_rates(model, prior)
    assert rates is not None
    return rates


@pytest.mark.parametrize("size", [0.0, 800.0, 5000.0])
@pytest.mark.parametrize("allowed", [1.0, 1000.0, 1e6])
def test_sizes_that_do_not_depend_on_crf(table, size, allowed):
    control = BitrateControl(table, 2, 1000.0)
    asked = []

    def attempt(points):
        asked.append(points)
        return size, len(asked)

    assert 1 <= control.code(allowed, 4, attempt) <= len(asked)
    assert all(len(points) == 4 for points in asked)


def test_more_than_the_best_quality_costs(table):
    """A small clip with a high bitrate: everything that there is to code, and no error."""
    control = BitrateControl(table, 2, 1e9)

    def attempt(points):
        bits = sum(100.0 / (1 + point.lambda_ * point.streams) for point in points)
        return bits, points

    assert control.code(1e6, 4, attempt) == [OperatingPoint(2, 0.0)] * 4
