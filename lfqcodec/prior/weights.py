"""The integers of a prior: names, shapes, ranges, and their safetensors file (spec section 19)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.errors import WeightsError, WeightsMissing
from lfqcodec.prior.config import (
    ACTIVATION_BITS,
    EXACT,
    HIDDEN_BITS,
    LIMIT,
    LOGIT_BITS,
    LOGIT_PEAK,
    LOGIT_TABLE,
    MAX_SHIFT,
    QUERY_BITS,
    RESIDUAL_BITS,
    RESIDUAL_LIMIT,
    SCORE_LIMIT,
    SCORE_TABLE,
    SCORE_UNITS,
    WINDOW,
    PriorConfig,
    feature_count,
)
from lfqcodec.reproducible import sort_safetensors_header

Array = NDArray[np.int64]
PLACES = (2 * WINDOW - 1) ** 2
SYMBOLS = 1 << SUBTOKEN_BITS


@dataclass(frozen=True)
class LinearSpec:
    """An integer matrix product: out[o] = round(2^-shift[o] * (bias[o] + sum over i of weight[o, i] in[i])).

    `largest` bounds |in|. One unit of `in` stands for 2^-in_bits, one of out[o] for 2^-out_bits[o]: shift
    is the exponent of the weights plus the difference, so a weight may be at least as large as 127 / 2^least.
    """

    name: str
    inputs: int
    outputs: int
    largest: int
    in_bits: int
    out_bits: tuple[int, ...]
    biased: bool = False
    inner: bool = True

    @property
    def least(self) -> int:
        """Smallest exponent of the weights: no shift may be negative."""
        return max(0, max(self.out_bits) - self.in_bits)


def linear_specs(config: PriorConfig) -> dict[str, LinearSpec]:
    """All matrix products of a prior by name, in the order in which they are used."""
    width, hidden = config.width, config.width * config.expansion
    specs: list[LinearSpec] = []

    def add(name: str, inputs: int, outputs: int, in_bits: int, *out_bits: int, largest: int = LIMIT) -> None:
        each = tuple(bits for bits in out_bits for _ in range(outputs // len(out_bits)))
        is_head = outputs == SYMBOLS and name.startswith("head.")
        inner = not is_head and largest == LIMIT
        specs.append(LinearSpec(name, inputs, outputs, largest, in_bits, each, is_head, inner))

    for stream in ("query", "context"):
        add(f"{stream}.embed", feature_count(config), width, 0, RESIDUAL_BITS, largest=1)
    for layer in range(config.layers):
        add(f"memory.{layer}", width, 2 * width, ACTIVATION_BITS, QUERY_BITS, ACTIVATION_BITS)
    for name in block_names(config):
        add(f"{name}.ask", width, width, ACTIVATION_BITS, QUERY_BITS)
        add(f"{name}.mix", width, width, ACTIVATION_BITS, RESIDUAL_BITS)
        add(f"{name}.up", width, hidden, ACTIVATION_BITS, ACTIVATION_BITS)
        add(f"{name}.down", hidden, width, HIDDEN_BITS, RESIDUAL_BITS)
    add("head.first", width, SYMBOLS, ACTIVATION_BITS, LOGIT_BITS)
    add("head.join", SUBTOKEN_BITS, width, 0, RESIDUAL_BITS, largest=1)
    add("head.up", width, hidden, ACTIVATION_BITS, ACTIVATION_BITS)
    add("head.down", hidden, width, HIDDEN_BITS, RESIDUAL_BITS)
    add("head.second", width, SYMBOLS, ACTIVATION_BITS, LOGIT_BITS)
    return {spec.name: spec for spec in specs}


def block_names(config: PriorConfig) -> list[str]:
    """Names of the attention blocks: `context.0` ... and `query.0` ..."""
    return [f"context.{i}" for i in range(config.context_layers)] + [
        f"query.{i}" for i in range(config.layers)
    ]


def score_table() -> Array:
    """Attention weights by index: 255 exp(-i / 16) rounded, int64 [256]; the last is 0."""
    values = [round(255 * math.exp(-i / SCORE_UNITS)) for i in range(SCORE_TABLE)]
    return np.array(values, np.int64)


def logit_table() -> Array:
    """What frequencies are made from: 65536 exp(-i / 64) rounded, int64 [1024]; the last is 0."""
    values = [round(LOGIT_PEAK * math.exp(-i / (1 << LOGIT_BITS))) for i in range(LOGIT_TABLE - 1)]
    return np.array([*values, 0], np.int64)


def expected_shapes(config: PriorConfig) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and storage type of every tensor of a prior's file."""
    shapes: dict[str, tuple[tuple[int, ...], type]] = {}
    for name, spec in linear_specs(config).items():
        shapes[f"{name}.weight"] = ((spec.outputs, spec.inputs), np.int8)
        shapes[f"{name}.shift"] = ((spec.outputs,), np.uint8)
        if spec.biased:
            shapes[f"{name}.bias"] = ((spec.outputs,), np.int32)
    for name in block_names(config):
        shapes[f"{name}.place"] = ((config.sources, config.heads, PLACES), np.int32)
        shapes[f"{name}.none"] = ((config.heads,), np.int32)
    shapes["table.score"] = ((SCORE_TABLE,), np.uint8)
    shapes["table.logit"] = ((LOGIT_TABLE,), np.int32)
    return shapes


@dataclass(frozen=True)
class PriorWeights:
    """A prior: its shape and its integers, int64 arrays by name (`expected_shapes`)."""

    config: PriorConfig
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        """`WeightsError` unless all ranges hold that exactness rests on."""
        shapes = expected_shapes(self.config)
        wrong = sorted(shapes.keys() ^ self.arrays.keys())
        wrong += [n for n, (shape, _) in shapes.items() if not wrong and self.arrays[n].shape != shape]
        if wrong:
            raise WeightsError(f"the prior does not fit its configuration ({wrong[0]})")
        for name, spec in linear_specs(self.config).items():
            weight, shift = self.arrays[f"{name}.weight"], self.arrays[f"{name}.shift"]
            total = spec.largest * np.abs(weight).sum(1)
            if spec.biased:
                total = total + np.abs(self.arrays[f"{name}.bias"])
            if np.abs(weight).max() > LIMIT or total.max() >= EXACT or not _within(shift, 0, MAX_SHIFT):
                raise WeightsError(f"the prior's {name} is out of range")
            # The residual stream starts as what an embedding gives.
            if name.endswith(".embed") and (np.abs(weight).sum(1) > RESIDUAL_LIMIT << shift).any():
                raise WeightsError(f"the prior's {name} leaves the range of the residual stream")
        for name in block_names(self.config):
            for part in ("place", "none"):
                if not _within(self.arrays[f"{name}.{part}"], -SCORE_LIMIT, SCORE_LIMIT):
                    raise WeightsError(f"the prior's {name}.{part} is out of range")
        score, logit = self.arrays["table.score"], self.arrays["table.logit"]
        if not (_within(score, 0, 255) and score[0] == 255 and score[-1] == 0):
            raise WeightsError("the prior's attention table is out of range")
        if not (_within(logit, 0, LOGIT_PEAK) and logit[0] == LOGIT_PEAK):
            raise WeightsError("the prior's table of exponentials is out of range")

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(a.size for name, a in self.arrays.items() if not name.startswith("table."))


def _within(values: Array, low: int, high: int) -> bool:
    return bool(values.min() >= low and values.max() <= high)


def save_prior(path: Path, weights: PriorWeights, metadata: Mapping[str, str]) -> bytes:
    """Write a prior's file; the same contents give the same bytes. Returns their SHA-256."""
    shapes = expected_shapes(weights.config)
    tensors: dict[str, NDArray[Any]] = {
        name: weights.arrays[name].astype(shapes[name][1]) for name in sorted(shapes)
    }
    blob = sort_safetensors_header(save(tensors, metadata={**metadata, "prior": weights.config.to_json()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return hashlib.sha256(blob).digest()


def load_prior(path: Path) -> PriorWeights:
    """Read and check what `save_prior` wrote. Raises `WeightsMissing` or `WeightsError`."""
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("prior")
            if text is None:
                raise WeightsError(f"{path}: holds no prior")
            config = PriorConfig.from_json(text)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    shapes = expected_shapes(config)
    for name, array in arrays.items():
        if name in shapes and array.dtype != shapes[name][1]:
            raise WeightsError(f"{path}: {name} has the wrong type")
    return PriorWeights(config, {name: array.astype(np.int64) for name, array in arrays.items()})
