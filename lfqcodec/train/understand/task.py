"""What the training of all networks of clips has in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lfqcodec.errors import LfqError
from lfqcodec.train.distributed import World
from lfqcodec.train.loop import Loop, Task
from lfqcodec.train.understand.clips import ClipBatches, LabelledClip
from lfqcodec.train.understand.config import ClipTrainConfig
from lfqcodec.understand.blocks import Blocks

Network = TypeVar("Network", bound=nn.Module)
_FIRST = re.compile(r"(encoder\.)?(tubelets\.|places$|step_class$)|unknown$")


def layer_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """By name of a parameter decay^(L + 1 - l): l is 0 for tubelets, positions and the mask's vector, then
    the number of the block, and L + 1 for the last norm and the head.

    Blocks between time steps come behind those inside.
    """
    counts = {name: len(each.each) for name, each in model.named_modules() if isinstance(each, Blocks)}
    before, total = {}, 0
    for name, count in counts.items():
        before[name] = total
        total += count
    factors = {}
    for name, _ in model.named_parameters():
        inside = next((own for own in counts if name.startswith(f"{own}.each.")), None)
        if inside is not None:
            layer = before[inside] + int(name.removeprefix(f"{inside}.each.").partition(".")[0]) + 1
        else:
            layer = 0 if _FIRST.match(name) else total + 1
        factors[name] = decay ** (total + 1 - layer)
    return factors


class ClipTask(Task[Network]):
    """A network of clips. A step is the mean gradient of the parts of its batch."""

    def __init__(
        self,
        config: ClipTrainConfig,
        clips: list[LabelledClip],
        *,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        world: World | None = None,
    ) -> None:
        super().__init__(device=device, precision=precision, world=world)
        self.config = config
        self.batches = ClipBatches(clips, config.clip, config.batch, seed=config.seed)
        torch.manual_seed(config.seed)
        self.model = self._build().to(self.device).train()
        for each in self.model.modules():
            if isinstance(each, Blocks):
                each.checkpoints = config.checkpoint_blocks

    @abstractmethod
    def _build(self) -> Network:
        """The network to begin with."""

    @abstractmethod
    def _loss(self, plan: list[tuple[int, int]], draws: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the samples of a plan, and what to log besides.

        All that is drawn depends on `draws`.
        """

    def rate_factors(self) -> dict[str, float]:
        """Layer decay."""
        return layer_factors(self.model, self.config.layer_decay)

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """The loss, and what else `_loss` gives."""
        plan = self.batches.plan(number, self.world.rank, self.world.size)
        parts = self.config.accumulate
        if len(plan) % parts:
            raise LfqError(f"{len(plan)} samples of a process cannot be divided by accumulate")
        size = len(plan) // parts
        sums: dict[str, Tensor] = {}
        for part in range(parts):
            draws = (self.config.seed, number, self.world.rank * parts + part)
            loss, values = self._loss(plan[part * size : (part + 1) * size], draws)
            (loss / parts).backward()  # type: ignore[no-untyped-call]
            for name, value in ({"loss": loss.detach()} | values).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / parts
        return sums

    def autocast(self) -> torch.autocast:
        """The precision of the network."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def clip_loop(task: ClipTask[Network], out: Path, *, minutes: float | None = None) -> Loop[Network]:
    """The run of a task in the folder `out`, which ends early where `minutes` are over."""
    c = task.config
    return Loop(
        task, out, schedule=c.learning_rates(minutes), optimizer=c.optimizer, ema=c.ema, world=task.world
    )


def generator_of(draws: tuple[int, ...]) -> np.random.Generator:
    """What masks and mixing are drawn from; apart from what batches are drawn from."""
    return np.random.default_rng((*draws, 1))
