"""The two phases of training as tasks of the common loop.

A step is `draw`, `loss` and `keep`, so that `loss` alone can be captured as a CUDA graph.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.motion.encode.lagrangian import BASE
from lfqcodec.tokenizer.motion.encode.search import BETWEEN, LAMBDA
from lfqcodec.tokenizer.motion.fields import half
from lfqcodec.tokenizer.motion.training.compensation import compensate
from lfqcodec.train.data.pack import Pack
from lfqcodec.train.data.prefetch import Prefetcher
from lfqcodec.train.distributed import World
from lfqcodec.train.loop import Task
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.motion.config import PICTURES_OF_STEP, MotionTrainConfig
from lfqcodec.train.motion.data import PRACTISED, Chains, Pictures, held_out_crops
from lfqcodec.train.motion.held_out import measure_groups, measure_intra
from lfqcodec.train.motion.model.networks import Chain, GroupModel, IntraModel, eight_bits, is_rate
from lfqcodec.train.motion.model.objective import Measured, groups_loss, intra_loss, psnr
from lfqcodec.train.motion.model.search import search_for

Network = TypeVar("Network", IntraModel, GroupModel)
Tensors = tuple[Tensor, ...]
_REFERENCE = (1.0, 3.0)
"""How much better first pictures are than the groups behind them, in q: drawn from this range."""
_INITIAL_BATCHES = 8


class MotionTask(Task[Network]):
    """What both phases share. `init` has the tensors to start from; rate networks may be missing there.

    The loss of a step that is not finite, or its gradient, is left out. Raises `WeightsError` where `init`
    does not fit.
    """

    def __init__(
        self,
        model: Network,
        config: MotionTrainConfig,
        init: Mapping[str, Tensor] | None,
        *,
        device: torch.device,
        precision: str,
        lpips: LPIPS | None,
        world: World,
    ) -> None:
        super().__init__(device=device, precision=precision, world=world)
        self.config = config
        self.lpips = None if lpips is None else lpips.to(device)
        rate_steps = 0 if init is None else self._load(model, init)
        self._rate_steps = torch.tensor(rate_steps)
        self._ramp = torch.tensor(config.ramp if init is None else 0)
        self.model = model.to(device)
        self._rates = {name for name, _ in model.named_parameters() if is_rate(name)}

    def _load(self, model: Network, init: Mapping[str, Tensor]) -> int:
        """Returns for how many steps the rate networks learn alone."""
        expected = model.state_dict()
        wrong = {name for name in expected if name in init and init[name].shape != expected[name].shape}
        missing = expected.keys() - init.keys()
        rates = {name for name in expected if is_rate(name)}
        if not (wrong | missing) <= rates:
            raise WeightsError(f"the weights to start from do not fit ({min((wrong | missing) - rates)})")
        broken = {name for name in expected.keys() & init.keys() if not bool(init[name].isfinite().all())}
        if broken:
            raise WeightsError(f"the weights to start from are not finite ({min(broken)})")
        new = bool(wrong | missing)
        used = expected.keys() - rates if new else expected.keys()
        model.load_state_dict(expected | {name: init[name].float() for name in used})
        return self.config.rate_steps if new else 0

    def identity(self) -> dict[str, str]:
        """The configuration of the tokenizer, and the phase."""
        return {"model": self.config.model.to_json(), "phase": self.config.phase}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """How the run began, which says where in its schedule it is."""
        return {"schedule": {"rate_steps": self._rate_steps, "ramp": self._ramp}}

    @property
    def rate_steps(self) -> int:
        """How many steps from the first one on the rate networks learn alone."""
        return int(self._rate_steps)

    @abstractmethod
    def draw(self, number: int) -> Tensors:
        """What step `number` computes its loss from; always of the same shapes."""

    @abstractmethod
    def loss(self, inputs: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        """The loss, means to log as `logged` names them, what `keep` gets. It never waits for a GPU."""

    def keep(self, outputs: Tensors) -> None:
        """What the next step needs of this one."""

    def restart(self) -> None:
        """After a step that was left out."""

    @property
    def variant(self) -> int:
        """Steps of one variant do the same with tensors of the same shapes."""
        return 0

    logged = ("psnr", "perceptual", "bpp")

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        """Leaves no gradients where the loss or one of them is not finite."""
        loss, means, outputs = self.loss(self.draw(number))
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        finite = bool(self.world.mean(torch.isfinite(norm + loss.detach()).float()) == 1)
        alone = number < self.rate_steps
        for name, parameter in self.model.named_parameters():
            if not finite or (alone and name not in self._rates):
                parameter.grad = None
        if not finite:
            self.restart()
            return {"left_out": torch.ones((), device=self.device)}
        self.keep(outputs)
        return dict(zip(self.logged, means, strict=True)) | {"loss": loss, "left_out": loss * 0}

    def _rate_weight(self, number: int) -> Tensor:
        weight = min(1.0, 0.3 + number / int(self._ramp)) if self._ramp else 1.0
        return torch.tensor(weight, device=self.device)

    def _uniform(self, low: float, high: float, number: int, stream: int) -> Tensor:
        """float32 [batch], the same for the same number and process."""
        seed = ((self.config.seed * 8 + stream) << 40) + (number << 8) + self.world.rank
        drawn = torch.rand(self.config.batch, generator=torch.Generator().manual_seed(seed))
        return (low + (high - low) * drawn).to(self.device)

    def _prefetcher(self, source: Pictures | Chains, depth: int) -> Prefetcher:
        many = self.device.type == "cuda"
        return Prefetcher(
            source.batch, device=self.device, depth=6 * depth if many else depth, workers=12 if many else 1
        )


class IntraTask(MotionTask[IntraModel]):
    """First pictures."""

    def __init__(
        self, config: MotionTrainConfig, clips: Pack, init: Mapping[str, Tensor] | None, **common: Any
    ) -> None:
        torch.manual_seed(config.seed)
        super().__init__(IntraModel(config.model), config, init, **common)
        pictures = Pictures(clips, config, self.world.rank, self.world.size)
        if init is None:
            first = torch.cat([pictures.batch(2**31 + n) for n in range(_INITIAL_BATCHES)])
            self.model.initialise_from(first.to(self.device))
        self._best = config.model.intra_levels - 1
        self._held_out = held_out_crops(clips, config)[:, 0].to(self.device)
        self._batches = self._prefetcher(pictures, 2)

    def draw(self, number: int) -> Tensors:
        """Pictures, q, weight of the rate."""
        q = self._uniform(0, self._best, number, 0)
        return self._batches.batch(number), q, self._rate_weight(number)

    def loss(self, inputs: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        """See `intra_loss`."""
        pictures, q, rate_weight = inputs
        measured = intra_loss(self.model, self.lpips, pictures, q, rate_weight, self.dtype)
        return measured.loss, _means(measured), ()

    def held_out(self, average: IntraModel) -> dict[str, Any]:
        """See `measure_intra`; empty where nothing is held out."""
        if not len(self._held_out):
            return {}
        return dict(measure_intra(average, self._held_out, self.lpips).rows)

    def close(self) -> None:
        """Stop preparing batches."""
        self._batches.close()


class GroupsTask(MotionTask[GroupModel]):
    """Groups in chains: each step learns from a segment of a chain and hands its end on to the next.

    `intra` makes the first pictures; it does not learn.
    """

    def __init__(
        self,
        config: MotionTrainConfig,
        clips: Pack,
        init: Mapping[str, Tensor] | None,
        intra: IntraModel,
        **common: Any,
    ) -> None:
        torch.manual_seed(config.seed)
        super().__init__(GroupModel(config.model), config, init, **common)
        self.intra = intra.to(self.device).eval().requires_grad_(False)
        self._best = config.model.anchor_levels - 1, config.model.intra_levels - 1
        chains = Chains(clips, config, self.world.rank, self.world.size)
        self._segments, self._group_size = chains.segments, chains.group_size
        self._held_out = held_out_crops(clips, config).to(self.device)
        self._batches = self._prefetcher(chains, 1)
        # The chain that is under way, and how many of its segments are done.
        self._number = torch.tensor(0 if init is None else PRACTISED)
        self._done = torch.tensor(0)
        empty = torch.zeros(config.batch, 3, config.size, config.size, device=self.device)
        self._chain = Chain(*(each.clone() for each in self.model.first(empty)))
        self._pictures: Tensor | None = None
        if init is None:
            self._initialise(chains)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The chain that is under way."""
        chain = {"number": self._number, "done": self._done} | self._chain._asdict()
        return super().state() | {"chain": chain}

    def draw(self, number: int) -> Tensors:
        """Pictures of a segment, the chain up to there, q, weight of the rate."""
        if self._done >= self._segments(int(self._number)):
            self.restart()
        if self._pictures is None and self.world.size > 1:
            # Checkpoints hold the chain of the first process alone.
            self._done.zero_()
        chain = int(self._number)
        if self._pictures is None:
            self._pictures = self._batches.batch(chain)
        q = self._uniform(0, self._best[0], chain, 0)
        if self._done == 0:
            better = self._uniform(*_REFERENCE, chain, 1)
            self._set(self.model.first(self._first_pictures(self._pictures[:, 0], q + better)))
        start = 1 + PICTURES_OF_STEP * int(self._done)
        return self._pictures[:, start : start + PICTURES_OF_STEP], *self._chain, q, self._rate_weight(number)

    def loss(self, inputs: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        """See `groups_loss`."""
        pictures, picture, values, field, q, rate_weight = inputs
        measured, chain = groups_loss(
            self.model,
            self.lpips,
            pictures,
            Chain(picture, values, field),
            q,
            rate_weight,
            self.dtype,
            self.variant,
        )
        return measured.loss, _means(measured), chain

    @property
    def variant(self) -> int:
        """The size of the groups of the chain that is under way."""
        return self._group_size(int(self._number))

    def keep(self, outputs: Tensors) -> None:
        """Go on in the chain."""
        self._set(Chain(*outputs))
        self._done += 1

    def restart(self) -> None:
        """Begin the next chain."""
        self._number += 1
        self._done.zero_()
        self._pictures = None

    @torch.no_grad()
    def _set(self, chain: Chain) -> None:
        chain = chain._replace(picture=eight_bits(chain.picture))
        for mine, given in zip(self._chain, chain, strict=True):
            mine.copy_(given)

    @torch.no_grad()
    def _first_pictures(self, pictures: Tensor, q: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            decoded, _ = self.intra(pictures, q.clamp(max=self._best[1]))
        return eight_bits(decoded)

    @torch.no_grad()
    def _initialise(self, chains: Chains) -> None:
        """The linear paths from what motion compensation alone leaves."""
        anchors, middles, search = [], [], search_for(self.device)
        for number in range(_INITIAL_BATCHES):
            pictures = chains.batch(2**31 + number)[:, :5].to(self.device)
            q = self._uniform(0, self._best[0], 2**20 + number, 0)
            lam = LAMBDA * BASE ** (-q / 2)
            first, last = (self._first_pictures(pictures[:, n], q + 1) for n in (0, 4))
            earlier, later = (search.reference(each) for each in (first, last))
            zero = self.model.first(first).field
            field = search.anchor(pictures[:, 4], earlier, zero, lam)
            anchors.append(pictures[:, 4] - compensate(first, field))
            base, lam = half(field), lam * BETWEEN
            field = search.between(pictures[:, 2], earlier, later, base, lam)
            middles.append(pictures[:, 2] - (compensate(first, field) + compensate(last, -field)) / 2)
        self.model.anchor.initialise_from(torch.cat(anchors))
        self.model.between.initialise_from(torch.cat(middles))

    def held_out(self, average: GroupModel) -> dict[str, Any]:
        """Figures of groups of 4, and under `groups of 1` of 1; empty where nothing is held out."""
        if not len(self._held_out):
            return {}
        four, one = (
            measure_groups(average, self.intra, self._held_out, self.lpips, size).rows for size in (4, 1)
        )
        return {**four, "groups of 1": one}

    def close(self) -> None:
        """Stop preparing batches."""
        self._batches.close()


def _means(measured: Measured) -> Tensors:
    means = psnr(measured.error), measured.perceptual, measured.bpp.sum(-1)
    return tuple(each.detach().mean() for each in means)
