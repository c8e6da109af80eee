"""The device that networks run on."""

from __future__ import annotations

import torch

from lfqcodec.errors import ArgumentValueError, LfqError


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device. Raises `ArgumentValueError` for another name,
    `LfqError` where there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise LfqError("no CUDA device is available (use --device cpu)")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ArgumentValueError("device", f"{name!r} is not known: use auto, cpu or cuda") from error
