"""Work on several pictures, or on parts of one, beside each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

import torch
from torch import Tensor

from lfqcodec.machine import usable_cores

Result = TypeVar("Result")
_inside = threading.local()
_FEW, _STEP = 128, 64
"""Rows that are done before a thread has woken up; and halves are multiples of the second."""


def together(calls: list[Callable[[], Result]], pool: str = "pictures") -> list[Result]:
    """The results of all calls, made in threads beside each other, in order; an error of any is raised.

    On one core they are made one after the other, and so they are inside of such calls.
    """
    if len(calls) < 2 or usable_cores() == 1 or hasattr(_inside, "pool"):
        return [call() for call in calls]
    threads = _pool(pool, torch.get_num_threads())
    others = [threads.submit(_alone, call, torch.is_grad_enabled()) for call in calls[1:]]
    first = calls[0]()
    return [first, *(other.result() for other in others)]


def by_halves(stage: Callable[[slice], None], rows: Tensor) -> None:
    """Let `stage` do both halves of `rows`, beside each other where it can be.

    Few rows are done at once, and so are those on a GPU, or where operations of PyTorch have threads of their
    own. Else they are halves on one core, too: products with fewer rows may be rounded in other places.
    """
    count = len(rows)
    # For PyTorch every number of rows is a product of its own, to be compiled and kept.
    middle = count // 2 // _STEP * _STEP
    if middle < _FEW or rows.device.type != "cpu" or torch.get_num_threads() > 1:
        stage(slice(count))
    else:
        together([partial(stage, slice(middle)), partial(stage, slice(middle, count))], "rows")


@cache
def _pool(name: str, threads: int) -> ThreadPoolExecutor:
    """One for each number of threads of torch: those that a thread has used once it keeps."""
    return ThreadPoolExecutor(2, f"{name}-{threads}")


if hasattr(os, "register_at_fork"):
    # The threads of a pool are not in a forked process, which would wait for them forever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _alone(call: Callable[[], Result], grad: bool) -> Result:
    _inside.pool = True
    with torch.set_grad_enabled(grad):
        return call()
