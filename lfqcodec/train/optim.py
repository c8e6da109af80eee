"""What updates weights: Muon for the pointwise layers, Adam for everything else, and their learning rate.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest semi-orthogonal matrix, found with
Newton-Schulz iterations. torch.optim.Muon takes 2D parameters only and iterates in bfloat16, which CPUs
without bf16 units emulate slowly; here the iterations run in float32, batched over matrices of one shape.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lfqcodec.errors import LfqError

_AT_ONCE = 1 << 26
"""Numbers that Adam updates at once. For a moment it needs as many more, 256 MiB."""


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of a run. It ends after `steps`, or after `minutes` if those are over before.

    A rise in a line over `warmup` steps, then `cosine`, half a turn to zero at the end, or `linear`: constant
    until the last `decay` steps, or their share of the minutes, and then in a line to zero.
    """

    steps: int
    learning_rate: float
    warmup: int = 0
    shape: str = "linear"
    decay: int = 0
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.shape not in ("cosine", "linear"):
            raise LfqError(f"schedule must be cosine or linear, not {self.shape!r}")

    def progress(self, step: int, seconds: float = 0.0) -> float:
        """The part of the run that is over before step `step` (from 0), `seconds` after its start; 1: all."""
        passed = step / self.steps
        return passed if self.minutes is None else max(passed, seconds / (60 * self.minutes))

    def rate_at(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate of step `step`, from 0."""
        left = max(0.0, 1 - self.progress(step, seconds))
        if self.shape == "linear":
            factor = min(1.0, left * self.steps / max(1, self.decay))
        else:
            behind = min(1.0, left / (1 - min(0.99, self.warmup / self.steps)))
            factor = 0.5 * (1 - math.cos(math.pi * behind))
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup)) * factor


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam's `betas` and `eps`; Muon's `momentum`, and the size of its updates, `muon_scale`.

    Each update takes `weight_decay` times the learning rate off the weights of `nn.Linear` layers (AdamW).
    Gradients longer than `clip`, all together, are shortened to it. With `sgd` the rest is updated by
    gradients with `momentum`, in place of Adam.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    momentum: float = 0.95
    muon: bool = True
    sgd: bool = False
    muon_scale: float = 0.2
    weight_decay: float = 0.0
    clip: float = 1.0


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly: float [N, m, n] with m <= n -> the same shape."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x  # type: ignore[no-any-return]


class MuonAdam:
    """One optimizer over the named parameters of a model. `state` is all of its state, by name.

    `factors`, by name, multiply the learning rate of parameters that Muon does not update.
    """

    def __init__(
        self, model: nn.Module, config: OptimizerConfig, factors: Mapping[str, float] | None = None
    ) -> None:
        self.config, self._factors = config, factors or {}
        self.parameters = dict(model.named_parameters())
        self.updates = torch.zeros((), dtype=torch.int64)
        self.state: dict[str, Tensor] = {"updates": self.updates}
        self._matrices: dict[tuple[int, int], list[str]] = defaultdict(list)
        self._adam: list[str] = []
        self._plain: list[str] = []
        self._decayed = {
            f"{name}.weight".lstrip(".")
            for name, each in model.named_modules()
            if isinstance(each, nn.Linear)
        }
        for name, p in self.parameters.items():
            inner = p.ndim == 4 and p.shape[2:] == (1, 1) and min(p.shape[:2]) >= 32
            if config.muon and inner and not name.startswith("quantizer"):
                self._matrices[(min(p.shape[:2]), max(p.shape[:2]))].append(name)
                self.state[f"{name}.momentum"] = torch.zeros_like(p)
            elif config.sgd:
                self._plain.append(name)
                self.state[f"{name}.momentum"] = torch.zeros_like(p)
            else:
                self._adam.append(name)
                self.state[f"{name}.mean"] = torch.zeros_like(p)
                self.state[f"{name}.square"] = torch.zeros_like(p)

    @torch.no_grad()
    def step(self, lr: float) -> float:
        """Update all parameters that have a gradient and clear the gradients. Returns the gradient norm."""
        self.updates += 1
        live = [p for p in self.parameters.values() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(live, self.config.clip))
        if self.config.weight_decay:
            for name in self._decayed:
                if (p := self.parameters[name]).grad is not None:
                    p.mul_(1 - lr * self._factors.get(name, 1.0) * self.config.weight_decay)
        for names in self._matrices.values():
            self._muon_step([n for n in names if self.parameters[n].grad is not None], lr)
        self._adam_step([n for n in self._adam if self.parameters[n].grad is not None], lr)
        for name in self._plain:
            p, buffer = self.parameters[name], self.state[f"{name}.momentum"]
            if p.grad is not None:
                buffer.mul_(self.config.momentum).add_(p.grad)
                p.sub_(buffer, alpha=lr * self._factors.get(name, 1.0))
        for p in live:
            p.grad = None
        return norm

    def _muon_step(self, names: list[str], lr: float) -> None:
        if not names:
            return
        beta = self.config.momentum
        directions = []
        for name in names:
            grad = self.parameters[name].grad
            assert grad is not None
            buffer = self.state[f"{name}.momentum"]
            buffer.lerp_(grad, 1 - beta)
            matrix = grad.lerp(buffer, beta)[:, :, 0, 0]
            directions.append(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT)
        stack = orthogonalise(torch.stack(directions))
        # An update of root-mean-square muon_scale * lr, the size of a typical Adam step.
        scale = self.config.muon_scale * max(stack.shape[1:]) ** 0.5
        for name, update in zip(names, stack, strict=True):
            p = self.parameters[name]
            flat = update if p.shape[0] <= p.shape[1] else update.mT
            p.sub_(flat[:, :, None, None], alpha=lr * scale)

    def _adam_step(self, names: list[str], lr: float) -> None:
        for part in self._parts(names):
            self._adam_part(part, lr)

    def _parts(self, names: list[str]) -> Iterator[list[str]]:
        """The names in parts of at most `_AT_ONCE` numbers, or of one parameter."""
        part: list[str] = []
        size = 0
        for name in names:
            count = self.parameters[name].numel()
            if part and size + count > _AT_ONCE:
                yield part
                part, size = [], 0
            part.append(name)
            size += count
        if part:
            yield part

    def _adam_part(self, names: list[str], lr: float) -> None:
        b1, b2 = self.config.betas
        updates = int(self.updates)
        correction = (1 - b2**updates) ** 0.5 / (1 - b1**updates)
        parameters: list[Tensor] = [self.parameters[name] for name in names]
        gradients = [p.grad for p in parameters if p.grad is not None]
        means, squares = ([self.state[f"{name}.{part}"] for name in names] for part in ("mean", "square"))
        # Many at once: on a GPU the parameters are too many and too small for an operation each.
        torch._foreach_lerp_(means, gradients, 1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - b2)
        lengths = torch._foreach_sqrt(squares)
        torch._foreach_add_(lengths, self.config.eps)
        rates = [-lr * correction * self._factors.get(name, 1.0) for name in names]
        torch._foreach_addcdiv_(parameters, means, lengths, rates)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, momentum: float, step: int) -> None:
    """Move the parameters of `average` towards those of `model`, after update number `step` (from 1)."""
    # A young average must not be dominated by the initial weights.
    momentum = min(momentum, step / (step + 10))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - momentum)
