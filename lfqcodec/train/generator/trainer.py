"""Training of generators on a store of tokens."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.generate.decoding.commit import known_pixels, known_positions, look_of_unknown
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.model.embedding import MASK, split
from lfqcodec.generate.model.masked import MaskedModel
from lfqcodec.generate.model.transformer import Stack
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.distributed import World
from lfqcodec.train.generator.batches import TokenBatch, TokenBatches
from lfqcodec.train.generator.chunked import chunked_cross_entropy
from lfqcodec.train.generator.config import GeneratorTrainConfig
from lfqcodec.train.generator.objective import chosen_units, masked_loss
from lfqcodec.train.generator.sheets import Sheets
from lfqcodec.train.generator.tokens import Online, TokenStore
from lfqcodec.train.loop import CHECKPOINT, Loop, Task

SAMPLING = "sampling.json"
"""File of a run with the settings that go into the exported model. It may be edited before that."""
RATIOS = (0.25, 0.5, 0.75, 1.0)
"""Parts that are masked when held-out items are measured."""
_MEASURED = 256
Model = TypeVar("Model", bound=nn.Module)


class GeneratorTask(Task[Model], ABC):
    """A generator on the tokens of a store, or with `online` on those of new views of its items.

    Raises `LfqError` where grid or classes of the configuration are not those of the store.
    """

    def __init__(
        self,
        config: GeneratorTrainConfig,
        store: TokenStore,
        *,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        world: World | None = None,
        online: Online | None = None,
    ) -> None:
        if store.grid != config.model.grid:
            raise LfqError(
                f"the tokens are grids of {_by(store.grid)}, the model's are {_by(config.model.grid)} "
                f"(--set model.grid={list(store.grid)})"
            )
        if len(store.classes) != config.model.classes:
            raise LfqError(f"the store has {len(store.classes)} classes, the model {config.model.classes}")
        super().__init__(device=device, precision=precision, world=world)
        self.config, self.store = config, store
        self.sheets: Sheets | None = None
        torch.manual_seed(config.seed)
        self.model = self._build().to(self.device).train()
        for each in self.model.modules():
            if isinstance(each, Stack):
                each.checkpointed = config.checkpoint_blocks
        self._batches = TokenBatches(
            store, config.batch, seed=config.seed, class_drop=config.model.class_drop, online=online
        )

    @abstractmethod
    def _build(self) -> Model:
        """The untrained network."""

    @abstractmethod
    def _loss(self, model: Model, batch: TokenBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what to log besides."""

    def identity(self) -> dict[str, str]:
        """Configuration of the model, names of the classes, and the SHA-256 of the tokenizer."""
        return {
            "generator": self.config.model.to_json(),
            "classes": json.dumps(self.store.classes),
            "tokenizer": self.store.tokenizer,
        }

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """The loss, and what else `_loss` gives."""
        batch = self._batches.batch(number, self.world.rank, self.world.size).to(self.device)
        count = len(batch.labels)
        if count % self.config.accumulate:
            raise LfqError(f"{count} samples of a process cannot be divided by accumulate")
        size = count // self.config.accumulate
        sums: dict[str, Tensor] = {}
        for begin in range(0, count, size):
            loss, values = self._loss(self.model, batch.part(begin, begin + size))
            (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
            for name, value in ({"loss": loss.detach()} | values).items():
                share = value / self.config.accumulate
                sums[name] = sums[name] + share if name in sums else share
        return sums

    def held_out_items(self) -> TokenBatch | None:
        """What is measured: the first held-out items, with the same masks every time."""
        try:
            batches = TokenBatches(self.store, 1, seed=self.config.seed + 1, held_out=True)
        except InputVideoError:
            return None
        return batches.first(_MEASURED).to(self.device)

    def show(self, step: int, average: Model) -> None:
        """A sheet of samples, where the run has `sheets`."""
        if self.sheets is not None:
            assert isinstance(average, MaskedModel | CausalModel)
            self.sheets.show(average, step, self._start())

    def _start(self) -> Tensor | None:
        """What the samples of a sheet go on from (`Sheets.show`)."""
        return None

    def measured(self, average: Model, batch: TokenBatch) -> dict[str, float]:
        """What `_loss` gives besides the loss, as means over all of a batch, taken a part at a time."""
        size = max(1, self.config.batch // self.config.accumulate)
        totals: dict[str, float] = {}
        count = len(batch.labels)
        for begin in range(0, count, size):
            part = batch.part(begin, min(count, begin + size))
            for name, value in self._loss(average, part)[1].items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(part.labels) / count
        return totals


class MaskedTask(GeneratorTask[MaskedModel]):
    """A masked model. It logs the loss of what is masked, its `accuracy`, and its `bits` for a token."""

    def _build(self) -> MaskedModel:
        c = self.config
        if c.model.commits:
            pixels = known_pixels(c.model, c.data.frames, (c.data.size, c.data.size))
            self._known = known_positions(pixels, c.model.grid)
        return MaskedModel(c.model)

    def _loss(self, model: MaskedModel, batch: TokenBatch) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        target = split(batch.tokens.flatten(1))
        masked = chosen_units(c.model, batch.ratios, batch.scores)
        unknown: int | Tensor = MASK
        if c.model.commits:
            unknown = look_of_unknown(batch.conditions.flatten(1), self._known)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = model(torch.where(masked, unknown, target), batch.labels)
        return masked_loss(c.model, logits, target, masked, smoothing=c.label_smoothing, on=c.loss_on)

    def _start(self) -> Tensor | None:
        c = self.config.model
        if not c.given and not c.commits:
            return None
        batch = self.held_out_items() or self._batches.first(_MEASURED).to(self.device)
        if c.commits:
            return look_of_unknown(batch.conditions.flatten(1), self._known)
        return batch.tokens[:, : c.condition_frames]

    @torch.no_grad()
    def held_out(self, average: MaskedModel) -> dict[str, Any]:
        """Bits of a token and accuracy of what is masked, by `RATIOS`; empty if nothing is held out."""
        scores: dict[str, Any] = {}
        if (batch := self.held_out_items()) is None:
            return scores
        for part in RATIOS:
            # The u of which cos(pi u / 2) is the part.
            turn = torch.full_like(batch.ratios, part).acos() * 2 / torch.pi
            values = self.measured(average, replace(batch, ratios=turn))
            for name in ("bits", "accuracy"):
                scores.setdefault(name, []).append(round(values[name], 4))
        return scores


class CausalTask(GeneratorTask[CausalModel]):
    """An autoregressive model. It logs the `bits` of a token, and what part is `unknown` to it."""

    def _build(self) -> CausalModel:
        model = CausalModel(self.config.model)
        if model.words is not None:
            model.know(torch.from_numpy(self.store.used()))
        return model

    def _loss(self, model: CausalModel, batch: TokenBatch) -> tuple[Tensor, dict[str, Tensor]]:
        target = model.numbers(batch.tokens.flatten(1))
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden = model.hidden(target[:, :-1].clamp(min=0), batch.labels)
            smoothed, plain = chunked_cross_entropy(
                hidden.flatten(0, 1),
                model.out.weight,
                model.out.bias,
                target.flatten(),
                smoothing=self.config.label_smoothing,
            )
        known = (target >= 0).sum().clamp(min=1)
        unknown = (target < 0).float().mean()
        return smoothed / known, {"bits": plain / known / math.log(2), "unknown": unknown}

    @torch.no_grad()
    def held_out(self, average: CausalModel) -> dict[str, Any]:
        """The same of held-out items; empty if there are none."""
        if (batch := self.held_out_items()) is None:
            return {}
        return {name: round(value, 4) for name, value in self.measured(average, batch).items()}


def generator_task(
    config: GeneratorTrainConfig,
    store: TokenStore,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    world: World | None = None,
    online: Online | None = None,
) -> MaskedTask | CausalTask:
    """The task of a configuration: classes, and words of a vocabulary, are those of the store.

    Raises `LfqError` where it needs classes and the store has none, or the grids differ.
    """
    shape = replace(config.model, classes=len(store.classes))
    if shape.causal and config.vocabulary == "used":
        shape = replace(shape, words=len(store.used()))
    config = replace(config, model=shape)
    kind = CausalTask if shape.causal else MaskedTask
    return kind(config, store, device=device, precision=precision, world=world, online=online)


def _by(grid: tuple[int, ...]) -> str:
    return "x".join(map(str, grid))


def generator_loop(task: GeneratorTask[Model], out: Path, *, minutes: float | None = None) -> Loop[Model]:
    """The run of a task in the folder `out`, which ends early where `minutes` are over."""
    config = task.config
    loop = Loop(
        task,
        out,
        schedule=config.learning_rates(minutes),
        optimizer=config.optimizer,
        ema=config.ema,
        world=task.world,
    )
    if task.world.leads and not (out / SAMPLING).exists():
        sets = {name: json.loads(each.to_json()) for name, each in config.sampling.items()}
        (out / SAMPLING).write_text(json.dumps(sets, indent=2) + "\n")
    return loop


def export_generator(run: Path) -> tuple[GeneratorConfig, dict[str, Tensor], dict[str, str]]:
    """Averaged weights of a run in half precision, their configuration, and what to write beside them.

    Raises `LfqError` where the run is none of a generator.
    """
    loaded = load_checkpoint(run / CHECKPOINT)
    progress = loaded.progress
    if "generator" not in progress:
        raise LfqError(f"{run}: not a run of a generator")
    try:
        sampling = (run / SAMPLING).read_text()
    except OSError as error:
        raise LfqError(f"{run / SAMPLING}: cannot be read ({error.strerror})") from error
    tensors = {name: _halved(each) for name, each in loaded.groups["ema"].items()}
    metadata = {
        "trained_for": progress["tokenizer"],
        "classes": progress["classes"],
        "sampling": sampling,
        "steps": str(progress["step"]),
    }
    return GeneratorConfig.from_json(progress["generator"]), tensors, metadata


def _halved(tensor: Tensor) -> Tensor:
    """Weights in half precision; the numbers of a vocabulary stay."""
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
