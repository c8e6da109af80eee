"""The trainer of the prior."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lfqcodec.errors import LfqError
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.weights import PriorWeights
from lfqcodec.train.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, update_average
from lfqcodec.train.prior_data import CropConfig, Crops, CropSampler, TokenStore
from lfqcodec.train.prior_net import PriorNet

log = logging.getLogger(__name__)

_HELD_OUT_BATCHES = 1 << 40
"""Numbers of held-out batches begin here."""


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
    first_share: float = 0.3
    static_share: float = 0.08
    image_share: float = 0.1
    stage_every: tuple[int, ...] = (1, 1, 4, 4)
    model: PriorConfig = field(default_factory=PriorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def stages_at(self, step: int) -> list[int]:
        """Stages that step `step` learns; later stages than `stage_every` names come like its last."""
        every = self.stage_every + self.stage_every[-1:] * self.model.stages
        return [s for s in range(self.model.stages) if step % every[s] == s % every[s]]

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step`, from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cool = min(1.0, (self.steps - step) / max(1, self.decay))
        return self.learning_rate * warm * cool

    def crops(self) -> CropConfig:
        """How batches are drawn."""
        return CropConfig(
            self.batch,
            self.frames,
            self.size,
            self.first_share,
            self.static_share,
            self.image_share,
            self.model.kept_frames,
        )


class PriorTrainer:
    """Holds a run's state; `run` goes on from wherever the folder's last checkpoint stopped.

    A new run starts from `init`, an exported prior, where there is one: that of a tokenizer that this one
    was trained from saves most of the time.
    """

    def __init__(
        self,
        config: PriorTrainConfig,
        store: TokenStore,
        out: Path,
        *,
        device: str = "cpu",
        init: PriorWeights | None = None,
    ) -> None:
        if any(gop.stages < config.model.stages for gop in store.gops):
            raise LfqError(f"the tokens have fewer than {config.model.stages} stages")
        self.config, self.store, self.out = config, store, out
        self.device = torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = PriorNet(config.model).to(self.device)
        if init is not None:
            self.model.load_integers(init)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = MuonAdam(self.model, config.optimizer)
        self.sampler = CropSampler(store, config.crops(), seed=config.seed)
        self.step = 0
        self.seconds = 0.0
        self.checkpoint_path = out / "checkpoint.safetensors"
        if self.checkpoint_path.exists():
            self._resume()

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.checkpoint_path)
        progress = checkpoint.progress
        if PriorConfig.from_json(progress["prior"]) != self.config.model:
            raise LfqError(f"{self.checkpoint_path}: belongs to another prior configuration")
        if progress["tokenizer"] != self.store.tokenizer:
            raise LfqError(f"{self.checkpoint_path}: was trained on the tokens of another tokenizer")
        copy_into(self.model.state_dict(), checkpoint.groups["model"], "the checkpoint")
        copy_into(self.ema.state_dict(), checkpoint.groups["ema"], "the checkpoint")
        copy_into(self.optimizer.state, checkpoint.groups["optimizer"], "the optimizer state")
        self.step = self.optimizer.updates = progress["step"]
        self.seconds = progress["seconds"]
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint."""
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "prior": self.config.model.to_json(),
            "tokenizer": self.store.tokenizer,
        }
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state,
        }
        save_checkpoint(self.checkpoint_path, Checkpoint(groups, progress))

    def _bits(self, net: PriorNet, crops: Crops, stage: int, *, rounded: bool = True) -> Tensor:
        """Bits of each token, float32 [B, T, size * size]."""
        tokens = crops.tokens[:, : self.config.model.stages].to(self.device)
        return net.bits(tokens, crops.start.to(self.device), stage, rounded=rounded)

    def train_step(self) -> dict[int, float]:
        """One update. Returns the bits per token of the batch of each stage that it learned."""
        active = self.config.stages_at(self.step)
        costs = {}
        for stage in active:
            crops = self.sampler.batch(self.step * self.config.model.stages + stage)
            bits = self._bits(self.model, crops, stage)[crops.counts.to(self.device)].mean()
            if not torch.isfinite(bits):
                raise LfqError(f"the loss is not finite at step {self.step}: lower --learning-rate")
            (bits / len(active)).backward()  # type: ignore[no-untyped-call]
            costs[stage] = float(bits.detach())
        self.optimizer.step(self.config.rate_at(self.step))
        self.step += 1
        update_average(self.ema, self.model, self.config.ema, self.step)
        return costs

    @torch.no_grad()
    def evaluate(self, batches: int = 8) -> list[dict[str, float]]:
        """Held-out bits per token of the averaged weights, for each stage; empty where nothing is held out.

        `bits`: moving clips; `first` and `later`: their first latent frame and the others; `static`: latent
        frames after the first of clips that stand still; `float`: `bits` of the same weights unrounded.
        """
        crops_of: dict[bool, CropSampler] = {}
        for still in (False, True):
            shape = dataclasses.replace(self.config.crops(), static_share=float(still), image_share=0.0)
            try:
                sampler = CropSampler(self.store, shape, seed=self.config.seed, held_out=True)
            except LfqError:
                return []
            if ("static" if still else "video") in sampler.pools:
                crops_of[still] = sampler
        rows = []
        for stage in range(self.config.model.stages):
            parts: dict[str, list[Tensor]] = {}
            for still, sampler in crops_of.items():
                for number in range(max(1, batches // 4) if still else batches):
                    crops = sampler.batch(_HELD_OUT_BATCHES + number)
                    self._measure(crops, stage, still, parts)
            rows.append({name: round(float(torch.cat(p).mean()), 4) for name, p in parts.items() if p})
        return rows

    def _measure(self, crops: Crops, stage: int, still: bool, parts: dict[str, list[Tensor]]) -> None:
        bits = self._bits(self.ema, crops, stage).mean(-1).cpu()
        first = (crops.start[:, None] + torch.arange(bits.shape[1])) == 0
        if still:
            parts.setdefault("static", []).append(bits[crops.counts & ~first])
            return
        unrounded = self._bits(self.ema, crops, stage, rounded=False).mean(-1).cpu()
        parts.setdefault("bits", []).append(bits[crops.counts])
        parts.setdefault("first", []).append(bits[crops.counts & first])
        parts.setdefault("later", []).append(bits[crops.counts & ~first])
        parts.setdefault("float", []).append(unrounded[crops.counts])

    def run(
        self,
        *,
        evaluate_every: int = 100,
        save_minutes: float = 3.0,
        stop_after: int | None = None,
        minutes: float | None = None,
    ) -> None:
        """Train to the end (or for `stop_after` steps, or `minutes`), logging to `log.jsonl`."""
        record = dataclasses.asdict(self.config) | {"tokenizer": self.store.tokenizer}
        parameters = sum(p.numel() for p in self.model.parameters())
        self._write(record | {"event": "start", "step": self.step, "parameters": parameters})
        last = self.config.steps if stop_after is None else min(self.config.steps, self.step + stop_after)
        progress = tqdm(total=self.config.steps, initial=self.step, unit="step", mininterval=5)
        try:
            self._loop(last, evaluate_every, save_minutes, minutes, progress)
        finally:
            progress.close()
            self.save()

    def _loop(
        self, last: int, every: int, save_minutes: float, minutes: float | None, progress: tqdm[None]
    ) -> None:
        started = saved = began = time.monotonic()
        average: dict[int, float] = {}
        while self.step < last and (minutes is None or began - started < 60 * minutes):
            costs = self.train_step()
            for stage, cost in costs.items():
                average[stage] = 0.95 * average.get(stage, cost) + 0.05 * cost
            progress.update()
            now = time.monotonic()
            self.seconds, began = self.seconds + now - began, now
            if self.step % every == 0 or self.step == last:
                rows = self.evaluate()
                progress.write(f"step {self.step}: held-out bits per token of 18, by stage: {rows}")
                training = {stage: round(average[stage], 4) for stage in sorted(average)}
                self._write(
                    {"event": "evaluation", "step": self.step, "training": training, "held_out": rows}
                )
                began = time.monotonic()
            if now - saved > 60 * save_minutes:
                self.save()
                saved = time.monotonic()

    def _write(self, row: dict[str, Any]) -> None:
        row = row | {"seconds": round(self.seconds, 1)}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def export_prior(checkpoint: Path) -> tuple[PriorWeights, dict[str, str]]:
    """Averaged weights of a checkpoint as integers, and what to write beside them: tokenizer and steps."""
    loaded = load_checkpoint(checkpoint)
    try:
        config = PriorConfig.from_json(loaded.progress["prior"])
        metadata = {"trained_for": loaded.progress["tokenizer"], "steps": str(loaded.progress["step"])}
    except KeyError as error:
        raise LfqError(f"{checkpoint}: not a checkpoint of a prior") from error
    net = PriorNet(config)
    copy_into(net.state_dict(), loaded.groups["ema"], "the checkpoint")
    return net.export(), metadata
