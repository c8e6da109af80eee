"""Training of the prior on a store of tokens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.weights import PriorWeights
from lfqcodec.train.checkpoint import copy_into, load_checkpoint
from lfqcodec.train.loop import CHECKPOINT, Loop, Task
from lfqcodec.train.optim import OptimizerConfig, Schedule
from lfqcodec.train.prior.network import PriorNetwork
from lfqcodec.train.prior.tokens import CropConfig, Crops, CropSampler, TokenStore

_HELD_OUT_BATCHES = 1 << 40
"""Numbers of held-out batches begin here."""
_HELD_OUT_COUNT = 8


@dataclass(frozen=True)
class PriorTrainConfig:
    """All that a run depends on, besides the tokens.

    A step learns from one batch of crops for each stage whose turn it is: stage s has every
    `stage_every[s]`-th step. `decay` is the number of steps over which the learning rate falls to zero at
    the end.
    """

    steps: int
    batch: int = 4
    frames: int = 4
    size: int = 16
    seed: int = 0
    learning_rate: float = 2e-3
    warmup: int = 50
    decay: int = 500
    ema: float = 0.998
    stage_every: tuple[int, ...] = (1, 1, 4, 4)
    model: PriorConfig = field(default_factory=PriorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def stages_at(self, step: int) -> list[int]:
        """Stages that step `step` learns; later stages than `stage_every` names come like its last."""
        every = self.stage_every + self.stage_every[-1:] * self.model.stages
        return [s for s in range(self.model.stages) if step % every[s] == s % every[s]]

    def crops(self) -> CropConfig:
        """How batches are drawn."""
        return CropConfig(self.batch, self.frames, self.size, warm=self.model.kept_frames)


class PriorTask(Task[PriorNetwork]):
    """A prior on random crops of tokens; starts from the averaged weights of the run `init`, if any.

    Raises `LfqError` where the tokens are too few, or the other run's prior is of another configuration.
    """

    def __init__(
        self,
        config: PriorTrainConfig,
        store: TokenStore,
        *,
        device: torch.device | str = "cpu",
        init: Path | None = None,
    ) -> None:
        if any(gop.stages < config.model.stages for gop in store.gops):
            raise LfqError(f"the tokens have fewer than {config.model.stages} stages")
        self.config, self.store, self.device = config, store, torch.device(device)
        torch.manual_seed(config.seed)
        self.model = PriorNetwork(config.model).to(self.device)
        if init is not None:
            copy_into(self.model.state_dict(), load_checkpoint(init / CHECKPOINT).groups["ema"], str(init))
        self._sampler = CropSampler(store, config.crops(), seed=config.seed)

    def identity(self) -> dict[str, str]:
        """The prior's configuration, and the SHA-256 of the tokenizer."""
        return {"prior": self.config.model.to_json(), "tokenizer": self.store.tokenizer}

    def _bits(self, network: PriorNetwork, crops: Crops, stage: int, *, rounded: bool = True) -> Tensor:
        """Bits of each token, float32 [B, T, size * size]."""
        tokens = crops.tokens[:, : self.config.model.stages].to(self.device)
        return network.bits(tokens, crops.start.to(self.device), stage, rounded=rounded)

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """The bits per token of the batch of each stage that it learned."""
        active = self.config.stages_at(number)
        costs = {}
        for stage in active:
            crops = self._sampler.batch(number * self.config.model.stages + stage)
            bits = self._bits(self.model, crops, stage)[crops.counts.to(self.device)].mean()
            (bits / len(active)).backward()  # type: ignore[no-untyped-call]
            costs[f"bits_{stage}"] = bits.detach()
        return costs

    @torch.no_grad()
    def held_out(self, average: PriorNetwork) -> dict[str, Any]:
        """Bits per token of 18, by stage; empty where nothing is held out.

        `bits`: of clips; `first` and `later`: of their first latent frame and the others; `float`: `bits` of
        the same weights unrounded.
        """
        shape = dataclasses.replace(self.config.crops(), image_share=0.0)
        try:
            sampler = CropSampler(self.store, shape, seed=self.config.seed, held_out=True)
        except LfqError:
            return {}
        rows: dict[str, list[float]] = {}
        for stage in range(self.config.model.stages):
            parts: dict[str, list[Tensor]] = {"bits": [], "first": [], "later": [], "float": []}
            for number in range(_HELD_OUT_BATCHES, _HELD_OUT_BATCHES + _HELD_OUT_COUNT):
                crops = sampler.batch(number)
                bits = self._bits(average, crops, stage).mean(-1).cpu()
                first = (crops.start[:, None] + torch.arange(bits.shape[1])) == 0
                parts["bits"].append(bits[crops.counts])
                parts["first"].append(bits[crops.counts & first])
                parts["later"].append(bits[crops.counts & ~first])
                unrounded = self._bits(average, crops, stage, rounded=False).mean(-1).cpu()
                parts["float"].append(unrounded[crops.counts])
            for name, each in parts.items():
                if len(values := torch.cat(each)):
                    rows.setdefault(name, []).append(round(float(values.mean()), 4))
        return rows


def prior_loop(task: PriorTask, out: Path, *, minutes: float | None = None) -> Loop[PriorNetwork]:
    """The run of a task in the folder `out`, which ends early where `minutes` are over."""
    c = task.config
    schedule = Schedule(c.steps, c.learning_rate, c.warmup, decay=c.decay, minutes=minutes)
    return Loop(task, out, schedule=schedule, optimizer=c.optimizer, ema=c.ema)


def export_prior(checkpoint: Path) -> tuple[PriorWeights, dict[str, str]]:
    """Averaged weights of a checkpoint as integers, and what to write beside them: tokenizer and steps."""
    loaded = load_checkpoint(checkpoint)
    if "prior" not in loaded.progress:
        raise LfqError(f"{checkpoint}: not a checkpoint of a prior")
    network = PriorNetwork(PriorConfig.from_json(loaded.progress["prior"]))
    copy_into(network.state_dict(), loaded.groups["ema"], "the checkpoint")
    metadata = {"trained_for": loaded.progress["tokenizer"], "steps": str(loaded.progress["step"])}
    return network.export(), metadata
