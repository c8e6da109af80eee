"""The learned rate model of `motion`: against plain integers, round trips, independence, files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from motion_prior_oracle import MotionOracle
from motion_prior_support import (
    assert_round_trip,
    assert_same_rows,
    chunk_rows,
    gop_rows,
    layer_rows,
    random_gop,
    random_motion_prior,
)

from lfqcodec.bitstream.geometry import CHUNK_LAYERS
from lfqcodec.errors import WeightsError, WeightsMissing
from lfqcodec.prior.motion.config import MotionPriorConfig
from lfqcodec.prior.motion.learned import LearnedMotionRates
from lfqcodec.prior.motion.network import MotionNetworks
from lfqcodec.prior.motion.weights import MotionPriorWeights, load_motion_prior, save_motion_prior

GRIDS = [(1, 1), (1, 4), (3, 2), (4, 5)]


@pytest.fixture(scope="module")
def networks() -> MotionNetworks:
    return MotionNetworks(random_motion_prior())


def digest(max_rows: int = 512) -> str:
    """SHA-256 of all rows of a GOP: `run` in other processes gives the same."""
    model = LearnedMotionRates(MotionNetworks(random_motion_prior()), max_rows=max_rows)
    hasher = hashlib.sha256()
    for group in gop_rows(model, random_gop((4, 4, 2), 5, 7)):
        for positions, rows in group.values():
            hasher.update(positions.astype("<i8").tobytes() + rows.astype("<u4").tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("grid", GRIDS)
def test_rows_are_those_of_the_integer_reference(networks: MotionNetworks, grid: tuple[int, int]) -> None:
    weights = random_motion_prior(seed=sum(grid))
    gop = random_gop((4, 4, 3, 2, 1), *grid, seed=grid[1])
    fast = gop_rows(LearnedMotionRates(MotionNetworks(weights)), gop, chunks=(4, 2))
    slow = gop_rows(MotionOracle(weights), gop, chunks=(4, 2))
    for mine, yours in zip(fast, slow, strict=True):
        for name, (positions, rows) in mine.items():
            np.testing.assert_array_equal(positions, yours[name][0], err_msg=name)
            expected = dict(zip(yours[name][0].tolist(), yours[name][1], strict=True))
            for position, row in zip(positions.tolist(), rows, strict=True):
                np.testing.assert_array_equal(row, expected[position], err_msg=f"{name} {position}")
    if grid == GRIDS[-1]:
        assert len(np.unique(fast[2]["anchor.0"][1], axis=0)) > 50  # the rows say something


def test_rows_of_one_group_alone_are_those_of_the_chunk(networks: MotionNetworks) -> None:
    """An encoder chooses group by group, a decoder reads the motion of all groups at once."""
    gop = random_gop((4, 1, 2), 3, 4)
    model = LearnedMotionRates(networks)
    whole = gop_rows(model, gop)[0]
    model.begin_chunk([layers for layers, _ in gop], gop_start=True)
    for number, (layers, tokens) in enumerate(gop):
        model.begin_group()
        for which, layer in enumerate(layers):
            positions, rows = layer_rows(model.rows(which), tokens[layer.name])
            if layer.name in CHUNK_LAYERS:
                plane = number - (layer.name == "motion.anchor")
                at = dict(zip(whole[layer.name][0].tolist(), whole[layer.name][1], strict=True))
                for position, row in zip(
                    (positions + plane * 2 * tokens[layer.name].size).tolist(), rows, strict=True
                ):
                    np.testing.assert_array_equal(row, at[position], err_msg=f"{layer.name} {position}")


@pytest.mark.parametrize("grid", GRIDS)
def test_round_trip(networks: MotionNetworks, grid: tuple[int, int]) -> None:
    encoder, decoder = LearnedMotionRates(networks), LearnedMotionRates(networks, max_rows=5)
    assert_round_trip(encoder, decoder, random_gop((4, 3, 2, 1, 4), *grid))


def test_rows_in_other_batches_and_processes() -> None:
    expected = digest()
    assert digest(max_rows=17) == expected
    for setting in (
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1", "NUMBA_CPU_NAME": "generic"},
        {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "2"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", "import test_motion_learned as t; print(t.digest())"],
            env={
                **os.environ,
                "OMP_WAIT_POLICY": "passive",
                "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
                **setting,
            },
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stdout.split() == [expected]


def test_the_second_stream_does_not_matter_to_the_first(networks: MotionNetworks) -> None:
    gop = random_gop((4, 4, 1), 3, 3)
    whole = gop_rows(LearnedMotionRates(networks), gop)
    assert_same_rows(whole, gop_rows(LearnedMotionRates(networks), gop, streams=1))


def test_a_snapshot_brings_a_model_back(networks: MotionNetworks) -> None:
    gop, other = random_gop((4, 4), 3, 3), random_gop((4, 4), 3, 3, seed=1)
    expected = gop_rows(LearnedMotionRates(networks), gop, chunks=(1, 2))
    model = LearnedMotionRates(networks)
    for chunk, known in ((slice(1), expected[:2]), (slice(1, 3), expected[2:])):
        before = model.snapshot()
        for attempt in (other, gop):
            model.restore(before)
            rows = chunk_rows(model, attempt[chunk], gop_start=not chunk.start)
        assert_same_rows(rows, known)


def test_a_gop_start_forgets_everything(networks: MotionNetworks) -> None:
    gop = random_gop((4,), 2, 3)
    model = LearnedMotionRates(networks)
    assert_same_rows(gop_rows(model, gop), gop_rows(model, gop))


def test_damaged_tokens_break_nothing(networks: MotionNetworks) -> None:
    """What a wrong payload decodes to may be anything: choices of depth that there are not, stray signs."""
    rng = np.random.default_rng(0)
    gop = random_gop((4, 4), 3, 3)
    for _, tokens in gop:
        for name, each in tokens.items():
            tokens[name] = rng.integers(0, 1 << 18, each.shape).astype(np.int32)
    for group in gop_rows(LearnedMotionRates(networks), gop):
        for positions, frequencies in group.values():
            assert len(positions) == len(frequencies)
            assert (frequencies > 0).all()


def test_other_layers_than_the_prior_knows_are_refused() -> None:
    config = MotionPriorConfig(intra_layers=2, width=8, block_width=8)
    model = LearnedMotionRates(MotionNetworks(random_motion_prior(config)))
    layers, _ = random_gop((), 2, 2)[0]
    with pytest.raises(WeightsError, match="another number of layers"):
        model.begin_chunk([layers], gop_start=True)


def test_files(tmp_path: Path) -> None:
    weights = random_motion_prior()
    path = tmp_path / "prior.safetensors"
    sha256 = save_motion_prior(path, weights, {"trained_for": "00"})
    assert sha256 == hashlib.sha256(path.read_bytes()).digest()
    again = load_motion_prior(path)
    assert again.config == weights.config
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError):
        load_motion_prior(path)
    with pytest.raises(WeightsMissing):
        load_motion_prior(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("anchor.0.first.weight", 128),
        ("anchor.0.first.bias", 1 << 24),
        ("depth.anchor.logits.shift", 25),
        ("motion.anchor.dx.second.shift", -1),
        ("table.logit", 65537),
    ],
)
def test_integers_out_of_range_are_refused(name: str, value: int) -> None:
    weights = random_motion_prior()
    arrays = {key: array.copy() for key, array in weights.arrays.items()}
    arrays[name].reshape(-1)[3] = value
    with pytest.raises(WeightsError, match="out of range"):
        MotionPriorWeights(weights.config, arrays)


def test_configurations() -> None:
    config = MotionPriorConfig(width=48)
    assert MotionPriorConfig.from_json(config.to_json()) == config
    for text in ("{}", "[]", config.to_json().replace("48", "4.5"), config.to_json().replace("48", "4")):
        with pytest.raises(WeightsError):
            MotionPriorConfig.from_json(text)
