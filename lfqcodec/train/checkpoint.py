"""Training checkpoints as one safetensors file: weights, moving average, optimizer state, progress."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lfqcodec.errors import OutputError, WeightsError


@dataclass
class Checkpoint:
    """`groups` maps "model", "ema" and "optimizer" to named tensors; `progress` is plain JSON."""

    groups: dict[str, dict[str, Tensor]]
    progress: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write under a temporary name, then rename: a kill at any moment leaves the old file or the new one.

    Raises `OutputError` where there is no space.
    """
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, members in checkpoint.groups.items()
        for name, tensor in members.items()
    }
    temporary = path.with_suffix(".partial")
    try:
        save_file(tensors, temporary, metadata={"progress": json.dumps(checkpoint.progress)})
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error})") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU. Raises `WeightsError`."""
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})["progress"])
            for key in file.keys():  # noqa: SIM118
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not a training checkpoint ({error})") from error
    return Checkpoint(groups, progress)


def copy_into(target: dict[str, Tensor], source: dict[str, Tensor], what: str) -> None:
    """Copy named tensors in place. Raises `WeightsError` where names or shapes differ."""
    if target.keys() != source.keys():
        missing = sorted(target.keys() ^ source.keys())
        raise WeightsError(f"{what} does not fit this model: {missing[0]} is on one side only")
    with torch.no_grad():
        for name, tensor in target.items():
            if tensor.shape != source[name].shape:
                raise WeightsError(f"{what} does not fit this model: shape of {name}")
            tensor.copy_(source[name])
