"""Numbers of decoding, against values computed by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.decoding.schedule import (
    SCHEDULES,
    guidance_weight,
    softmax_temperature,
    unknown_counts,
)


@pytest.mark.parametrize(
    ("units", "steps", "schedule", "expected"),
    [
        (16, 4, "cosine", [14, 11, 6, 0]),
        (32, 16, "cosine", [31, 30, 29, 28, 27, 26, 24, 22, 20, 17, 15, 12, 9, 6, 3, 0]),
        (3, 3, "cosine", [2, 1, 0]),
        (5, 4, "cosine", [4, 3, 1, 0]),
        (10, 10, "linear", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (1, 1, "exp", [0]),
    ],
)
def test_counts(units, steps, schedule, expected):
    assert unknown_counts(units, steps, schedule) == expected


def test_counts_of_the_papers_image_model():
    counts = unknown_counts(512, 64)
    assert counts[:9] == [511, 510, 509, 508, 507, 506, 504, 502, 499]
    assert counts[-8:] == [87, 75, 62, 50, 37, 25, 12, 0]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_counts_fall_to_nothing_at_the_last_step(data):
    units = data.draw(st.integers(1, 4096))
    steps = data.draw(st.integers(1, units))
    for schedule in SCHEDULES:
        counts = [units, *unknown_counts(units, steps, schedule)]
        assert all(a > b for a, b in pairwise(counts))
        assert counts[-1] == 0
        assert len(counts) == steps + 1


@pytest.mark.parametrize("steps", [0, 6])
def test_more_steps_than_units_are_refused(steps):
    with pytest.raises(ValueError, match="steps for 5 units"):
        unknown_counts(5, steps)


def test_guidance_of_mdt():
    found = [guidance_weight(step, 64, 25.0, 4.0) for step in (0, 16, 32, 48, 56, 63)]
    assert found == pytest.approx([1.0, 1.000904, 1.230577, 6.456100, 16.209423, 24.779963], abs=1e-6)
    found = [guidance_weight(step, 4, 3.0, 1.0) for step in range(4)]
    assert found == pytest.approx([1, 1.292893, 2, 2.707107], abs=1e-6)
    assert [guidance_weight(step, 9, 1.0, 4.0) for step in range(9)] == [1.0] * 9


def test_softmax_temperature():
    assert [softmax_temperature(step, 4, 1.3, 0.5) for step in range(4)] == pytest.approx(
        [1.1, 0.9, 0.7, 0.5]
    )
    assert [softmax_temperature(step, 3, 1.0, 1.0) for step in range(3)] == [1.0] * 3


def test_noise_of_a_sample_is_its_own():
    alone = SampleNoise(3, [5])
    among = SampleNoise(3, range(8))
    for shape in ((4, 2), (3,)):
        one, many = alone.uniforms(shape), among.uniforms(shape)
        assert (one[0] == many[5]).all()
        assert not (many[4] == many[5]).any()
        assert 0 < many.min() < many.max() < 1
    assert not (SampleNoise(4, [5]).uniforms((4, 2)) == SampleNoise(3, [5]).uniforms((4, 2))).any()
    assert math.isclose(SampleNoise(0, [0]).uniforms((10_000,)).mean(), 0.5, abs_tol=0.02)
