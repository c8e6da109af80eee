"""The loop on a CUDA device: the whole step as one CUDA graph, from the loss to fused Adam.

On other devices it does the same without a graph, which serves to try it.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from lfqcodec.train.loop import Loop
from lfqcodec.train.motion.model.networks import GroupModel, IntraModel
from lfqcodec.train.motion.tasks import MotionTask, Tensors
from lfqcodec.train.optim import MuonAdam, update_average

Network = TypeVar("Network", IntraModel, GroupModel)
_WARM = 2


class GraphLoop(Loop[Network]):
    """The common loop, whose steps are replays of a graph. Its figures are those of the step before.

    The optimizer's state is that of `MuonAdam`, so a checkpoint goes on with or without a GPU.
    """

    task: MotionTask[Network]
    _adam: _FusedAdam | None = None
    _last: _CapturedStep | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._captured: dict[int, _CapturedStep] = {}

    def _update(self) -> dict[str, float]:
        task = self.task
        if self.step < task.rate_steps:
            return super()._update()
        rate = self.schedule.rate_at(self.step, self.seconds)
        inputs = task.draw(self.step)
        if self._adam is None:
            self._adam = _FusedAdam(self.optimizer)
        # Waits for the step before, so the host is never more than one ahead.
        values = {"left_out": 0.0} if self._last is None else self._last.values()
        if task.variant not in self._captured:
            self._captured[task.variant] = _CapturedStep(task, self._adam, inputs)
        self._last = self._captured[task.variant]
        task.keep(self._last(rate, inputs))
        self.optimizer.updates += 1
        self.step += 1
        update_average(self.average, task.model, self.ema, self.step)
        return values | {"learning_rate": rate}


class _FusedAdam:
    """Adam as one kernel, at a learning rate in a tensor, with the state of a `MuonAdam`."""

    def __init__(self, optimizer: MuonAdam) -> None:
        self.parameters = list(optimizer.parameters.values())
        device = self.parameters[0].device
        self.rate = torch.tensor(0.0, device=device)
        config = optimizer.config
        self.clip = config.clip
        self.adam = torch.optim.Adam(
            self.parameters, self.rate, config.betas, config.eps, fused=True, capturable=True
        )
        for name, parameter in optimizer.parameters.items():
            self.adam.state[parameter] = {
                "step": torch.tensor(float(optimizer.updates), device=device),
                "exp_avg": optimizer.state[f"{name}.mean"],
                "exp_avg_sq": optimizer.state[f"{name}.square"],
            }

    def state(self) -> list[Tensor]:
        """All tensors that a step changes besides the parameters."""
        return [each for row in self.adam.state.values() for each in row.values()]


class _CapturedStep:
    """Forward, backward, clipping and Adam, captured once. A gradient that is not finite changes nothing."""

    def __init__(self, task: MotionTask[Any], adam: _FusedAdam, inputs: Tensors) -> None:
        self._task, self._optimizer = task, adam
        self._inputs = tuple(each.clone() for each in inputs)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._report = torch.empty(0)
        self._outputs: Tensors = ()
        if adam.rate.device.type == "cuda":
            self._capture()

    def _capture(self) -> None:
        own = self._optimizer
        kept = [each.clone() for each in own.state()]
        own.rate.zero_()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        own.adam.zero_grad(set_to_none=True)
        # The learning rate was zero, so the parameters are as they were.
        for each, value in zip(own.state(), kept, strict=True):
            each.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._report, self._outputs = self._run()
        self._graph = graph

    def _run(self) -> tuple[Tensor, Tensors]:
        adam, parameters = self._optimizer.adam, self._optimizer.parameters
        adam.zero_grad(set_to_none=True)
        loss, means, outputs = self._task.loss(self._inputs)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        # The fused kernel divides by the one, and does nothing where the other is 1.
        adam.grad_scale = (norm / self._optimizer.clip).clamp(min=1.0)  # type: ignore[attr-defined]
        adam.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        adam.step()
        report = torch.stack([norm, loss.detach(), *means])
        return report, tuple(each.detach() for each in outputs)

    def __call__(self, rate: float, inputs: Tensors) -> Tensors:
        """One step."""
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._optimizer.rate.fill_(rate)
        if self._graph is None:
            self._report, self._outputs = self._run()
        else:
            self._graph.replay()
        return self._outputs

    def values(self) -> dict[str, float]:
        """What the last step had to log."""
        norm, loss, *means = self._report.tolist()
        if not (math.isfinite(norm) and math.isfinite(loss)):
            return {"left_out": 1.0}
        row = dict(zip(self._task.logged, means, strict=True))
        return row | {"loss": loss, "norm": norm, "left_out": 0.0}
