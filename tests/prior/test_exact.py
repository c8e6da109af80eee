"""The integer network against the pure-integer reference, and against itself under other circumstances."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from prior_oracle import OracleCoder, frequency_row, normalise, rounded_shift, squared_relu
from prior_support import SMALL, all_rows, random_prior, random_tokens
from safetensors.numpy import load_file, save_file

from lfqcodec.entropy.model import Batch
from lfqcodec.errors import WeightsError, WeightsMissing
from lfqcodec.prior import arithmetic
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.prior.weights import PriorWeights, load_prior, logit_table, save_prior, score_table

GRIDS = [(1, 1), (1, 9), (5, 3), (9, 10), (12, 3)]


def gop_rows(coder: GopCoder | OracleCoder, chunks: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    result = []
    for number, tokens in enumerate(chunks):
        coder.begin_chunk(tokens.shape[1], gop_start=number == 0)
        result += [all_rows(coder.rows(stage), tokens[stage]) for stage in range(len(tokens))]
    return result


def digest(*, int8: bool = False, **options: int) -> str:
    """SHA-256 of all rows of a small GOP: `run` in other processes gives the same."""
    network = ExactNetwork(random_prior(), group=options.get("group", 32), int8=int8)
    coder = GopCoder(network, 9, 11, max_rows=options.get("max_rows", 4096))
    hasher = hashlib.sha256()
    for positions, rows in gop_rows(
        coder, [random_tokens((2, 1, 9, 11), 1), random_tokens((2, 1, 9, 11), 2)]
    ):
        hasher.update(positions.astype("<i8").tobytes() + rows.astype("<u4").tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("grid", GRIDS)
def test_rows_are_those_of_the_integer_reference(grid: tuple[int, int]) -> None:
    weights = random_prior(seed=sum(grid))
    chunks = [random_tokens((2, 2, *grid), 1), random_tokens((2, 1, *grid), 2)]
    fast = gop_rows(GopCoder(ExactNetwork(weights), *grid), chunks)
    slow = gop_rows(OracleCoder(weights, *grid), chunks)
    for (positions, rows), (expected_positions, expected_rows) in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(positions, expected_positions)
        np.testing.assert_array_equal(rows, expected_rows)
    assert len(np.unique(fast[-1][1])) > 100  # the rows say something


def test_reference_where_a_stage_is_missing_now_and_then() -> None:
    """Stage 1 is not coded in the second frame: its keys and features are gone, and come back."""
    weights = random_prior(seed=3)
    coders = GopCoder(ExactNetwork(weights), 5, 9), OracleCoder(weights, 5, 9)
    tokens = random_tokens((2, 5, 5, 9))
    for time, stages in enumerate((2, 1, 2, 2, 2)):
        for coder in coders:
            coder.begin_chunk(1, gop_start=time == 0)
        for stage in range(stages):
            part = tokens[stage, time : time + 1]
            fast, slow = (all_rows(coder.rows(stage), part)[1] for coder in coders)
            np.testing.assert_array_equal(fast, slow)


def test_reference_with_other_shapes() -> None:
    config = PriorConfig(
        stages=1,
        width=24,
        layers=2,
        context_layers=0,
        heads=3,
        expansion=1,
        first_steps=(2,),
        later_steps=(1,),
    )
    weights = random_prior(config, seed=5)
    chunks = [random_tokens((1, 2, 6, 10))]
    fast = gop_rows(GopCoder(ExactNetwork(weights), 6, 10), chunks)
    slow = gop_rows(OracleCoder(weights, 6, 10), chunks)
    np.testing.assert_array_equal(fast[0][1], slow[0][1])


@pytest.fixture(scope="module")
def expected() -> str:
    """The digest of this process with the usual settings."""
    return digest()


def test_batches_and_products_do_not_matter(expected: str) -> None:
    assert digest(group=1, max_rows=17) == expected
    assert digest(int8=True) == expected


@pytest.mark.parametrize(
    "setting",
    [
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"},
        {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "2"},
    ],
)
def test_rows_in_other_processes(setting: dict[str, str], expected: str) -> None:
    code = "import test_exact as t; print(t.digest(int8=True), t.digest())"
    done = subprocess.run(
        [sys.executable, "-c", code],
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
    assert done.stdout.split() == [expected] * 2


def test_element_wise_operations_at_their_limits() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(-m, m + 1, (200, 24)) for m in (1, 2, 40, 1000, 32767)]
    x = np.concatenate(
        [*parts, np.zeros((1, 24), np.int64), np.full((2, 24), 32767), np.full((1, 24), -32767)]
    )
    x[-3, 1:] = 0
    fast = arithmetic.normalise(torch.from_numpy(x).float())
    np.testing.assert_array_equal(fast.numpy(), normalise(x))
    a = np.arange(-300, 301)
    fast = arithmetic.squared_relu(torch.from_numpy(a).float())
    np.testing.assert_array_equal(fast.numpy(), squared_relu(a))
    shift = np.array([0, 1, 2, 5, 24])
    values = np.array([0, 1, -1, 2, 3, -3, 4, 6, -6, 16, 48, -48, 8_388_608, 16_777_215, -16_777_215])
    scaled = torch.from_numpy(values[:, None]).float() * torch.from_numpy(0.5**shift).float()
    np.testing.assert_array_equal(scaled.round(), rounded_shift(values[:, None], shift))


def test_attention_at_its_limits() -> None:
    """Equal scores give every key the weight 255: the largest sums that there can be."""
    table = arithmetic.score_table(score_table(), 4, torch.device("cpu"))
    for value in (127.0, -127.0, 126.0):
        values = torch.full((1, 192, 4), value)
        keys, place, outside = torch.zeros(1, 192, 4), torch.zeros(3, 192), torch.zeros(1, 1, 192)
        out = torch.zeros(1, 3, 4)
        arithmetic.attend(out, keys, values, place, outside, torch.tensor(0.0), table)
        expected = (2 * 192 * 255 * int(value) + 193 * 255) // (2 * 193 * 255)
        assert (out == expected).all()


def test_frequencies_at_their_limits() -> None:
    make_rows = arithmetic.RowMaker(logit_table(), torch.device("cpu"))
    rng = np.random.default_rng(1)
    logits = np.concatenate([rng.integers(-m, m + 1, (50, 512)) for m in (0, 3, 300, 3000, 1_000_000)])
    logits[0, 7] = 2_000_000
    weights = make_rows(torch.from_numpy(logits).float())
    rows = Batch(np.arange(len(weights)), weights).rows
    np.testing.assert_array_equal(rows - 1.0, weights)
    assert rows.min() == 1
    assert (rows.sum(1, dtype=np.int64) == 1 << 24).all()
    assert rows[0, 7] == (1 << 24) - 511
    for row, logit in zip(rows, logits, strict=True):
        np.testing.assert_array_equal(row, frequency_row(logit, logit_table()))


def test_eight_bit_products_are_trusted_only_after_their_known_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AVX2 adds pairs of products of unsigned and signed bytes in 16 bits, and saturates without a word."""

    def saturating(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        pairs = (a.float() + 128).unflatten(1, (-1, 2)), b.float().unflatten(0, (-1, 2))
        sums = torch.einsum("nkp,kpm->nkm", *pairs).clamp(-32768, 32767).sum(1)
        return (sums - 128 * b.float().sum(0)).to(torch.int32)

    small = torch.ones(8, 8, dtype=torch.int8)
    assert torch.equal(saturating(small, small), torch._int_mm(small.repeat(4, 1), small)[:8])
    for wrong in (saturating, None):
        monkeypatch.setattr(torch, "_int_mm", wrong or _unsupported)
        arithmetic.int8_product_is_exact.cache_clear()
        assert not arithmetic.int8_product_is_exact("cpu")
    arithmetic.int8_product_is_exact.cache_clear()


def test_which_products_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(int8: bool | None, *, right: bool, fast: bool) -> bool:
        monkeypatch.setattr(arithmetic, "int8_product_is_exact", lambda _: right)
        monkeypatch.setattr(arithmetic, "int8_product_is_faster", lambda _: fast)
        network = ExactNetwork(random_prior(), int8=int8)
        return network._linear["query.0.ask"]._narrow is not None

    assert narrow(None, right=True, fast=True)
    assert narrow(True, right=True, fast=False)
    for int8, right, fast in (
        (None, True, False),
        (None, False, True),
        (True, False, True),
        (False, True, True),
    ):
        assert not narrow(int8, right=right, fast=fast)


def test_each_layer_proves_its_8_bit_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is wrong although the known answers are right, it is done in float32."""
    monkeypatch.setattr(arithmetic, "int8_product_is_exact", lambda _: True)
    right = torch._int_mm

    def wrong_for_heads(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        result = right(a, b)
        return result.clamp(-32768, 32767) if b.shape[1] == 512 else result

    expected = digest()
    monkeypatch.setattr(torch, "_int_mm", wrong_for_heads)
    network = ExactNetwork(random_prior(), int8=True)
    narrow = {name for name, layer in network._linear.items() if layer._narrow is not None}
    assert narrow
    assert not any(
        name.startswith("head.") and network._linear[name].weight.shape[1] == 512 for name in narrow
    )
    assert digest(int8=True) == expected


def _unsupported(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not here")


def test_a_file_keeps_the_integers(tmp_path: Path) -> None:
    weights = random_prior()
    path = tmp_path / "prior.safetensors"
    metadata = {"name": "small", "steps": "3", "trained_for": "00"}
    first = save_prior(path, weights, metadata)
    assert hashlib.sha256(path.read_bytes()).digest() == first
    loaded = load_prior(path)
    assert loaded.config == SMALL
    assert loaded.arrays.keys() == weights.arrays.keys()
    assert all(np.array_equal(loaded.arrays[name], weights.arrays[name]) for name in weights.arrays)
    assert {save_prior(tmp_path / "again.safetensors", loaded, metadata) for _ in range(9)} == {first}


def test_weights_that_break_exactness_are_refused(tmp_path: Path) -> None:
    weights = random_prior()

    def altered(name: str, value: int) -> dict[str, np.ndarray]:
        arrays = dict(weights.arrays)
        arrays[name] = np.full_like(arrays[name], value)
        return arrays

    for name, value in (
        ("query.0.ask.weight", -128),
        ("query.0.ask.shift", 25),
        ("head.first.bias", 1 << 24),
        ("query.0.place", 1 << 21),
        ("table.score", 255),
        ("table.logit", 0),
    ):
        with pytest.raises(WeightsError):
            PriorWeights(SMALL, altered(name, value))
    with pytest.raises(WeightsError):
        PriorWeights(SMALL, {})
    with pytest.raises(WeightsMissing):
        load_prior(tmp_path / "none.safetensors")
    path = tmp_path / "prior.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError):
        load_prior(path)
    save_prior(path, weights, {})
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="holds no prior"):
        load_prior(path)


@pytest.mark.parametrize(
    "change",
    [
        {"stages": 9},
        {"heads": 5},
        {"width": 4},
        {"context_layers": 3},
        {"kept_frames": 3},
        {"first_steps": (8,)},
        {"later_steps": (9, 1)},
        {"expansion": 40},
    ],
)
def test_bad_configurations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        dataclasses.replace(SMALL, **change)


def test_configuration_as_json() -> None:
    assert PriorConfig.from_json(SMALL.to_json()) == SMALL
    for text in ("[]", "{", '{"width": "192"}', '{"unknown": 1}', "null"):
        with pytest.raises(WeightsError):
            PriorConfig.from_json(text)
