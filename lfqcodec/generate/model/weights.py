"""Weights files of generators to networks in memory, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lfqcodec.errors import OutputError, WeightsError
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.model.masked import MaskedModel
from lfqcodec.generate.model.store import Generator
from lfqcodec.output import replacing
from lfqcodec.reproducible import sort_safetensors_header


def build_generator(config: GeneratorConfig) -> MaskedModel | CausalModel:
    """An untrained generator."""
    return CausalModel(config) if config.causal else MaskedModel(config)


def save_generator(
    path: Path,
    config: GeneratorConfig,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = True,
) -> bytes:
    """Write a file, whole or not at all; the same contents give the same bytes. Returns their SHA-256.

    `metadata` has `name`, `trained_for`, `sampling` and `classes` (`store.py`). `OutputError`.
    """
    return save_tensors(path, tensors, {**metadata, "generator": config.to_json()}, overwrite=overwrite)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, overwrite: bool = True
) -> bytes:
    """Write a safetensors file in the same way."""
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    blob = sort_safetensors_header(save(ordered, metadata=dict(metadata)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror}") from error
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(blob)
    return hashlib.sha256(blob).digest()


def load_generator(generator: Generator, device: torch.device) -> MaskedModel | CausalModel:
    """The network of a generator in float32, for inference.

    Raises `WeightsError` where tensors are missing, have another shape or type, or are not finite, or where a
    vocabulary is none.
    """
    with torch.device("meta"):
        model = build_generator(generator.config)
    load_tensors(model, generator.path)
    if isinstance(model, CausalModel) and model.words is not None:
        model.know(model.words.clone())
    return model.to(device).eval().requires_grad_(False)


def load_tensors(model: nn.Module, path: Path) -> None:
    """Give a network without memory (on the device "meta") the tensors of a file.

    Raises `WeightsError` where tensors are missing, have another shape or type, or are not finite.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in expected or name not in tensors:
            raise WeightsError(f"{path}: does not fit its configuration ({name})")
        if tensors[name].shape != expected[name].shape:
            raise WeightsError(f"{path}: {name} has another shape than its configuration")
        if tensors[name].is_floating_point() != expected[name].is_floating_point():
            raise WeightsError(f"{path}: {name} has another type than its configuration")
        if not bool(torch.isfinite(tensors[name]).all()):
            raise WeightsError(f"{path}: {name} holds values that are not finite")
    given = {name: each.to(expected[name].dtype) for name, each in tensors.items()}
    model.load_state_dict(given, assign=True)
