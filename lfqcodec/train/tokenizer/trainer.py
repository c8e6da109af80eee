"""Training of a `magvit2` tokenizer: images first, then clips, from one schedule of phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.tokenizer.registry import parse_config
from lfqcodec.train.checkpoint import copy_into, load_checkpoint
from lfqcodec.train.data import Pack, Prefetcher, SampleConfig, Sampler
from lfqcodec.train.distributed import World
from lfqcodec.train.loop import Loop, Task
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.tokenizer.adversarial import Adversary
from lfqcodec.train.tokenizer.config import TokenizerTrainConfig
from lfqcodec.train.tokenizer.held_out import measure
from lfqcodec.train.tokenizer.objective import Objective, draw


class TokenizerTask(Task[Magvit2Tokenizer]):
    """A tokenizer on random crops of a pack, with the networks that only its losses need.

    It starts from the tensors `init` where there are any.
    """

    def __init__(
        self,
        config: TokenizerTrainConfig,
        pack: Pack,
        *,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        lpips: LPIPS | None = None,
        init: dict[str, Tensor] | None = None,
        world: World | None = None,
    ) -> None:
        super().__init__(device=device, precision=precision, world=world)
        self.config, self.pack = config, pack
        torch.manual_seed(config.seed)
        self.model = Magvit2Tokenizer(config.model).to(self.device)
        if init is not None:
            copy_into(self.model.state_dict(), init, "the model to start from")
        losses = config.losses
        self.lpips = None if lpips is None else lpips.to(self.device)
        self.adversary = None
        if losses.gan:
            self.adversary = Adversary(
                config.discriminator, losses, device=self.device, world=self.world, seed=config.seed
            )
        self._objective = Objective(config, self.world, lpips=self.lpips, adversary=self.adversary)
        self._batches: Prefetcher | None = None
        self._phase = -1

    def identity(self) -> dict[str, str]:
        """The configuration of the model."""
        return {"model": self.config.model.to_json()}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What belongs to the adversary."""
        return {} if self.adversary is None else {"adversary": self.adversary.state()}

    def prepare(self, number: int, average: Magvit2Tokenizer) -> None:
        """Go on to the phase of the step; inflate what was trained on images where videos begin."""
        index, phase = self.config.phase_at(number)
        if index == self._phase:
            return
        self.close()
        self._phase = index
        if self.config.begins_video(number):
            self.model.inflate()
            average.inflate()
            if self.adversary is not None:
                self.adversary.restart()
        skip = self.config.skip_chance
        crops = SampleConfig(phase.batch, phase.frames, phase.size, skip_chance=skip)
        sampler = Sampler(self.pack, crops, seed=self.config.seed)
        rank, size = self.world.rank, self.world.size
        self._batches = Prefetcher(
            lambda step: sampler.batch(step, rank, size),
            device=self.device,
            stop=self.config.first_step(index + 1),
        )

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """The losses; updates the discriminator."""
        assert self._batches is not None
        video = self._batches.batch(number)
        shape = (len(video) * self.world.size, video.shape[2])
        draws = draw(self.config, number, shape, self.world)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output, quantized = self.model(video, draws.kept.to(self.device))
            total, parts = self._objective(video, output, quantized, draws, number)
        total.backward()  # type: ignore[no-untyped-call]
        if self.adversary is not None and "gan" in parts:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                parts |= self.adversary.step(video, output.detach(), rate)
        return parts | {"total": total.detach()}

    def held_out(self, average: Magvit2Tokenizer) -> dict[str, Any]:
        """Figures of `lfqcodec.train.tokenizer.held_out`, on crops like those of the phase."""
        phase = self.config.phases[self._phase]
        seed = self.config.seed + 1
        scores = measure(average, self.pack, phase, seed=seed, lpips=self.lpips)
        return {"phase": f"{phase.batch}x{phase.frames}x{phase.size}", "psnr": []} | scores

    def close(self) -> None:
        """Stop preparing batches."""
        if self._batches is not None:
            self._batches.close()


def tokenizer_loop(task: TokenizerTask, out: Path, *, minutes: float | None = None) -> Loop[Magvit2Tokenizer]:
    """The run of a task in the folder `out`, which ends early where `minutes` are over."""
    config = task.config
    return Loop(
        task,
        out,
        schedule=config.learning_rates(minutes),
        optimizer=config.optimizer,
        ema=config.ema,
        world=task.world,
    )


def export_tokenizer(checkpoint: Path) -> tuple[TokenizerConfig, dict[str, Tensor]]:
    """Averaged weights of a checkpoint as half-precision tensors, with their configuration."""
    loaded = load_checkpoint(checkpoint)
    if "model" not in loaded.progress:
        raise LfqError(f"{checkpoint}: not a checkpoint of a tokenizer")
    config = parse_config(loaded.progress["model"])
    return config, {name: each.half().contiguous() for name, each in loaded.groups["ema"].items()}
