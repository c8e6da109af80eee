"""What the networks for tokens see: small integers from what is known of a group, float32 [n, features]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lfqcodec.prior.motion.config import (
    DEPTH_CHOICES,
    DIAGONAL,
    DIRECT,
    FEATURE_LIMIT,
    QUALITY_STEP,
    QUALITY_STEPS,
    STEPS,
    THRESHOLDS,
    VALUES,
    MotionPriorConfig,
)
from lfqcodec.prior.motion.group import Array, Group
from lfqcodec.tokenizer.motion.layout import depth_choices

_Offsets = Sequence[tuple[int, int]]


class TokenGrid:
    """Ternary values of tokens int64 [planes, rows, columns], with zeros around each plane."""

    def __init__(self, tokens: Array) -> None:
        _, self.rows, self.columns = tokens.shape
        padded = torch.from_numpy(np.pad(tokens, ((0, 0), (1, 1), (1, 1)))).view(-1, 1)
        bits = torch.arange(VALUES)
        significant, positive = padded >> bits & 1, padded >> (bits + VALUES) & 1
        self._values = (significant * (2 * positive - 1)).to(torch.float32)

    def index(self, plane: Array, row: Array, column: Array) -> Tensor:
        """Where positions lie in here, int64 [n]."""
        cells = (plane * (self.rows + 2) + row + 1) * (self.columns + 2) + column + 1
        return torch.from_numpy(cells)

    def at(self, index: Tensor) -> Tensor:
        """Values float32 [n, 9]."""
        return self._values.index_select(0, index)

    def around(self, index: Tensor, offsets: _Offsets) -> Tensor:
        """Values of neighbours, float32 [n, neighbours, 9]."""
        steps = torch.tensor([row * (self.columns + 2) + column for row, column in offsets])
        cells = index[:, None] + steps
        return self._values.index_select(0, cells.view(-1)).view(len(index), len(offsets), VALUES)


def thermometer(values: Array, thresholds: Sequence[int]) -> Array:
    """1 where a value is above a threshold: [..., thresholds]."""
    above: Array = (values[..., None] > np.asarray(thresholds)).astype(np.int64)
    return above


def step_of(part: str, row: Array, column: Array) -> Array:
    """The step that a position is coded in: a checkerboard in two, for first pictures in four.

    0 2    of four: each step then knows neighbours on both sides
    3 1
    """
    if part == "intra":
        four: Array = np.array([[0, 2], [3, 1]])[row % 2, column % 2]
        return four
    return (row + column) % 2


def common_features(group: Group, part: str, step: int) -> Array:
    """Quality, the step, whether it is a quarter: [21]."""
    quality = thermometer(np.asarray(group.quality), range(0, QUALITY_STEP * QUALITY_STEPS, QUALITY_STEP))
    return np.append(quality, [*(np.arange(STEPS) == step), part == "quarters"]).astype(np.int64)


def spread_differences(field: Array) -> Array:
    """How far vectors [planes, rows, columns, 2] are from those beside them, by component, the most."""
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    _, rows, columns, _ = field.shape
    beside = [padded[:, 1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for y, x in DIRECT]
    most: Array = np.max([np.abs(each - field) for each in beside], axis=0)
    return most


def moved_features(group: Group, part: str) -> Array:
    """Motion of blocks of 16x16: size, difference to neighbours, tokens: [planes, rows, columns, 12]."""
    field, tokens = group.field(part), group.tokens(f"motion.{part}")
    size = thermometer(np.abs(field).max(-1), THRESHOLDS)
    change = thermometer(spread_differences(field).max(-1), THRESHOLDS)
    differs = np.stack((tokens % 512 != 0, tokens // 512 != 0), -1)
    return np.concatenate((size, change, differs), -1)


def fetch(group: Group, row: Array, column: Array) -> tuple[Array, Array]:
    """Rows and columns in the anchor before that the motion of the anchor points to, by whole positions."""
    assert group.past.anchor is not None
    _, rows, columns = group.past.anchor.shape
    vectors = (group.field("anchor")[0, row // 2, column // 2] + 16) >> 5
    return (row + vectors[:, 1]).clip(0, rows - 1), (column + vectors[:, 0]).clip(0, columns - 1)


class TokenFeatures:
    """The features of one layer of tokens at `positions` [n], raster positions of all planes."""

    def __init__(
        self, config: MotionPriorConfig, group: Group, part: str, number: int, positions: Array
    ) -> None:
        self._config, self._group, self._part, self._number = config, group, part, number
        _, rows, columns = group.layers[f"{part}.{number}"].shape
        self._plane, inside = np.divmod(positions, rows * columns)
        self._row, self._column = np.divmod(inside, columns)
        self._block = self._plane, self._row // 2, self._column // 2
        self.steps = step_of(part, self._row, self._column)
        """Which step each position is coded in."""
        self._fixed = self._known_before()

    def at(self, step: int, tokens: Array, chosen: Array) -> Tensor:
        """Features of the positions with numbers `chosen`, which are coded in `step`: float32 [n, features].

        `tokens` [planes, rows, columns] of the layer itself: those of the steps before, else 0.
        """
        common = torch.from_numpy(common_features(self._group, self._part, step))
        parts = [common.to(torch.float32).expand(len(chosen), -1)]
        parity = torch.from_numpy(self._row[chosen, None] % 2).to(torch.float32)
        grid = TokenGrid(tokens)
        index = grid.index(self._plane[chosen], self._row[chosen], self._column[chosen])
        parts.append(parity)
        for around in (DIRECT, DIAGONAL) if self._part == "intra" else (DIRECT,):
            beside = grid.around(index, around)
            parts += [beside.flatten(1), beside.abs().sum(1)]
        parts.append(self._fixed.index_select(0, torch.from_numpy(chosen)))
        if self._part != "intra":
            parts.append(self._due(tokens, chosen))
        return torch.cat(parts, 1)

    def _grid(self, name: str) -> TokenGrid:
        if name not in self._group.grids:
            self._group.grids[name] = TokenGrid(self._group.tokens(name))
        grid = self._group.grids[name]
        assert isinstance(grid, TokenGrid)
        return grid

    def _known_before(self) -> Tensor:
        """Features that do not depend on the layer's own tokens."""
        parts = [torch.zeros(len(self._row), 0)]
        for below in range(self._number):
            grid = self._grid(f"{self._part}.{below}")
            index = grid.index(self._plane, self._row, self._column)
            own, beside = grid.at(index), grid.around(index, DIRECT)
            across = grid.around(index, DIAGONAL).abs().sum(1)
            parts += [own, own.abs(), beside.flatten(1), beside.abs().sum(1), across]
        if self._part != "intra":
            moved = moved_features(self._group, self._part)[self._block]
            parts += [self._depth(), torch.from_numpy(moved).to(torch.float32)]
            parts += self._past_anchor() if self._part == "anchor" else self._this_group()
        return torch.cat(parts, 1)

    def _depth(self) -> Tensor:
        """Choice of the block, how many layers are coded beside: [n, 8]."""
        choice = self._group.choices(self._part)[self._block]
        one_hot = choice[:, None] == np.arange(DEPTH_CHOICES)
        padded = np.pad(self._group.counts(self._part), ((0, 0), (1, 1), (1, 1)))
        beside = [padded[self._plane, self._row + 1 + y, self._column + 1 + x] for y, x in DIRECT]
        together = np.concatenate((one_hot, np.stack(beside, 1).clip(max=FEATURE_LIMIT)), 1)
        return torch.from_numpy(together).to(torch.float32)

    def _due(self, tokens: Array, chosen: Array) -> Tensor:
        """Whether the layer is the block's last, has tokens as its depth says, still needs some: [n, 3]."""
        group, part, number = self._group, self._part, self._number
        choices = np.asarray((0, *depth_choices(group.token_layers(part))))
        block = tuple(each[chosen] for each in self._block)
        least = choices[np.minimum(group.choices(part)[block], len(choices) - 2)]
        last = group.counts(part)[self._plane[chosen], self._row[chosen], self._column[chosen]] == number + 1
        layers = [*(group.tokens(f"{part}.{below}") for below in range(number)), tokens]
        fulfilled = np.zeros(len(chosen), bool)
        for below, each in enumerate(layers):
            planes, rows, columns = each.shape
            used = (each != 0).reshape(planes, rows // 2, 2, columns // 2, 2).any((2, 4))
            fulfilled |= used[block] & (below >= least)
        return torch.from_numpy(np.stack((last, fulfilled, last & ~fulfilled), 1)).to(torch.float32)

    def _past_anchor(self) -> list[Tensor]:
        """The tokens of the anchor before from where the motion points."""
        n, layers = len(self._row), self._config.anchor_layers
        past = self._group.past.anchor
        if past is None:
            return [torch.zeros(n, (VALUES + 2) * layers + VALUES + 1)]
        row, column = fetch(self._group, self._row, self._column)
        parts = []
        same = torch.zeros(n, VALUES)
        for number, tokens in enumerate(past):
            name = f"past.{number}"
            if name not in self._group.grids:
                self._group.grids[name] = TokenGrid(tokens[None].astype(np.int64))
            grid = self._grid(name)
            index = grid.index(np.zeros_like(row), row, column)
            own = grid.at(index)
            sums = [grid.around(index, each).abs().sum((1, 2)) for each in (DIRECT, DIAGONAL)]
            parts += [own.abs(), torch.stack(sums, 1).clamp_(max=FEATURE_LIMIT)]
            if number == self._number:
                same = own
        return [*parts, same, torch.ones(n, 1)]

    def _this_group(self) -> list[Tensor]:
        """The tokens of this group's anchor, and of its middle picture for quarters."""
        n, parts = len(self._row), []
        nothing = np.zeros_like(self._plane)
        for part, count in (("anchor", self._config.anchor_layers), ("middle", self._config.between_layers)):
            for number in range(count):
                if part == self._part:
                    parts.append(torch.zeros(n, 3 * VALUES))
                    continue
                grid = self._grid(f"{part}.{number}")
                index = grid.index(nothing, self._row, self._column)
                own = grid.at(index)
                parts += [own, own.abs(), grid.around(index, DIRECT).abs().sum(1)]
        return parts
