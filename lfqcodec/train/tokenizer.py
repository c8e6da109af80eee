"""The tokenizer trainer: images first, then clips, from one schedule of phases."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lfqcodec.errors import LfqError
from lfqcodec.prior.weights import PriorWeights
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.registry import build_tokenizer, parse_config
from lfqcodec.train.adversarial import Adversary
from lfqcodec.train.checkpoint import Checkpoint, copy_into, load_checkpoint, save_checkpoint
from lfqcodec.train.choice import TokenChoice
from lfqcodec.train.config import Phase, TrainConfig
from lfqcodec.train.data import Pack, Prefetcher, SampleConfig, Sampler
from lfqcodec.train.distributed import World
from lfqcodec.train.held_out import HeldOut
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.objective import Objective, draw
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, update_average
from lfqcodec.train.prior_net import PriorNet
from lfqcodec.train.rate_model import BitModel
from lfqcodec.train.rate_prior import PriorRate

log = logging.getLogger(__name__)

_RATE_MODEL_RATE = 1e-3


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
    """Holds a run's state; `run` goes on from wherever the folder's last checkpoint stopped.

    A new run starts from the tensors `init` where there are any, else from what the architecture makes of
    the data. `tokens_of` is what `Model.tokens_of` of those tensors says, if only a part is trained on.
    The rate is estimated by `prior`, which is trained along, or by a small model of this run's own. Tokens
    are chosen by `prior`, too.
    Of several processes (`world`) each trains on its share of the batch; the first one writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        pack: Pack,
        out: Path,
        *,
        device: str = "cpu",
        precision: str = "auto",
        lpips: LPIPS | None = None,
        init: dict[str, Tensor] | None = None,
        tokens_of: str = "",
        prior: PriorWeights | None = None,
        world: World | None = None,
    ) -> None:
        self.config, self.pack, self.out = config, pack, out
        self.world = world or World()
        self.device = torch.device(device)
        self.dtype = choose_precision(precision, self.device)
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = build_tokenizer(config.model).to(self.device)
        self.lpips = None if lpips is None else lpips.to(self.device)
        self.rate_model = self._rate_model(prior) if config.losses.rate else None
        self.chooser = self._chooser(prior) if config.choice.share else None
        self.adversary = self._adversary() if config.losses.gan else None
        self.objective = Objective(
            config, self.world, lpips=self.lpips, rate_model=self.rate_model, adversary=self.adversary
        )
        self.tokens_of = "" if config.trained == "all" else tokens_of
        self.step = 0
        self.seconds = 0.0
        self.checkpoint_path = out / "checkpoint.safetensors"
        resumed = self.checkpoint_path.exists()
        if init is not None and not resumed:
            copy_into(self.model.state_dict(), init, "the model to start from")
        elif not resumed:
            sampler = Sampler(pack, SampleConfig(256, 1, config.phases[0].size), seed=config.seed)
            self.model.initialise_from(sampler.batch(2**31)[:, :, 0].to(self.device))
        if config.trained != "all":
            self.model.requires_grad_(False)
            quantizer = self.model.quantizer
            parts = {"decoder": (self.model.decoder,), "encoder": (self.model.encoder, quantizer.project)}
            for part in parts[config.trained]:
                part.requires_grad_(True)
        self.optimizer = MuonAdam(self.model, config.optimizer)
        self.rate_optimizer = None
        if self.rate_model is not None:
            muon = isinstance(self.rate_model, PriorRate)
            self.rate_optimizer = MuonAdam(self.rate_model, OptimizerConfig(muon=muon))
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.held_out = HeldOut(
            config,
            pack,
            lpips=self.lpips,
            rate_model=self.rate_model,
            chooser=self.chooser,
            device=self.device,
        )
        if resumed:
            self._resume()

    def _rate_model(self, prior: PriorWeights | None) -> BitModel | PriorRate:
        model = self.config.model
        if prior is None:
            return BitModel(model.latent_channels, model.bits, model.stages).to(self.device)
        if prior.config.stages != model.stages:
            raise LfqError(f"the prior knows {prior.config.stages} stages, and the model has {model.stages}")
        return PriorRate(prior).to(self.device)

    def _chooser(self, prior: PriorWeights | None) -> PriorNet:
        if prior is None:
            raise LfqError("choice.share takes a prior: --prior")
        if isinstance(self.rate_model, PriorRate):
            return self.rate_model.net
        net = PriorNet(prior.config)
        net.load_integers(prior)
        return net.eval().requires_grad_(False).to(self.device)

    def _adversary(self) -> Adversary:
        c = self.config
        return Adversary(c.discriminator, c.losses, device=self.device, world=self.world, seed=c.seed)

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """All tensors of the run's state, by what they belong to."""
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state,
        }
        if self.rate_model is not None and self.rate_optimizer is not None:
            groups["rate"] = self.rate_model.state_dict()
            groups["rate_optimizer"] = self.rate_optimizer.state
        if self.adversary is not None:
            groups["adversary"] = self.adversary.state()
        return groups

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.checkpoint_path)
        stored = parse_config(checkpoint.progress["model"])
        if stored != self.config.model:
            raise LfqError(f"{self.checkpoint_path}: belongs to another model configuration")
        groups = self._groups()
        if missing := sorted(groups.keys() - checkpoint.groups.keys()):
            raise LfqError(f"{self.checkpoint_path}: the run had other losses (there is no {missing[0]})")
        for name, tensors in groups.items():
            copy_into(tensors, checkpoint.groups[name], f"the checkpoint ({name})")
        self.tokens_of = checkpoint.progress.get("tokens_of", self.tokens_of)
        self.step = checkpoint.progress["step"]
        self.seconds = checkpoint.progress["seconds"]
        self.optimizer.updates = self.step
        if self.rate_optimizer is not None:
            self.rate_optimizer.updates = checkpoint.progress["rate_updates"]
        if self.adversary is not None:
            self.adversary.optimizer.updates = checkpoint.progress["adversary_updates"]
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint, if this is the process that does."""
        if not self.world.leads:
            return
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.config.model.to_json(),
            "tokens_of": self.tokens_of,
            "rate_updates": 0 if self.rate_optimizer is None else self.rate_optimizer.updates,
            "adversary_updates": 0 if self.adversary is None else self.adversary.optimizer.updates,
        }
        if isinstance(self.rate_model, PriorRate):
            progress["rate_prior"] = self.rate_model.net.config.to_json()
        save_checkpoint(self.checkpoint_path, Checkpoint(self._groups(), progress))

    def train_step(self, video: Tensor) -> dict[str, float]:
        """One update with this process's clips, float32 [B, 3, T, S, S]. Returns the parts of the loss."""
        shape = (len(video) * self.world.size, video.shape[2], video.shape[3])
        draws = draw(self.config, self.step, shape, self.world)
        kept = draws.kept.to(self.device)
        choose = None
        if self.chooser is not None:
            choose = TokenChoice(self.chooser, self.config.choice, draws.lambdas.to(self.device), kept)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output, quantized = self.model(video, kept, choose)
            total, parts = self.objective(video, output, quantized, draws, self.step)
        total.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(self.model.parameters())
        parts["total"] = total.detach()
        norm = self.optimizer.step(self.config.rate_at(self.step))
        if self.rate_optimizer is not None and "rate" in parts:
            assert self.rate_model is not None
            self.world.average_gradients(self.rate_model.parameters())
            rate = _RATE_MODEL_RATE
            if isinstance(self.rate_model, PriorRate):
                # It is trained already: it only has to follow, and to settle as the tokenizer does.
                rate *= self.config.rate_at(self.step) / self.config.learning_rate
            self.rate_optimizer.step(rate)
        if self.adversary is not None and "gan" in parts:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                parts |= self.adversary.step(video, output.detach(), self.config.rate_at(self.step))
        names = sorted(parts)
        means = self.world.mean(torch.stack([parts[name].float() for name in names])).tolist()
        values = dict(zip(names, means, strict=True)) | {"norm": norm}
        if not all(map(_finite, values.values())):
            raise LfqError(f"the loss is not finite at step {self.step}: lower the learning rate")
        self.step += 1
        update_average(self.ema, self.model, self.config.ema, self.step)
        return values

    def run(
        self, *, evaluate_every: int = 250, save_minutes: float = 3.0, stop_after: int | None = None
    ) -> None:
        """Train to the end of the schedule (or for `stop_after` steps), logging to `log.jsonl`."""
        record = dataclasses.asdict(self.config) | {
            "precision": str(self.dtype),
            "device": device_name(self.device),
            "processes": self.world.size,
        }
        self._write(record | {"event": "start", "step": self.step, "parameters": self.parameter_count()})
        last = self.config.steps if stop_after is None else min(self.config.steps, self.step + stop_after)
        progress = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            mininterval=5,
            disable=not self.world.leads,
        )
        try:
            while self.step < last:
                number, _ = self.config.phase_at(self.step)
                end = min(last, self.config.first_step(number + 1))
                self._run_phase(number, end, last, evaluate_every, save_minutes, progress)
        finally:
            progress.close()
            self.save()
            self.world.wait()

    def _run_phase(
        self,
        number: int,
        end: int,
        last: int,
        evaluate_every: int,
        save_minutes: float,
        progress: tqdm[None],
    ) -> None:
        phase = self.config.phases[number]
        if self.config.begins_video(self.step):
            self._enter_video()
        sampler = Sampler(self.pack, self.config.data.crops(phase), seed=self.config.seed)
        averages: dict[str, float] = {}
        saved = began = time.monotonic()
        clips, clip_seconds = 0, 0.0
        with Prefetcher(
            sampler, device=self.device, rank=self.world.rank, world=self.world.size, stop=end
        ) as batches:
            while self.step < end:
                for name, value in self.train_step(batches.batch(self.step)).items():
                    averages[name] = 0.98 * averages.get(name, value) + 0.02 * value
                progress.update()
                now = time.monotonic()
                clips, clip_seconds = clips + phase.batch, clip_seconds + now - began
                self.seconds, began = self.seconds + now - began, now
                if self.step % evaluate_every == 0 or self.step == last:
                    row = {name: round(value, 5) for name, value in averages.items()}
                    row["clips_per_second"] = round(clips / clip_seconds, 3)
                    self._report(phase, row, progress)
                    clips, clip_seconds, began = 0, 0.0, time.monotonic()
                if now - saved > 60 * save_minutes:
                    self.save()
                    saved = began = time.monotonic()

    def _report(self, phase: Phase, row: dict[str, float], progress: tqdm[None]) -> None:
        if not self.world.leads:
            return
        scores = self.held_out.measure(self.ema, phase)
        progress.write(f"step {self.step}: held-out, by stages: {scores}")
        shape = f"{phase.batch}x{phase.frames}x{phase.size}"
        self._write({"event": "evaluation", "step": self.step, "phase": shape, "psnr": []} | scores | row)

    def _enter_video(self) -> None:
        self.model.inflate()
        self.ema.inflate()
        if self.adversary is not None:
            self.adversary.restart()
        log.info("step %d: image weights inflated to video", self.step)

    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def _write(self, row: dict[str, Any]) -> None:
        if not self.world.leads:
            return
        row = row | {"seconds": round(self.seconds, 1)}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _finite(value: float) -> bool:
    return abs(value) < float("inf")


def device_name(device: torch.device) -> str:
    """What trains: the GPU's name, or the CPU and how many of its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def export_tokenizer(checkpoint: Path) -> tuple[TokenizerConfig, dict[str, Tensor], dict[str, str]]:
    """Averaged weights of a checkpoint as half-precision tensors, with their configuration and metadata."""
    loaded = load_checkpoint(checkpoint)
    config = parse_config(loaded.progress["model"])
    tokens_of = loaded.progress.get("tokens_of")
    metadata = {"tokens_of": str(tokens_of)} if tokens_of else {}
    return config, {name: each.half().contiguous() for name, each in loaded.groups["ema"].items()}, metadata


__all__ = [
    "Phase",
    "TokenizerTrainer",
    "TrainConfig",
    "choose_precision",
    "export_tokenizer",
]
