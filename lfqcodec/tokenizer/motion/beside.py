"""Work on several pictures beside each other, for what one thread at a time does of each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

from lfqcodec.machine import usable_cores

Result = TypeVar("Result")
_inside = threading.local()


def together(calls: list[Callable[[], Result]]) -> list[Result]:
    """The results of all calls, made in threads beside each other, in order; an error of any is raised.

    On one core they are made one after the other, and so they are inside of such calls.
    """
    if len(calls) < 2 or usable_cores() == 1 or hasattr(_inside, "pool"):
        return [call() for call in calls]
    pool = _pool(torch.get_num_threads())
    others = [pool.submit(_alone, call, torch.is_grad_enabled()) for call in calls[1:]]
    first = calls[0]()
    return [first, *(other.result() for other in others)]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One for each number of threads of torch: those that a thread has used once it keeps."""
    return ThreadPoolExecutor(2, f"beside-{threads}")


if hasattr(os, "register_at_fork"):
    # The threads of a pool are not in a forked process, which would wait for them forever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _alone(call: Callable[[], Result], grad: bool) -> Result:
    _inside.pool = True
    with torch.set_grad_enabled(grad):
        return call()
