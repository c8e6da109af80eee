"""The network of the prior in exact integer arithmetic, step by step, with keys and values kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior import arithmetic as exact
from lfqcodec.prior.config import LIMIT, SLOTS, PriorConfig
from lfqcodec.prior.features import Part, signs
from lfqcodec.prior.schedule import layer_shift, slot_offsets, step_positions, windows
from lfqcodec.prior.weights import PriorWeights, linear_specs

ROWS_AT_A_TIME = 512
SCORES_AT_A_TIME = 1 << 17
"""Per thread, so that what one operation writes is in the cache when the next one reads it."""

Kept = list[Tensor]
"""Keys, then values, of a latent frame by layer, int8 [windows, 64, 2 * width]."""


@dataclass
class Counter:
    """Work done: tokens that went through as queries and as context, and multiply-accumulates."""

    queries: int = 0
    contexts: int = 0
    linear_products: int = 0
    attention_products: int = 0


@dataclass(frozen=True)
class Places:
    """Where the tokens of a step lie in windows.

    `slots` int64 [n]: window * ranks of the step + rank within it, by token. `tokens` int64
    [windows * ranks]: the inverse, and some token of the step where a slot is outside the picture.
    """

    slots: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Step:
    """The tokens of one step: ranks from `begin` to below `end`, raster `positions` int64 [n]."""

    begin: int
    end: int
    positions: Tensor
    places: dict[int, Places]
    """By window shift."""


class Memory:
    """Keys and values that the tokens of a frame attend to: those of kept frames, then this frame's own.

    By layer float32 [windows, (kept_frames + 1) * 64, 2 * width], in +-127; slots in order of rank, those
    before `first` not in use. Used for one frame after the other. Slots outside the picture hold anything.
    """

    def __init__(self, config: PriorConfig, h: int, w: int, device: torch.device) -> None:
        self.own = self.first = config.kept_frames * SLOTS
        self._layers: Kept = []
        self.outside: dict[int, Tensor] = {}
        """By window shift, float32 [windows, 1, slots]: what to add to distances to have no key there."""
        for shift in (layer_shift(layer) for layer in range(config.layers)):
            grid = windows(h, w, shift)
            self._layers.append(torch.zeros(grid.count, self.own + SLOTS, 2 * config.width, device=device))
            outside = torch.from_numpy(~grid.valid).to(device, torch.float32)
            self.outside[shift] = (
                outside.mul_(exact.OUTSIDE * exact.UNIT).repeat(1, config.sources).unsqueeze(1)
            )

    def load(self, kept: list[Kept]) -> None:
        """Begin a frame that looks at kept ones, the latest first."""
        self.first = self.own - len(kept) * SLOTS
        for age, frame in enumerate(kept):
            begin = self.own - (age + 1) * SLOTS
            for full, part in zip(self._layers, frame, strict=True):
                full[:, begin : begin + SLOTS] = part

    def store(self, layer: int, step: Step, both: Tensor) -> None:
        """Put in the keys and values of the tokens of a step, float32 [n, 2 * width]."""
        slots = self._layers[layer][:, self.own + step.begin : self.own + step.end]
        slots.copy_(both.index_select(0, step.places[layer_shift(layer)].tokens).view(slots.shape))

    def seen(self, layer: int, end: int) -> Tensor:
        """Keys and values in use of the kept frames, and of ranks below `end` of this one."""
        return self._layers[layer][:, self.first : self.own + end]

    def keep(self) -> Kept:
        """This frame's own keys and values, for the frames after it."""
        return [layer[:, self.own :].to(torch.int8) for layer in self._layers]


class ExactNetwork:
    """A prior ready to run. Results depend on nothing but the weights and the tokens.

    `int8` None takes 8-bit products where they prove to be right and faster, and float32 products elsewhere;
    True takes them wherever they are right, False nowhere. `group` windows are attended to at a time, None
    for as many as fit the cache.
    """

    def __init__(
        self,
        weights: PriorWeights,
        device: torch.device | str = "cpu",
        *,
        int8: bool | None = None,
        group: int | None = None,
    ) -> None:
        self.weights, self.config, self._group = weights, weights.config, group
        self.device = torch.device(device)
        narrow = exact.takes_int8_product(self.device.type, int8)
        arrays, config = weights.arrays, self.config

        def linear(name: str) -> exact.Linear:
            bias = arrays.get(f"{name}.bias")
            weight, shift = arrays[f"{name}.weight"], arrays[f"{name}.shift"]
            return exact.Linear(weight, shift, bias, self.device, int8=narrow)

        self._linear = {name: linear(name) for name in linear_specs(config)}
        self._columns: dict[tuple[str, tuple[tuple[int, int], ...]], Tensor] = {}
        symbols = torch.arange(SYMBOLS, device=self.device)
        # What the first subtoken adds to the residual stream, for each of its values.
        self._join = self._linear["head.join"](signs(symbols)[:, :SUBTOKEN_BITS])
        self._weight_of = exact.score_table(arrays["table.score"], config.head_width, self.device)
        self._make_rows = exact.RowMaker(arrays["table.logit"], self.device)
        self._place: dict[str, Tensor] = {}
        self._none: dict[str, Tensor] = {}
        for stream, layers in (("context", config.context_layers), ("query", config.layers)):
            for layer in range(layers):
                self._prepare_place(f"{stream}.{layer}", layer)
        self.counter = Counter()

    def _prepare_place(self, name: str, layer: int) -> None:
        """Expand a table of relative positions to [heads, 64, sources * 64], the oldest frame first."""
        table, none = (
            torch.from_numpy(self.weights.arrays[f"{name}.{part}"])
            .to(self.device, torch.float32)
            .mul_(-exact.UNIT)
            for part in ("place", "none")
        )
        offsets = torch.from_numpy(slot_offsets(layer_shift(layer))).to(self.device)
        self._place[name] = torch.cat([source[:, offsets] for source in table.flip(0)], -1)
        self._none[name] = none

    def steps(self, h: int, w: int, bounds: tuple[int, ...]) -> list[Step]:
        """The steps of a frame that have tokens."""
        result = []
        for number, positions in enumerate(step_positions(h, w, bounds)):
            if not len(positions):
                continue
            begin, end = bounds[number], bounds[number + 1]
            places = {}
            for shift in {layer_shift(layer) for layer in range(self.config.layers)}:
                grid = windows(h, w, shift)
                window, rank = np.divmod(grid.slot[positions], SLOTS)
                slots = window * (end - begin) + rank - begin
                tokens = np.zeros(grid.count * (end - begin), np.int64)
                tokens[slots] = np.arange(len(slots))
                places[shift] = Places(
                    torch.from_numpy(slots).to(self.device), torch.from_numpy(tokens).to(self.device)
                )
            result.append(Step(begin, end, torch.from_numpy(positions).to(self.device), places))
        return result

    def embed(self, stream: str, parts: list[Part]) -> Tensor:
        """What some features add to the embedding of a stream, not yet rounded: float32 [n, width].

        Sums of such terms are exact, so they can be formed in any order before they are rounded.
        """
        key = stream, tuple((first, values.shape[-1]) for first, values in parts)
        if key not in self._columns:
            columns = torch.cat([torch.arange(first, first + size) for first, size in key[1]])
            self._columns[key] = self._linear[f"{stream}.embed"].weight[columns.to(self.device)]
        features = torch.cat([values.flatten(0, -2) for _, values in parts], -1)
        self._count(len(features), self._columns[key])
        return torch.mm(features, self._columns[key])

    def embed_flags(self, stream: str, flags: Tensor) -> Tensor:
        """The same for the first features, float32 [k] for all tokens: float32 [width]."""
        return flags.to(self.device) @ self._linear[f"{stream}.embed"].weight[: len(flags)]

    def _count(self, rows: int, weight: Tensor) -> None:
        self.counter.linear_products += rows * weight.numel()

    def _run(self, name: str, x: Tensor, out: Tensor | None = None) -> Tensor:
        self._count(len(x), self._linear[name].weight)
        return self._linear[name](x, out)

    def _cut(self, name: str, x: Tensor, out: Tensor) -> None:
        self._run(name, x, out).clamp_(-LIMIT, LIMIT)

    def _attend(self, name: str, layer: int, query: Tensor, step: Step, end: int, memory: Memory) -> Tensor:
        """Queries [n, width] look at the kept frames and at ranks below `end` of their own.

        Gives the answers by slot of `step.places`, [windows * ranks, width].
        """
        config, shift = self.config, layer_shift(layer)
        places, seen = step.places[shift], memory.seen(layer, end)
        count, keys, _ = seen.shape
        grid = query.index_select(0, places.tokens)
        if not keys:
            return grid.zero_()
        self.counter.attention_products += 2 * len(query) * keys * config.width
        place = self._place[name][:, step.begin : step.end, memory.first : memory.own + end]
        outside = memory.outside[shift][..., memory.first : memory.own + end]
        slots = step.end - step.begin
        group = self._group or max(1, SCORES_AT_A_TIME * torch.get_num_threads() // (slots * keys))
        heads = zip(
            torch.split(grid.view(count, slots, -1), config.head_width, -1),
            torch.split(seen[..., : config.width], config.head_width, -1),
            torch.split(seen[..., config.width :], config.head_width, -1),
            place,
            self._none[name],
            strict=True,
        )
        for inputs, key, value, here, none in heads:
            for low in range(0, count, group):
                part = slice(low, low + group)
                exact.attend(inputs[part], key[part], value[part], here, outside[part], none, self._weight_of)
        return grid

    def _pointwise(self, name: str, x: Tensor) -> None:
        hidden = exact.squared_relu(self._run(f"{name}.up", exact.normalise(x)))
        exact.add_residual(x, self._run(f"{name}.down", hidden))

    def _finish(self, name: str, x: Tensor, answers: Tensor) -> None:
        """The part of a block that comes after attention; overwrites residual streams [n, width]."""
        exact.add_residual(x, self._run(f"{name}.mix", answers))
        self._pointwise(name, x)

    def query(self, x: Tensor, step: Step, memory: Memory) -> Tensor:
        """The tokens of a step before they are known: embeddings [n, width] to residual streams.

        Overwrites `x`.
        """
        self.counter.queries += len(x)
        asked = torch.empty_like(x)
        for part in parts_of(x):
            self._cut("query.0.ask", exact.normalise(x[part]), asked[part])
        for layer in range(self.config.layers):
            answers = self._attend(f"query.{layer}", layer, asked, step, step.begin, memory)
            slots = step.places[layer_shift(layer)].slots
            for part in parts_of(x):
                self._finish(f"query.{layer}", x[part], answers.index_select(0, slots[part]))
                if layer + 1 < self.config.layers:
                    self._cut(f"query.{layer + 1}.ask", exact.normalise(x[part]), asked[part])
        return x

    def learn(self, x: Tensor, step: Step, memory: Memory) -> None:
        """The tokens of a step once they are known, embeddings [n, width]: into `memory`; overwrites `x`."""
        self.counter.contexts += len(x)
        config = self.config
        asked = torch.empty_like(x)
        answers: Tensor | None = None
        for layer in range(config.context_layers + 1):
            attends = layer < config.context_layers
            stored = [layer] if attends else range(layer, config.layers)
            both = [x.new_empty(len(x), 2 * config.width) for _ in stored]
            for part in parts_of(x):
                if answers is not None:
                    slots = step.places[layer_shift(layer - 1)].slots[part]
                    self._finish(f"context.{layer - 1}", x[part], answers.index_select(0, slots))
                normal = exact.normalise(x[part])
                for number, each in zip(stored, both, strict=True):
                    self._cut(f"memory.{number}", normal, each[part])
                if attends:
                    self._cut(f"context.{layer}.ask", normal, asked[part])
            for number, each in zip(stored, both, strict=True):
                memory.store(number, step, each)
            if attends:
                answers = self._attend(f"context.{layer}", layer, asked, step, step.end, memory)

    def first_rows(self, x: Tensor) -> NDArray[np.float64]:
        """Residual streams [n, width] to frequencies of the first subtokens, less 1: float64 [n, 512]."""
        return self._make_rows(self._run("head.first", exact.normalise(x)))

    def second_rows(self, x: Tensor, first: Tensor) -> NDArray[np.float64]:
        """The same for the second subtokens, given the first, int64 [n]; overwrites `x`."""
        exact.add_residual(x, self._join.index_select(0, first))
        self._pointwise("head", x)
        return self._make_rows(self._run("head.second", exact.normalise(x)))


def parts_of(x: Tensor) -> Iterator[slice]:
    """Cuts [n, width] into rows that stay in the cache from one operation to the next."""
    rows = ROWS_AT_A_TIME * torch.get_num_threads()
    return (slice(low, low + rows) for low in range(0, len(x), rows))
