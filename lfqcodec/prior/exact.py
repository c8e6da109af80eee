"""The network of the prior in exact integer arithmetic, step by step, with keys and values kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.prior import arithmetic as exact
from lfqcodec.prior.config import LIMIT, SCORE_LIMIT, SLOTS
from lfqcodec.prior.features import signs
from lfqcodec.prior.schedule import layer_shift, slot_offsets, step_positions, windows
from lfqcodec.prior.weights import PriorWeights, linear_specs

Kept = list[tuple[Tensor, Tensor]]
"""Keys and values of a latent frame by layer, int8 [windows * heads, 64, head width]."""


@dataclass
class Counter:
    """Work done: tokens that went through as queries and as context, and multiply-accumulates."""

    queries: int = 0
    contexts: int = 0
    linear_products: int = 0
    attention_products: int = 0


@dataclass(frozen=True)
class Step:
    """The tokens of one step: raster `positions` [n], and by window shift the (window, rank) of each."""

    begin: int
    end: int
    positions: Tensor
    places: dict[int, tuple[Tensor, Tensor]]


class Memory:
    """Keys and values that the tokens of a frame attend to: those of kept frames, then this frame's own.

    By layer float32 [windows * heads, (kept_frames + 1) * 64, head width]; slots in order of rank.
    """

    def __init__(self, weights: PriorWeights, h: int, w: int, kept: list[Kept], device: torch.device) -> None:
        config = weights.config
        self.own = config.kept_frames * SLOTS
        self.first = self.own - len(kept) * SLOTS
        self.layers: Kept = []
        for layer in range(config.layers):
            groups = windows(h, w, layer_shift(layer)).count * config.heads
            shape = (groups, self.own + SLOTS, config.head_width)
            pair = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
            for age, frame in enumerate(kept):
                begin = self.own - (age + 1) * SLOTS
                for full, part in zip(pair, frame[layer], strict=True):
                    full[:, begin : begin + SLOTS] = part
            self.layers.append(pair)

    def keep(self) -> Kept:
        """This frame's own keys and values, for the frames after it."""
        return [
            (key[:, self.own :].to(torch.int8), value[:, self.own :].to(torch.int8))
            for key, value in self.layers
        ]


class ExactNetwork:
    """A prior ready to run. Results depend on nothing but the weights and the tokens.

    `int8` None takes 8-bit products on CUDA where they prove to be right, and float32 products elsewhere;
    True takes them wherever they are right. `group` windows are attended to at a time.
    """

    def __init__(
        self,
        weights: PriorWeights,
        device: torch.device | str = "cpu",
        *,
        int8: bool | None = None,
        group: int = 32,
    ) -> None:
        self.weights, self.config, self.group = weights, weights.config, group
        self.device = torch.device(device)
        wanted = self.device.type == "cuda" if int8 is None else int8
        narrow = wanted and exact.int8_product_is_exact(self.device.type)
        arrays = weights.arrays
        self._linear = {
            name: exact.Linear(
                arrays[f"{name}.weight"],
                arrays[f"{name}.shift"],
                arrays.get(f"{name}.bias"),
                self.device,
                int8=narrow,
            )
            for name in linear_specs(self.config)
        }
        self._score_table = self._tensor(arrays["table.score"])
        self._logit_table = self._tensor(arrays["table.logit"])
        self._place: dict[str, Tensor] = {}
        self._none: dict[str, Tensor] = {}
        for stream, layers in (("context", self.config.context_layers), ("query", self.config.layers)):
            for layer in range(layers):
                self._prepare_place(f"{stream}.{layer}", layer)
        self.counter = Counter()

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device, torch.float32)

    def _prepare_place(self, name: str, layer: int) -> None:
        """Expand a table of relative positions to [heads, 64, sources * 64], the oldest frame first."""
        table = exact.scale_scores(self._tensor(self.weights.arrays[f"{name}.place"]))
        offsets = torch.from_numpy(slot_offsets(layer_shift(layer))).to(self.device)
        self._place[name] = torch.cat([source[:, offsets] for source in table.flip(0)], -1)
        none = exact.scale_scores(self._tensor(self.weights.arrays[f"{name}.none"]))
        self._none[name] = none.view(-1, 1, 1)

    def steps(self, h: int, w: int, bounds: tuple[int, ...]) -> list[Step]:
        """The steps of a frame that have tokens."""
        result = []
        for number, positions in enumerate(step_positions(h, w, bounds)):
            if not len(positions):
                continue
            places = {}
            for shift in {layer_shift(layer) for layer in range(self.config.layers)}:
                window, rank = np.divmod(windows(h, w, shift).slot[positions], SLOTS)
                places[shift] = (
                    torch.from_numpy(window).to(self.device),
                    torch.from_numpy(rank).to(self.device),
                )
            where = torch.from_numpy(positions).to(self.device)
            result.append(Step(bounds[number], bounds[number + 1], where, places))
        return result

    def valid_slots(self, h: int, w: int) -> dict[int, Tensor]:
        """By window shift, bool [windows, 64]: the slots inside the picture."""
        shifts = {layer_shift(layer) for layer in range(self.config.layers)}
        return {shift: torch.from_numpy(windows(h, w, shift).valid).to(self.device) for shift in shifts}

    def _run(self, name: str, x: Tensor, inputs: int | None = None) -> Tensor:
        linear = self._linear[name]
        self.counter.linear_products += len(x) * x.shape[1] * linear.weight.shape[1]
        return linear(x, inputs)

    def _embed(self, stream: str, features: Tensor) -> Tensor:
        return self._run(f"{stream}.embed", features, features.shape[1])

    def _attend(
        self, name: str, layer: int, x: Tensor, step: Step, end: int, memory: Memory, valid: dict[int, Tensor]
    ) -> Tensor:
        """Normalised tokens [n, width] look at the kept frames and at ranks below `end` of their own."""
        config, shift = self.config, layer_shift(layer)
        query = exact.scale_scores(self._run(f"{name}.ask", x).clamp_(-LIMIT, LIMIT))
        stop = memory.own + end
        if stop == memory.first:
            return torch.zeros_like(query)
        window, rank = step.places[shift]
        inside, count = valid[shift], len(valid[shift])
        slots = step.end - step.begin
        grid = query.new_zeros(count, config.heads, slots, config.head_width)
        grid[window, :, rank - step.begin] = query.view(-1, config.heads, config.head_width)
        answer = torch.empty_like(grid)
        place = self._place[name][:, step.begin : step.end, memory.first : stop]
        keys, values = memory.layers[layer]
        for low in range(0, count, self.group):
            part = inside[low : low + self.group]
            size = len(part)
            bias = place.expand(size, -1, -1, -1)
            if not bool(part.all()):
                outside = ~part.repeat(1, config.sources)[:, None, None, memory.first : stop]
                # Far below every score: the table gives such keys the weight 0.
                bias = bias - outside * exact.scale_scores(torch.tensor(4.0 * SCORE_LIMIT))
            rows = slice(low * config.heads, (low + size) * config.heads)
            answer[low : low + size] = exact.attend(
                grid[low : low + size].flatten(0, 1),
                keys[rows, memory.first : stop],
                values[rows, memory.first : stop],
                bias.reshape(size * config.heads, slots, -1),
                self._none[name].repeat(size, 1, 1),
                self._score_table,
            ).view(size, config.heads, slots, -1)
        self.counter.attention_products += 2 * len(x) * (stop - memory.first) * config.width
        return answer[window, :, rank - step.begin].reshape(-1, config.width)

    def _block(
        self,
        name: str,
        layer: int,
        x: Tensor,
        normal: Tensor,
        step: Step,
        end: int,
        memory: Memory,
        valid: dict[int, Tensor],
    ) -> Tensor:
        mixed = self._attend(name, layer, normal, step, end, memory, valid)
        x = exact.add_residual(x, self._run(f"{name}.mix", mixed))
        return self._pointwise(name, x)

    def _pointwise(self, name: str, x: Tensor) -> Tensor:
        hidden = exact.squared_relu(self._run(f"{name}.up", exact.normalise(x)))
        return exact.add_residual(x, self._run(f"{name}.down", hidden))

    def query(self, features: Tensor, step: Step, memory: Memory, valid: dict[int, Tensor]) -> Tensor:
        """The tokens of a step before they are known: features [n, F] -> residual stream [n, width]."""
        self.counter.queries += len(features)
        x = self._embed("query", features)
        for layer in range(self.config.layers):
            x = self._block(f"query.{layer}", layer, x, exact.normalise(x), step, step.begin, memory, valid)
        return x

    def learn(self, features: Tensor, step: Step, memory: Memory, valid: dict[int, Tensor]) -> None:
        """The tokens of a step once they are known: puts their keys and values into `memory`."""
        self.counter.contexts += len(features)
        x = self._embed("context", features)
        normal = exact.normalise(x)
        for layer in range(self.config.layers):
            self._store(layer, normal, step, memory)
            if layer < self.config.context_layers:
                x = self._block(f"context.{layer}", layer, x, normal, step, step.end, memory, valid)
                normal = exact.normalise(x)

    def _store(self, layer: int, normal: Tensor, step: Step, memory: Memory) -> None:
        config = self.config
        both = self._run(f"memory.{layer}", normal).clamp_(-LIMIT, LIMIT)
        window, rank = step.places[layer_shift(layer)]
        for full, part in zip(memory.layers[layer], torch.split(both, config.width, 1), strict=True):
            slots = full.view(-1, config.heads, full.shape[1], config.head_width)
            slots[window, :, memory.own + rank] = part.reshape(-1, config.heads, config.head_width)

    def first_logits(self, x: Tensor) -> Tensor:
        """Residual stream [n, width] to integer logits of the first subtoken, [n, 512]."""
        return self._run("head.first", exact.normalise(x))

    def second_logits(self, x: Tensor, first: Tensor) -> Tensor:
        """The same for the second subtoken, given the first, int64 [n]."""
        x = exact.add_residual(x, self._run("head.join", signs(first)[:, :SUBTOKEN_BITS]))
        return self._run("head.second", exact.normalise(self._pointwise("head", x)))

    def frequencies(self, logits: Tensor) -> NDArray[np.uint32]:
        """Integer logits [n, 512] to frequency rows, uint32 [n, 512]."""
        return exact.frequencies(logits, self._logit_table)
