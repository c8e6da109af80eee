"""Training of the rate model of `motion` on a store of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfqcodec.bitstream.geometry import Layer
from lfqcodec.errors import LfqError
from lfqcodec.prior.motion.config import MotionPriorConfig
from lfqcodec.prior.motion.group import Past
from lfqcodec.prior.motion.weights import MotionPriorWeights
from lfqcodec.train.checkpoint import copy_into, load_checkpoint
from lfqcodec.train.loop import Loop, Task
from lfqcodec.train.optim import OptimizerConfig, Schedule
from lfqcodec.train.prior.motion.examples import Examples, Tokens, group_examples
from lfqcodec.train.prior.motion.network import MotionPriorNetwork
from lfqcodec.train.prior.motion.tokens import Gop, TokenStore

NEW_FASTER = 4.0
"""How much higher the learning rate of networks is that begin with nothing, beside those that go on."""


@dataclass(frozen=True)
class MotionPriorTrainConfig:
    """All that a run depends on, besides the tokens.

    A step learns from `batch` positions for each network; `examples` are kept of each, at most.
    """

    steps: int
    batch: int = 1024
    examples: int = 300_000
    seed: int = 0
    learning_rate: float = 4e-3
    warmup: int = 50
    ema: float = 0.98
    model: MotionPriorConfig = field(default_factory=MotionPriorConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(muon=False, clip=100.0))


def gather(
    config: MotionPriorConfig, store: TokenStore, gops: list[Gop], most: int, seed: int = 0
) -> dict[str, Examples]:
    """Examples by network, at most `most` of each."""
    rng = np.random.default_rng(seed)
    share = max(1, 4 * most // max(1, len(gops)))
    found: dict[str, list[Examples]] = {}
    for gop in gops:
        of_gop: dict[str, list[Examples]] = {}
        past = Past()
        for tokens in store.tokens(gop):
            parts, past = group_examples(config, layers_of(tokens), tokens, past)
            for _, network, examples in parts:
                of_gop.setdefault(network, []).append(examples)
        for network, each in of_gop.items():
            found.setdefault(network, []).append(_some(_joined(each), share, rng))
    return {network: _some(_joined(each), most, rng) for network, each in found.items()}


def layers_of(tokens: Tokens) -> tuple[Layer, ...]:
    """The layers of a group from its tokens; streams do not matter here."""
    return tuple(Layer(name, 0, (array.shape[0], *array.shape[1:])) for name, array in tokens.items())


def _joined(parts: list[Examples]) -> Examples:
    return Examples(
        np.concatenate([part.features for part in parts]), np.concatenate([part.subtokens for part in parts])
    )


def _some(examples: Examples, most: int, rng: np.random.Generator) -> Examples:
    if len(examples.features) <= most:
        return examples
    chosen = rng.choice(len(examples.features), most, replace=False)
    return Examples(examples.features[chosen], examples.subtokens[chosen])


class MotionPriorTask(Task[MotionPriorNetwork]):
    """A rate model on the positions of a store; it begins with `init`, or with nothing.

    Networks that `init` lacks learn four times as fast as those that it has.

    Raises `LfqError` where some network has no positions, and `WeightsError` where `init` does not fit.
    """

    def __init__(
        self, config: MotionPriorTrainConfig, store: TokenStore, init: MotionPriorWeights | None = None
    ) -> None:
        self.config, self.store = config, store
        torch.manual_seed(config.seed)
        self.model = MotionPriorNetwork(config.model)
        self._new = set() if init is None else self.model.load(init)
        training = [gop for gop in store.gops if not gop.held_out]
        self._held_out = [gop for gop in store.gops if gop.held_out]
        self._examples = gather(config.model, store, training, config.examples, config.seed)
        self._measured = gather(config.model, store, self._held_out, 1 << 30)
        if missing := set(self.model.names) - self._examples.keys():
            raise LfqError(f"the tokens have nothing to learn {min(missing)} from")

    def identity(self) -> dict[str, str]:
        """The prior's configuration, and the SHA-256 of the tokenizer."""
        return {"prior": self.config.model.to_json(), "tokenizer": self.store.tokenizer}

    def rate_factors(self) -> dict[str, float]:
        """See `Task`."""
        return {each: NEW_FASTER for name in self._new for each in self.model.parameters_of(name)}

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """The bits for each position of the batch, by network."""
        rng = np.random.default_rng((self.config.seed, number))
        values = {}
        for name, examples in self._examples.items():
            chosen = rng.integers(0, len(examples.features), self.config.batch)
            bits = self.model.bits(name, *_tensors(examples, chosen)).mean()
            bits.backward()  # type: ignore[no-untyped-call]
            values[name] = bits.detach()
        return values

    @torch.no_grad()
    def held_out(self, average: MotionPriorNetwork) -> dict[str, Any]:
        """Bits per pixel of all layers, rounded as in inference (`bpp`) and not (`float`), and by network."""
        pixels = max(1, sum(gop.pixels for gop in self._held_out))
        totals: dict[str, list[float]] = {}
        for name, examples in self._measured.items():
            for begin in range(0, len(examples.features), 1 << 14):
                batch = _tensors(examples, slice(begin, begin + (1 << 14)))
                for k, rounded in enumerate((True, False)):
                    bits = average.bits(name, *batch, rounded=rounded).sum()
                    totals.setdefault(name, [0.0, 0.0])[k] += float(bits) / pixels
        sums = [round(sum(each[k] for each in totals.values()), 6) for k in (0, 1)]
        return {"bpp": sums[0], "float": sums[1]} | {name: round(v[0], 6) for name, v in totals.items()}


def _tensors(examples: Examples, chosen: Any) -> tuple[Tensor, Tensor]:
    features = torch.from_numpy(examples.features[chosen]).float()
    return features, torch.from_numpy(examples.subtokens[chosen]).long()


def motion_prior_loop(
    task: MotionPriorTask, out: Path, *, minutes: float | None = None
) -> Loop[MotionPriorNetwork]:
    """The run of a task in the folder `out`, which ends early where `minutes` are over."""
    c = task.config
    schedule = Schedule(c.steps, c.learning_rate, c.warmup, "cosine", minutes=minutes)
    return Loop(task, out, schedule=schedule, optimizer=c.optimizer, ema=c.ema)


def export_motion_prior(checkpoint: Path) -> tuple[MotionPriorWeights, dict[str, str]]:
    """Averaged weights of a checkpoint as integers, and what to write beside them: tokenizer and steps."""
    loaded = load_checkpoint(checkpoint)
    if "prior" not in loaded.progress:
        raise LfqError(f"{checkpoint}: not a checkpoint of a prior")
    network = MotionPriorNetwork(MotionPriorConfig.from_json(loaded.progress["prior"]))
    copy_into(network.state_dict(), loaded.groups["ema"], "the checkpoint")
    metadata = {"trained_for": loaded.progress["tokenizer"], "steps": str(loaded.progress["step"])}
    return network.export(), metadata
