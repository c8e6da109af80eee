"""What the networks for tokens see: small integers from what is known of a group, float32 [n, features]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.entropy.subtokens import SYMBOLS
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
_BITS = (torch.arange(SYMBOLS)[:, None] >> torch.arange(VALUES) & 1).to(torch.float32)
_SIGNS = 2 * _BITS - 1
_HELD = TypeVar("_HELD")


class TokenGrid:
    """Ternary values of tokens int64 [planes, rows, columns], with zeros around each plane."""

    def __init__(self, tokens: Array) -> None:
        _, self.rows, self.columns = tokens.shape
        flat = torch.from_numpy(padded(tokens)).view(-1)
        significant = _BITS.index_select(0, flat & (SYMBOLS - 1))
        self._values = significant.mul_(_SIGNS.index_select(0, flat >> VALUES))

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


def padded(grid: Array) -> Array:
    """A ring of zeros around planes: [planes, rows, columns] -> [planes, rows + 2, columns + 2]."""
    planes, rows, columns = grid.shape
    larger = np.zeros((planes, rows + 2, columns + 2), grid.dtype)
    larger[:, 1:-1, 1:-1] = grid
    return larger


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


def common_features(quality: int, part: str, step: int) -> Array:
    """Quality, the step, whether it is a quarter: [21]."""
    levels = thermometer(np.asarray(quality), range(0, QUALITY_STEP * QUALITY_STEPS, QUALITY_STEP))
    return np.append(levels, [*(np.arange(STEPS) == step), part == "quarters"]).astype(np.int64)


def spread_differences(field: Array) -> Array:
    """How far vectors [planes, rows, columns, 2] are from those beside them, by component, the most."""
    most = np.zeros_like(field)
    down, right = np.abs(field[:, 1:] - field[:, :-1]), np.abs(field[:, :, 1:] - field[:, :, :-1])
    for part, change in (
        (most[:, 1:], down),
        (most[:, :-1], down),
        (most[:, :, 1:], right),
        (most[:, :, :-1], right),
    ):
        np.maximum(part, change, out=part)
    return most


def moved_features(group: Group, part: str) -> Array:
    """Motion of blocks of 16x16: size, difference to neighbours, tokens: [planes, rows, columns, 12]."""
    return _held(group, f"moved.{part}", lambda: _moved_features(group, part))


def _held(group: Group, name: str, make: Callable[[], _HELD]) -> _HELD:
    """What features of several layers have in common, made once for a group."""
    if name not in group.held:
        group.held[name] = make()
    held: _HELD = group.held[name]
    return held


def _moved_features(group: Group, part: str) -> Array:
    field, tokens = group.field(part), group.tokens(f"motion.{part}")
    size = thermometer(np.abs(field).max(-1), THRESHOLDS)
    change = thermometer(spread_differences(field).max(-1), THRESHOLDS)
    differs = np.stack((tokens % 512 != 0, tokens // 512 != 0), -1)
    return np.concatenate((size, change, differs), -1)


def _used(tokens: Array) -> NDArray[np.bool_]:
    """Which blocks of 16x16 have a token that is not 0: bool [planes, rows, columns]."""
    planes, rows, columns = tokens.shape
    used: NDArray[np.bool_] = (tokens != 0).reshape(planes, rows // 2, 2, columns // 2, 2).any((2, 4))
    return used


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
        common = torch.from_numpy(common_features(self._group.quality, self._part, step))
        parity = torch.from_numpy(self._row[chosen, None] % 2)
        parts = [common.to(torch.float32).expand(len(chosen), -1), parity.to(torch.float32)]
        known = (DIRECT, DIAGONAL) if self._part == "intra" else (DIRECT,)
        if step:
            grid = TokenGrid(tokens)
            index = grid.index(self._plane[chosen], self._row[chosen], self._column[chosen])
            for around in known:
                beside = grid.around(index, around)
                parts += [beside.flatten(1), beside.abs().sum(1)]
        else:
            parts.append(torch.zeros(len(chosen), sum(len(each) + 1 for each in known) * VALUES))
        parts.append(self._fixed.index_select(0, torch.from_numpy(chosen)))
        if self._part != "intra":
            parts.append(self._due(tokens, chosen))
        return torch.cat(parts, 1)

    def _grid(self, name: str) -> TokenGrid:
        return _held(self._group, name, lambda: TokenGrid(self._group.tokens(name)))

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
            self._look_at_depth()
            moved = moved_features(self._group, self._part)[self._block]
            parts += [self._depth(), torch.from_numpy(moved).to(torch.float32)]
            parts += self._past_anchor() if self._part == "anchor" else self._this_group()
        return torch.cat(parts, 1)

    def _depth(self) -> Tensor:
        """Choice of the block, how many layers are coded beside: [n, 8]."""
        choice = self._group.choices(self._part)[self._block]
        one_hot = choice[:, None] == np.arange(DEPTH_CHOICES)
        counts = padded(self._group.counts(self._part))
        beside = [counts[self._plane, self._row + 1 + y, self._column + 1 + x] for y, x in DIRECT]
        together = np.concatenate((one_hot, np.stack(beside, 1).clip(max=FEATURE_LIMIT)), 1)
        return torch.from_numpy(together).to(torch.float32)

    def _due(self, tokens: Array, chosen: Array) -> Tensor:
        """Whether the layer is the block's last, has tokens as its depth says, still needs some: [n, 3]."""
        last, fulfilled = self._last[chosen], self._fulfilled[chosen]
        used = _used(tokens)[tuple(each[chosen] for each in self._block)]
        fulfilled = fulfilled | (used & self._counts[chosen])
        return torch.from_numpy(np.stack((last, fulfilled, last & ~fulfilled), 1)).to(torch.float32)

    def _look_at_depth(self) -> None:
        """Which positions are in the last layer of their block, and where its depth is explained already."""
        group, part, number = self._group, self._part, self._number
        depths = np.asarray((0, *depth_choices(group.token_layers(part))))
        least = depths[np.minimum(group.choices(part)[self._block], len(depths) - 2)]
        counts = group.counts(part)[self._plane, self._row, self._column]
        self._last: NDArray[np.bool_] = counts == number + 1
        self._counts: NDArray[np.bool_] = least <= number
        self._fulfilled: NDArray[np.bool_] = np.zeros(len(counts), bool)
        for below in range(number):
            self._fulfilled |= self._used_before(f"{part}.{below}")[self._block] & (below >= least)

    def _used_before(self, name: str) -> NDArray[np.bool_]:
        return _held(self._group, f"used.{name}", lambda: _used(self._group.tokens(name)))

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
            grid = self._past_grid(number, tokens)
            index = grid.index(np.zeros_like(row), row, column)
            own = grid.at(index)
            sums = [grid.around(index, each).abs().sum((1, 2)) for each in (DIRECT, DIAGONAL)]
            parts += [own.abs(), torch.stack(sums, 1).clamp_(max=FEATURE_LIMIT)]
            if number == self._number:
                same = own
        return [*parts, same, torch.ones(n, 1)]

    def _past_grid(self, number: int, tokens: Array) -> TokenGrid:
        return _held(self._group, f"past.{number}", lambda: TokenGrid(tokens[None]))

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
