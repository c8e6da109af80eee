"""The device that networks run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
