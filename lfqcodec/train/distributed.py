"""Training by several processes (torchrun): each has a part of the batch, all have the same weights.

Gradients are averaged by hand after the backward pass rather than by `DistributedDataParallel`: some phases
leave parameters without gradients, and the penalty of the discriminator takes gradients of gradients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from lfqcodec.errors import LfqError

Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """This process among `size`; `local` is its number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of what was drawn for the whole batch. Raises `LfqError` if parts differ."""
        count = len(batch)
        if count % self.size:
            raise LfqError(f"a batch of {count} cannot be shared by {self.size} processes")
        part = count // self.size
        return batch[self.rank * part : (self.rank + 1) * part]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, with gradients to each."""
        if self.size == 1:
            return value
        result: Tensor = _Mean.apply(value, self.size)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def leader_first(self, make: Callable[[], Made]) -> Made:
        """What `make` gives: the first process writes what the others then find."""
        if not self.leads:
            self.wait()
        made = make()
        if self.leads:
            self.wait()
        return made


class _Mean(torch.autograd.Function):
    """Mean over processes. `torch.distributed.nn` has one too, which warns that it is experimental."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor, size: int) -> Tensor:
        ctx.size = size  # type: ignore[attr-defined]
        total = value.clone()
        dist.all_reduce(total)
        return total / size

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        # Every process has a loss that depends on every value; what is wanted is the gradient of the mean
        # loss times the number of processes, as `average_gradients` divides by it again.
        total = grads[0].clone()
        dist.all_reduce(total)
        return total / ctx.size, None  # type: ignore[attr-defined]


@contextmanager
def world_of_environment(device: str) -> Iterator[World]:
    """The processes that torchrun started, by its environment variables; without them a world of one.

    Processes on CUDA talk through NCCL, others through Gloo. The group is given up at the end, unless
    somebody else, such as Ray Train, had made it.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World()
        return
    world = World(
        int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0"))
    )
    if device == "cuda":
        torch.cuda.set_device(world.local)
    if dist.is_initialized():
        yield world
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()
