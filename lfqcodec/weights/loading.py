"""Weights files to networks in memory, and back."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lfqcodec.errors import WeightsError
from lfqcodec.prior.motion.network import MotionNetworks
from lfqcodec.prior.motion.weights import load_motion_prior
from lfqcodec.reproducible import sort_safetensors_header
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.interface import GroupTokenizer, Tokenizer
from lfqcodec.tokenizer.registry import build_tokenizer
from lfqcodec.weights.store import Model, Prior


def load_tokenizer(model: Model, device: torch.device, multiplies: torch.dtype = torch.float32) -> Tokenizer:
    """The tokenizer of a model, for inference; later calls give it again. Raises WeightsError.

    That of .lfq files can multiply in another type than float32 (`GroupTokenizer.multiply_in`).
    """
    return _load(model.path, model.sha256, model.config, device, multiplies)


# Reading takes longer than coding a picture. The SHA-256 is in the key because files can be replaced.
@lru_cache(maxsize=2)
def _load(
    path: Path, sha256: bytes, config: TokenizerConfig, device: torch.device, multiplies: torch.dtype
) -> Tokenizer:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    with torch.device("meta"):
        tokenizer = build_tokenizer(config)
    expected = tokenizer.state_dict()
    wrong = expected.keys() ^ tensors.keys() or {
        name for name, tensor in tensors.items() if tensor.shape != expected[name].shape
    }
    if wrong:
        raise WeightsError(f"{path}: does not fit its configuration ({min(wrong)})")
    given = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    # A NaN is both the least and the largest. (`isfinite` takes ten times as long.)
    if not all(math.isfinite(end) for tensor in given.values() for end in tensor.aminmax()):
        raise WeightsError(f"{path}: holds values that are not finite")
    # In place of the tensors without memory: starting values for training would take longer than the rest.
    tokenizer.load_state_dict(given, assign=True)
    tokenizer.to(device).eval().requires_grad_(False)
    if isinstance(tokenizer, GroupTokenizer):
        tokenizer.multiply_in(multiplies)
    return tokenizer


def load_networks(prior: Prior) -> MotionNetworks:
    """The networks of a prior, ready to give frequency rows; later calls give them again. WeightsError."""
    return _load_networks(prior.path, prior.sha256)


@lru_cache(maxsize=2)
def _load_networks(path: Path, sha256: bytes) -> MotionNetworks:
    return MotionNetworks(load_motion_prior(path))


def save_tokenizer(
    path: Path, config: TokenizerConfig, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write a model file. The same tensors and metadata give the same bytes, and so the same SHA-256."""
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = save(ordered, metadata={"tokenizer": config.to_json(), **metadata})
    path.write_bytes(sort_safetensors_header(blob))
