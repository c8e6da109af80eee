"""Batches prepared in the background, while the device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from lfqcodec.errors import LfqError


class Prefetcher:
    """Gives what `read` gives for a step, and reads the next `depth` ones ahead, with `workers` threads.

    `batch(step)` is meant to be called with one step after the other; any other step is right too, but has
    to be waited for. No batch from number `stop` on is read ahead. Batches go to `device`, by way of pinned
    memory where that is CUDA. `close` ends the threads.
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        *,
        device: str | torch.device = "cpu",
        depth: int = 2,
        workers: int = 1,
        stop: int | None = None,
    ) -> None:
        self.read, self.device, self.depth, self.stop = read, torch.device(device), depth, stop
        self._ready: deque[tuple[int, Future[Tensor]]] = deque()
        self._closed = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lfqcodec-batches")

    def batch(self, step: int) -> Tensor:
        """Batch number `step` on the device.

        Raises what reading it raised, and `LfqError` once the prefetcher is closed.
        """
        if self._closed:
            raise LfqError("the batches are closed")
        if not self._ready or self._ready[0][0] != step:
            self._forget()
            self._ready.append((step, self._pool.submit(self._prepare, step)))
        _, future = self._ready.popleft()
        end = step + 1 + self.depth if self.stop is None else min(step + 1 + self.depth, self.stop)
        for number in range(step + 1 + len(self._ready), end):
            self._ready.append((number, self._pool.submit(self._prepare, number)))
        try:
            return future.result().to(self.device, non_blocking=True)
        except BaseException:
            self._forget()
            raise

    def _prepare(self, step: int) -> Tensor:
        batch = self.read(step)
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def _forget(self) -> None:
        while self._ready:
            self._ready.popleft()[1].cancel()

    def close(self) -> None:
        """Stop preparing; returns when all threads have ended."""
        self._closed = True
        self._forget()
        self._pool.shutdown(wait=True, cancel_futures=True)
