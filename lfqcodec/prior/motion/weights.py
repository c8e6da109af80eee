"""The integers of a learned rate model of `motion`: names, shapes, ranges, and their safetensors file."""

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

from lfqcodec.errors import WeightsError, WeightsMissing
from lfqcodec.prior.motion.config import (
    ACTIVATION_BITS,
    EXACT,
    FEATURE_LIMIT,
    LIMIT,
    LOGIT_BITS,
    LOGIT_PEAK,
    LOGIT_TABLE,
    MAX_SHIFT,
    MotionPriorConfig,
    network_shapes,
)
from lfqcodec.reproducible import sort_safetensors_header

Array = NDArray[np.int64]
TABLE = "table.logit"


@dataclass(frozen=True)
class LinearSpec:
    """An integer matrix product: out[o] = round(2^-shift[o] * (bias[o] + sum over i of weight[o, i] in[i])).

    `largest` bounds |in|. One unit of `in` stands for 2^-in_bits, one of `out` for 2^-out_bits: shift is the
    exponent of the weights plus the difference, so a weight may be at least as large as 127 / 2^least.
    """

    name: str
    inputs: int
    outputs: int
    largest: int
    in_bits: int
    out_bits: int

    @property
    def least(self) -> int:
        """Smallest exponent of the weights: no shift may be negative."""
        return max(0, self.out_bits - self.in_bits)


def linear_specs(config: MotionPriorConfig) -> dict[str, LinearSpec]:
    """The three matrix products of every network by name: `first`, `second`, `logits`."""
    specs: dict[str, LinearSpec] = {}

    def add(name: str, inputs: int, outputs: int, largest: int, in_bits: int, out_bits: int) -> None:
        specs[name] = LinearSpec(name, inputs, outputs, largest, in_bits, out_bits)

    for name, shape in network_shapes(config).items():
        add(f"{name}.first", shape.inputs, shape.width, FEATURE_LIMIT, 0, ACTIVATION_BITS)
        add(f"{name}.second", shape.width, shape.width, LIMIT, ACTIVATION_BITS, ACTIVATION_BITS)
        add(f"{name}.logits", shape.width, shape.outputs, LIMIT, ACTIVATION_BITS, LOGIT_BITS)
    return specs


def logit_table() -> Array:
    """What frequencies are made from: 65536 exp(-i / 64) rounded, int64 [1024]; the last is 0."""
    values = [round(LOGIT_PEAK * math.exp(-i / (1 << LOGIT_BITS))) for i in range(LOGIT_TABLE - 1)]
    return np.array([*values, 0], np.int64)


def expected_shapes(config: MotionPriorConfig) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and storage type of every tensor of the file."""
    shapes: dict[str, tuple[tuple[int, ...], type]] = {}
    for name, spec in linear_specs(config).items():
        shapes[f"{name}.weight"] = ((spec.outputs, spec.inputs), np.int8)
        shapes[f"{name}.shift"] = ((spec.outputs,), np.uint8)
        shapes[f"{name}.bias"] = ((spec.outputs,), np.int32)
    shapes[TABLE] = ((LOGIT_TABLE,), np.int32)
    return shapes


@dataclass(frozen=True)
class MotionPriorWeights:
    """A learned rate model: its shape and its integers, int64 arrays by name (`expected_shapes`)."""

    config: MotionPriorConfig
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        """`WeightsError` unless all ranges hold that exactness rests on."""
        shapes = expected_shapes(self.config)
        wrong = sorted(shapes.keys() ^ self.arrays.keys())
        wrong += [n for n, (shape, _) in shapes.items() if not wrong and self.arrays[n].shape != shape]
        if wrong:
            raise WeightsError(f"the prior does not fit its configuration ({wrong[0]})")
        for name, spec in linear_specs(self.config).items():
            weight, shift, bias = (self.arrays[f"{name}.{part}"] for part in ("weight", "shift", "bias"))
            total = spec.largest * np.abs(weight).sum(1) + np.abs(bias)
            if np.abs(weight).max() > LIMIT or total.max() >= EXACT:
                raise WeightsError(f"the prior's {name} is out of range")
            if shift.min() < 0 or shift.max() > MAX_SHIFT:
                raise WeightsError(f"the prior's {name} is out of range")
        table = self.arrays[TABLE]
        if table.min() < 0 or table.max() > LOGIT_PEAK or table[0] != LOGIT_PEAK or table[-1] != 0:
            raise WeightsError("the prior's table of exponentials is out of range")


def save_motion_prior(path: Path, weights: MotionPriorWeights, metadata: Mapping[str, str]) -> bytes:
    """Write the file; the same contents give the same bytes. Returns their SHA-256."""
    shapes = expected_shapes(weights.config)
    tensors: dict[str, NDArray[Any]] = {
        name: weights.arrays[name].astype(shapes[name][1]) for name in sorted(shapes)
    }
    blob = sort_safetensors_header(save(tensors, metadata={**metadata, "prior": weights.config.to_json()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return hashlib.sha256(blob).digest()


def load_motion_prior(path: Path) -> MotionPriorWeights:
    """Read and check what `save_motion_prior` wrote. Raises `WeightsMissing` or `WeightsError`."""
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("prior")
            if text is None:
                raise WeightsError(f"{path}: holds no prior")
            config = MotionPriorConfig.from_json(text)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    shapes = expected_shapes(config)
    for name, array in arrays.items():
        if name in shapes and array.dtype != shapes[name][1]:
            raise WeightsError(f"{path}: {name} has the wrong type")
    return MotionPriorWeights(config, {name: array.astype(np.int64) for name, array in arrays.items()})
