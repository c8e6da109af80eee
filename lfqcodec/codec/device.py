"""The device that networks run on, and what they multiply there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lfqcodec.errors import ArgumentValueError, LfqError
from lfqcodec.machine import PRECISIONS


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


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """What most layers multiply, by name: one of `PRECISIONS`. Raises `ArgumentValueError` for another.

    `auto` is bfloat16 where the processor multiplies it twice as fast as float32, which is the other choice.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cpu" and _multiplies_bfloat16() else torch.float32
    if name not in PRECISIONS:
        raise ArgumentValueError("precision", f"{name!r} is not known: use {', '.join(PRECISIONS)}")
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _multiplies_bfloat16() -> bool:
    # PyTorch has no public function for it. What an older or later release lacks is taken as no.
    checks = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(check() for check in checks if check is not None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for each operation: with two, sums of networks are rounded in other places.

    So what an encoder chooses does not depend on the number of cores. Work beside each other goes on.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
