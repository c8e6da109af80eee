"""What a stage takes at least: its multiplications, at the speed of the machine's best matrix product.

Copies, gathers, sums and everything that is not a matrix product or a convolution count as nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.speed.stopwatch import Stopwatch, watching

_SHAPE = 3680, 192, 576
"""Of a matrix product: a layer of the anchors' networks at 640x360."""
_TRIES = 20


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of each stage of a stopwatch: two for a product that is summed."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: dict[str, float] = defaultdict(float)
        self._watch = watch

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        # What works in place is counted as what it is named after.
        name = func.overloadpacket.__name__.rstrip("_")
        packet = getattr(torch.ops.aten, name, None)
        if packet in flop_registry:
            self.operations[self._watch.current] += flop_registry[packet](*args, **given, out_val=out)
        return out


class _Here(Executor):
    """Does everything at once, in the thread that asks for it: counting does not see other threads."""

    def __init__(self, *_: Any) -> None: ...

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **options))
        return future


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ExitStack() as stack:
            stack.enter_context(patch("lfqcodec.codec.gop.ThreadPoolExecutor", _Here))
            stack.enter_context(patch("lfqcodec.tokenizer.motion.beside.usable_cores", lambda: 1))
            yield
    finally:
        torch.set_num_threads(before)


def operations(action: Callable[[], object]) -> dict[str, float]:
    """Floating-point operations of `action` by stage, those of matrix products and convolutions alone."""
    watch = Stopwatch()
    with _one_thread(), watching(watch), watch.stage("rest"), _Counting(watch) as counting:
        action()
    return dict(counting.operations)


def best_rate(dtype: torch.dtype) -> float:
    """Operations per second of a matrix product of this type, with the threads that torch has now."""
    rows, inputs, outputs = _SHAPE
    x, weight = torch.rand(rows, inputs, dtype=dtype), torch.rand(inputs, outputs, dtype=dtype)
    least = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        torch.mm(x, weight)
        least = min(least, time.perf_counter() - began)
    return 2 * rows * inputs * outputs / least
