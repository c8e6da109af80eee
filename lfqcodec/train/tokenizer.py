"""The tokenizer trainer: images first, then clips, from one schedule of phases."""

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
from torch import Tensor, nn
from tqdm import tqdm

from lfqcodec.config import TokenizerConfig, padded_frames
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.base import BaseTokenizer
from lfqcodec.train.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from lfqcodec.train.data import Pack, SampleConfig, Sampler
from lfqcodec.train.losses import psnr, ssim
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, update_average

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """`steps` batches of `batch` crops of `frames` x `size` x `size`. frames = 1 trains on images."""

    steps: int
    batch: int
    frames: int
    size: int

    @classmethod
    def parse(cls, text: str) -> Phase:
        """Read `STEPS:BATCHxFRAMESxSIZE`, for example 3000:16x1x128."""
        try:
            steps, shape = text.split(":")
            batch, frames, size = (int(part) for part in shape.split("x"))
            phase = cls(int(steps), batch, frames, size)
        except ValueError as error:
            raise LfqError(f"{text!r} is not a phase (STEPS:BATCHxFRAMESxSIZE)") from error
        if min(phase.steps, batch, frames, size) < 1 or size % 8:
            raise LfqError(f"{text!r}: all parts must be positive and SIZE a multiple of 8")
        if frames != padded_frames(frames, gop_start=True):
            raise LfqError(f"{text!r}: FRAMES must be 1 + 4k")
        return phase


@dataclass(frozen=True)
class TrainConfig:
    """All that a run depends on, besides the data. Loss weights are for frames in [-1, 1].

    The first frame of a clip counts `first_frame_weight` times in L1 and MSE: the others lean on it.
    """

    phases: tuple[Phase, ...]
    seed: int = 0
    learning_rate: float = 2e-3
    warmup: int = 100
    decay: int = 1000
    ema: float = 0.999
    l1_weight: float = 1.0
    mse_weight: float = 10.0
    ssim_weight: float = 0.1
    commitment_weight: float = 0.02
    entropy_weight: float = 0.005
    first_frame_weight: float = 4.0
    max_shrink: float = 2.0
    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[int, Phase]:
        """Number and description of the phase that step `step` (from 0) belongs to."""
        for number, phase in enumerate(self.phases):
            if step < phase.steps:
                return number, phase
            step -= phase.steps
        return len(self.phases) - 1, self.phases[-1]

    def rate_at(self, step: int) -> float:
        """Learning rate: linear warm-up, constant, linear decay to zero over the last `decay` steps."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cool = min(1.0, (self.steps - step) / max(1, self.decay))
        return self.learning_rate * warm * cool


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 on CUDA, and on a CPU whichever of fp32 and bf16 runs a typical layer faster here."""
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = nn.Conv2d(192, 192, 1).to(dtype)
        x = torch.zeros(4, 192, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            layer(x)
            start = time.perf_counter()
            for _ in range(3):
                layer(x)
        seconds[dtype] = time.perf_counter() - start
    return min(seconds, key=lambda dtype: seconds[dtype])


class TokenizerTrainer:
    """Holds a run's state; `run` goes on from wherever the folder's last checkpoint stopped."""

    def __init__(
        self, config: TrainConfig, pack: Pack, out: Path, *, device: str = "cpu", precision: str = "auto"
    ) -> None:
        self.config, self.pack, self.out = config, pack, out
        self.device = torch.device(device)
        self.dtype = choose_precision(precision, self.device)
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = BaseTokenizer(config.model).to(self.device)
        self.step = 0
        self.seconds = 0.0
        self.checkpoint_path = out / "checkpoint.safetensors"
        resumed = self.checkpoint_path.exists()
        if not resumed:
            sampler = Sampler(pack, SampleConfig(256, 1, config.phases[0].size), seed=config.seed)
            self.model.initialise_from(sampler.batch(2**31)[:, :, 0].to(self.device))
        self.optimizer = MuonAdam(self.model, config.optimizer)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        if resumed:
            self._resume()

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.checkpoint_path)
        stored = TokenizerConfig.from_json(checkpoint.progress["model"])
        if stored != self.config.model:
            raise LfqError(f"{self.checkpoint_path}: belongs to another model configuration")
        copy_into(self.model.state_dict(), checkpoint.groups["model"], "the checkpoint")
        copy_into(self.ema.state_dict(), checkpoint.groups["ema"], "the checkpoint")
        copy_into(self.optimizer.state, checkpoint.groups["optimizer"], "the optimizer state")
        self.step = checkpoint.progress["step"]
        self.seconds = checkpoint.progress["seconds"]
        self.optimizer.updates = self.step
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint."""
        progress = {"step": self.step, "seconds": self.seconds, "model": self.config.model.to_json()}
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state,
        }
        save_checkpoint(self.checkpoint_path, Checkpoint(groups, progress))

    def loss(self, video: Tensor, kept: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Weighted loss of one batch and its parts."""
        c = self.config
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output, quantized = self.model(video, kept)
        flat, target = (x.float().transpose(1, 2).flatten(0, 1) for x in (output, video))
        frames = video.shape[2]
        weight = flat.new_ones(frames)
        weight[0] = c.first_frame_weight
        weight = (weight / weight.mean()).repeat(len(video)).view(-1, 1, 1, 1)
        error = flat - target
        parts = {
            "l1": (error.abs() * weight).mean(),
            "mse": (error.square() * weight).mean(),
            "ssim": 1 - ssim(flat, target),
            "commitment": quantized.commitment,
            "entropy": quantized.entropy,
        }
        total = sum(
            (getattr(c, f"{name}_weight") * value for name, value in parts.items()), flat.new_zeros(())
        )
        return total, {name: float(value) for name, value in parts.items()}

    def train_step(self, sampler: Sampler) -> dict[str, float]:
        """One update. The stages that each clip keeps are drawn uniformly (stage dropout)."""
        video = sampler.batch(self.step).to(self.device)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        kept = torch.randint(1, self.config.model.stages + 1, (len(video),), generator=generator)
        total, parts = self.loss(video, kept.to(self.device))
        if not torch.isfinite(total):
            raise LfqError(f"the loss is not finite at step {self.step}: lower --learning-rate")
        total.backward()  # type: ignore[no-untyped-call]
        parts["norm"] = self.optimizer.step(self.config.rate_at(self.step))
        self.step += 1
        update_average(self.ema, self.model, self.config.ema, self.step)
        return parts

    @torch.no_grad()
    def evaluate(self, phase: Phase, batches: int = 4) -> list[float]:
        """Held-out PSNR of the averaged weights in dB, by number of stages from 1."""
        shape = SampleConfig(
            max(1, min(phase.batch, 8)), phase.frames, phase.size, self.config.max_shrink, 0.0
        )
        try:
            sampler = Sampler(self.pack, shape, seed=self.config.seed + 1, held_out=True)
        except LfqError:
            return []
        rows: list[Tensor] = []
        for number in range(batches):
            video = sampler.batch(number).to(self.device)
            latents, _ = self.ema.encode(video)
            tokens = self.ema.quantize(latents, self.config.model.stages)
            by_stage = [
                psnr(self.ema.decode(self.ema.dequantize(tokens[:, : k + 1]))[0], video)
                for k in range(self.config.model.stages)
            ]
            rows.append(torch.stack(by_stage, 1))
        return [round(float(v), 3) for v in torch.cat(rows).mean(0)]

    def run(
        self, *, evaluate_every: int = 250, save_minutes: float = 3.0, stop_after: int | None = None
    ) -> None:
        """Train to the end of the schedule (or for `stop_after` steps), logging to `log.jsonl`."""
        record = dataclasses.asdict(self.config) | {"precision": str(self.dtype), "device": str(self.device)}
        self._write(record | {"event": "start", "step": self.step, "parameters": self.parameter_count()})
        last = self.config.steps if stop_after is None else min(self.config.steps, self.step + stop_after)
        progress = tqdm(total=self.config.steps, initial=self.step, unit="step", mininterval=5)
        try:
            self._loop(last, evaluate_every, save_minutes, progress)
        finally:
            progress.close()
            self.save()

    def _loop(self, last: int, evaluate_every: int, save_minutes: float, progress: tqdm[None]) -> None:
        saved = began = time.monotonic()
        number, sampler = -1, None
        averages: dict[str, float] = {}
        while self.step < last:
            current, phase = self.config.phase_at(self.step)
            if sampler is None or current != number:
                if current and phase.frames > 1 and self._first_step(current) == self.step:
                    self._enter_video(current)
                number = current
                shape = SampleConfig(phase.batch, phase.frames, phase.size, self.config.max_shrink)
                sampler = Sampler(self.pack, shape, seed=self.config.seed)
            for name, value in self.train_step(sampler).items():
                averages[name] = 0.98 * averages.get(name, value) + 0.02 * value
            progress.update()
            now = time.monotonic()
            self.seconds, began = self.seconds + now - began, now
            if self.step % evaluate_every == 0 or self.step == last:
                scores = self.evaluate(phase)
                progress.write(f"step {self.step}: held-out PSNR by stages {scores} dB")
                row = {name: round(value, 5) for name, value in averages.items()}
                self._write({"event": "evaluation", "step": self.step, "psnr": scores} | row)
                began = time.monotonic()
            if now - saved > 60 * save_minutes:
                self.save()
                saved = time.monotonic()

    def _first_step(self, phase: int) -> int:
        return sum(p.steps for p in self.config.phases[:phase])

    def _enter_video(self, number: int) -> None:
        if self.config.phases[number - 1].frames == 1:
            self.model.inflate()
            self.ema.inflate()
            log.info("step %d: image weights inflated to video", self.step)

    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.model.parameters())

    def _write(self, row: dict[str, Any]) -> None:
        row = row | {"seconds": round(self.seconds, 1)}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def export_tokenizer(checkpoint: Path) -> tuple[TokenizerConfig, dict[str, Tensor]]:
    """Averaged weights of a checkpoint as half-precision tensors, and their configuration."""
    loaded = load_checkpoint(checkpoint)
    config = TokenizerConfig.from_json(loaded.progress["model"])
    return config, {name: tensor.half().contiguous() for name, tensor in loaded.groups["ema"].items()}


__all__ = [
    "Phase",
    "TokenizerTrainer",
    "TrainConfig",
    "choose_precision",
    "export_tokenizer",
]
