"""The loop of every training run: steps, moving average, measurements, log and checkpoints.

What is trained, and how, is a `Task`: a network, a step that leaves gradients, a measurement. A run is a
folder: `checkpoint.safetensors`, replaced every few minutes, from which the same command goes on, and
`log.jsonl`, a line of JSON for each event.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lfqcodec.errors import LfqError, OutputError
from lfqcodec.train.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from lfqcodec.train.distributed import World
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, Schedule, update_average
from lfqcodec.train.precision import choose_precision

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
Network = TypeVar("Network", bound=nn.Module)


class Task(ABC, Generic[Network]):
    """What a run trains. The loop updates the parameters of `model` and keeps their moving average.

    It computes on `device` in floats of `dtype`, beside the other processes of `world`.
    """

    model: Network

    def __init__(
        self, *, device: torch.device | str = "cpu", precision: str = "auto", world: World | None = None
    ) -> None:
        self.device = torch.device(device)
        self.dtype = choose_precision(precision, self.device)
        self.world = world or World()

    @abstractmethod
    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """Leave the gradients of step `number` (from 0) in `model`; returns 0-dimensional values to log.

        `rate` is the learning rate, for networks that the task updates itself. What is drawn must depend on
        `number` and on PyTorch's own generator alone, so that a resumed run goes on as if never stopped.
        """

    @abstractmethod
    def held_out(self, average: Network) -> dict[str, Any]:
        """What the averaged weights do with data that is not trained on, as JSON."""

    def identity(self) -> dict[str, str]:
        """By name, what a checkpoint must have been made with to be resumed, such as the configuration."""
        return {}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Groups of tensors to keep in checkpoints, besides those of `model`; they are restored in place."""
        return {}

    def rate_factors(self) -> dict[str, float]:
        """By name of a parameter, what its learning rate is multiplied by, if not by 1."""
        return {}

    def prepare(self, number: int, average: Network) -> None:
        """Called before step `number`, for what changes in the middle of a run."""

    def show(self, step: int, average: Network) -> None:
        """Called after the measurement at `step`, where that is done: for what people look at."""

    def close(self) -> None:
        """Called when the run stops."""


class Loop(Generic[Network]):
    """A run in the folder `out`; goes on from its checkpoint where there is one.

    Of several processes (`world`) each steps on its share of the batch; the first one measures and writes.
    Raises `LfqError` where the checkpoint is of another run.
    """

    def __init__(
        self,
        task: Task[Network],
        out: Path,
        *,
        schedule: Schedule,
        optimizer: OptimizerConfig,
        ema: float = 0.999,
        world: World | None = None,
    ) -> None:
        self.task, self.out, self.schedule, self.ema = task, out, schedule, ema
        self.world = world or World()
        self.optimizer = MuonAdam(task.model, optimizer, task.rate_factors())
        self.average = copy.deepcopy(task.model).eval().requires_grad_(False)
        self.step = 0
        self.seconds = 0.0
        self._interrupted = False
        out.mkdir(parents=True, exist_ok=True)
        if (out / CHECKPOINT).exists():
            self._resume()

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """All tensors of the run's state, by what they belong to."""
        own = {
            "model": self.task.model.state_dict(),
            "ema": self.average.state_dict(),
            "optimizer": self.optimizer.state,
        }
        return own | self.task.state()

    def _resume(self) -> None:
        path = self.out / CHECKPOINT
        stored = load_checkpoint(path)
        for name, value in self.task.identity().items():
            if stored.progress.get(name) != value:
                raise LfqError(f"{path}: belongs to a run with another {name}")
        random, groups = stored.groups.pop("random", {}), self._groups()
        if different := sorted(groups.keys() ^ stored.groups.keys()):
            raise LfqError(f"{path}: belongs to a run with other losses ({different[0]})")
        for name, tensors in groups.items():
            copy_into(tensors, stored.groups[name], f"the checkpoint ({name})")
        if "cpu" in random:
            torch.set_rng_state(random["cpu"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])
        self.step, self.seconds = stored.progress["step"], stored.progress["seconds"]
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint, if this is the process that does."""
        if not self.world.leads:
            return
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        progress = {"step": self.step, "seconds": self.seconds, **self.task.identity()}
        save_checkpoint(self.out / CHECKPOINT, Checkpoint(self._groups() | {"random": random}, progress))

    def run(
        self,
        *,
        record: dict[str, Any],
        log_every: int = 50,
        evaluate_every: int = 250,
        evaluate_minutes: float = math.inf,
        save_minutes: float = 3.0,
        stop_after: int | None = None,
    ) -> None:
        """Train to the end of the schedule, or for `stop_after` steps. `record` goes into the log.

        Measures every `evaluate_every` steps, after every `evaluate_minutes`, and at the end.
        After Ctrl-C or SIGTERM the step is finished and the checkpoint written before `KeyboardInterrupt` is
        raised; a second Ctrl-C raises it at once. Raises `LfqError` where a loss is not finite; the last
        checkpoint then stays as it was.
        """
        parameters = sum(p.numel() for p in self.task.model.parameters())
        machine = {"device": self._device(), "processes": self.world.size, "parameters": parameters}
        self._write({"event": "start", **record, **machine})
        last = self.schedule.steps if stop_after is None else min(self.schedule.steps, self.step + stop_after)
        before, began = self.seconds, time.monotonic()
        saved = looked = began
        means = _Means()
        bar = tqdm(
            total=self.schedule.steps if self.schedule.steps < sys.maxsize else None,
            initial=self.step,
            unit="step",
            mininterval=5,
            disable=not self.world.leads,
        )
        with bar, closing(self.task), self._signals():
            stop = self.schedule.progress(self.step, self.seconds) >= 1
            while self.step < last and not stop:
                started = time.monotonic()
                values = self._update()
                now = time.monotonic()
                means.add(values, now - started)
                stop, self.seconds = self._agree(self._interrupted, before + now - began)
                over = self.schedule.progress(self.step, self.seconds) >= 1
                stop = stop or over
                bar.update()
                measured = self.step % evaluate_every == 0 or self.step == last or over
                measured |= now - looked > 60 * evaluate_minutes
                if measured or self.step % log_every == 0:
                    self._write({"event": "training", **means.take()})
                if measured and self.world.leads:
                    scores = self.task.held_out(self.average)
                    bar.write(f"step {self.step}: held-out {scores}")
                    self._write({"event": "evaluation", **scores})
                    self.task.show(self.step, self.average)
                    looked = time.monotonic()
                if now - saved > 60 * save_minutes:
                    self.save()
                    saved = time.monotonic()
            self.save()
            self.world.wait()
        if self._interrupted:
            raise KeyboardInterrupt

    def _update(self) -> dict[str, float]:
        """One step of the task and of the optimizer; what to log, as means over all processes."""
        rate = self.schedule.rate_at(self.step, self.seconds)
        self.task.prepare(self.step, self.average)
        parts = self.task.step(self.step, rate)
        self.world.average_gradients(self.task.model.parameters())
        norm = self.optimizer.step(rate)
        means = self.world.mean(torch.stack([part.detach().float() for part in parts.values()])).tolist()
        values = dict(zip(parts, means, strict=True)) | {"norm": norm}
        if not all(map(math.isfinite, values.values())):
            raise LfqError(f"the loss is not finite at step {self.step}: lower the learning rate")
        self.step += 1
        update_average(self.average, self.task.model, self.ema, self.step)
        return values | {"learning_rate": rate}

    def _agree(self, stop: bool, seconds: float) -> tuple[bool, float]:
        """Whether any process was told to stop, and the time: schedules must not differ between processes."""
        if self.world.size == 1:
            return stop, seconds
        device = next(self.task.model.parameters()).device
        both = self.world.mean(torch.tensor([float(stop), seconds], dtype=torch.float64, device=device))
        return bool(both[0] > 0), float(both[1])

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the run behind the step that is under way."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self._interrupted and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._interrupted = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _device(self) -> str:
        """What trains: the GPU's name, or the CPU and how many of its threads."""
        device = next(self.task.model.parameters()).device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return f"{device.type}, {torch.get_num_threads()} threads"

    def _write(self, row: dict[str, Any]) -> None:
        if self.world.leads:
            row = row | {"step": self.step, "seconds": round(self.seconds, 1)}
            try:
                with (self.out / LOG).open("a") as file:
                    file.write(json.dumps(row) + "\n")
            except OSError as error:
                raise OutputError(f"{self.out / LOG}: {error.strerror}") from error


class _Means:
    """Means of what steps return, since the last time that they were taken."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._seconds: list[float] = []

    def add(self, values: dict[str, float], seconds: float) -> None:
        self._seconds.append(seconds)
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """The means, to five digits, and the steps that a second had; begins anew."""
        row = {name: float(f"{sum(each) / len(each):.5g}") for name, each in self._values.items()}
        row["steps_per_second"] = round(len(self._seconds) / sum(self._seconds), 3)
        self._values, self._seconds = {}, []
        return row
