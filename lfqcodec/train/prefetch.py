"""Batches prepared in the background, while the device computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.train.sampling import Sampler, check_share


class Prefetcher:
    """Gives the batches of a sampler, to the bit, and prepares the next `depth` ones with `workers` threads.

    A context manager. `batch(step)` is meant to be called with one step after the other; any other step is
    right too, but has to be waited for. No batch from number `stop` on is prepared ahead. Batches go to
    `device`, by way of pinned memory where that is CUDA. Raises `LfqError` for numbers out of range.
    """

    def __init__(
        self,
        sampler: Sampler,
        *,
        device: str | torch.device = "cpu",
        depth: int = 2,
        workers: int = 1,
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
    ) -> None:
        if depth < 1 or workers < 1:
            raise LfqError("batches are prepared at least one ahead, by at least one thread")
        check_share(sampler.config.batch, rank, world)
        self.sampler, self.device, self.depth = sampler, torch.device(device), depth
        self.rank, self.world, self.stop = rank, world, stop
        self._ready: deque[tuple[int, Future[Tensor]]] = deque()
        self._closed = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lfqcodec-batches")

    def batch(self, step: int) -> Tensor:
        """Batch number `step` on the device: float32 [B / world, 3, T, S, S] in [-1, 1].

        Raises what reading it raised, and `LfqError` once the prefetcher is closed.
        """
        if self._closed:
            raise LfqError("the batches are closed")
        if not self._ready or self._ready[0][0] != step:
            self._forget()
            self._ready.append((step, self._pool.submit(self._prepare, step)))
        _, future = self._ready.popleft()
        self._ask_ahead(step + 1)
        try:
            host = future.result()
        except BaseException:
            self._forget()
            raise
        return host.to(self.device, non_blocking=True)

    def _ask_ahead(self, step: int) -> None:
        """Have `depth` batches from `step` on in the making."""
        end = step + self.depth if self.stop is None else min(step + self.depth, self.stop)
        for number in range(step + len(self._ready), end):
            self._ready.append((number, self._pool.submit(self._prepare, number)))

    def _prepare(self, step: int) -> Tensor:
        batch = self.sampler.batch(step, self.rank, self.world)
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def _forget(self) -> None:
        while self._ready:
            self._ready.popleft()[1].cancel()

    def close(self) -> None:
        """Stop preparing; returns when all threads have ended."""
        self._closed = True
        self._forget()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
