"""What the networks for tokens see: small integers from what is known of a group, float32 [n, features]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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

_BITS = (torch.arange(SYMBOLS)[:, None] >> torch.arange(VALUES) & 1).to(torch.float32)
_SIGNS = 2 * _BITS - 1
_AROUND = ((0, 0), *DIRECT, *DIAGONAL)
_OWN, _DIRECT, _DIAGONAL = 0, slice(1, 5), slice(5, 9)
"""What is what among the cells around a position."""
_HELD = TypeVar("_HELD")


def cells_around(plane: Array, row: Array, column: Array, shape: tuple[int, int]) -> Tensor:
    """Where positions [n] and their neighbours lie in `padded` planes of (rows, columns): int64 [n, 9]."""
    wide = shape[1] + 2
    own = (plane * (shape[0] + 2) + row + 1) * wide + column + 1
    return torch.from_numpy(own[:, None] + np.array([y * wide + x for y, x in _AROUND]))


def ternary(tokens: Array, cells: Tensor) -> Tensor:
    """Ternary values of the tokens in cells [n, k] of `padded` planes: float32 [n, k, 9]."""
    found = torch.from_numpy(tokens).view(-1).index_select(0, cells.reshape(-1))
    significant = _BITS.index_select(0, found & (SYMBOLS - 1))
    return significant.mul_(_SIGNS.index_select(0, found >> VALUES)).view(*cells.shape, VALUES)


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


@lru_cache(maxsize=64)
def common_features(quality: int, part: str, step: int) -> Array:
    """Quality, the step, whether it is a quarter: [21], not to be written to."""
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


def fetch(group: Group, row: Array, column: Array) -> tuple[Array, Array]:
    """Rows and columns in the anchor before that the motion of the anchor points to, by whole positions."""
    assert group.past.anchor is not None
    _, rows, columns = group.past.anchor.shape
    vectors = (group.field("anchor")[0, row // 2, column // 2] + 16) >> 5
    return (row + vectors[:, 1]).clip(0, rows - 1), (column + vectors[:, 0]).clip(0, columns - 1)


@dataclass(frozen=True)
class _Known:
    """Features of the positions [n] of a part that do not depend on the layer that is coded.

    `below` float32 [n, 72 * layers] are those of the first `layers` of the part. `others` [n, k] come behind
    them, and `before` [n, anchor layers, 9], values of the anchor before, of which each layer sees its own.
    """

    positions: Array
    below: Tensor
    others: Tensor
    before: Tensor | None
    layers: int = 0

    def at(self, positions: Array) -> _Known:
        """Those of some of the positions: deeper layers have fewer."""
        if len(positions) == len(self.positions):
            return self
        rows = torch.from_numpy(np.searchsorted(self.positions, positions))
        before = None if self.before is None else self.before.index_select(0, rows)
        below, others = self.below.index_select(0, rows), self.others.index_select(0, rows)
        return _Known(positions, below, others, before, self.layers)

    def with_layer(self, values: Tensor) -> _Known:
        """With the next layer, whose ternary values in the cells around are [n, 9, 9]."""
        size = values.abs()
        added = (
            values[:, _OWN],
            size[:, _OWN],
            values[:, _DIRECT].flatten(1),
            size[:, _DIRECT].sum(1),
            size[:, _DIAGONAL].sum(1),
        )
        return replace(self, below=torch.cat((self.below, *added), 1), layers=self.layers + 1)


class TokenFeatures:
    """The features of one layer of tokens at `positions` [n], raster positions of all planes."""

    def __init__(
        self, config: MotionPriorConfig, group: Group, part: str, number: int, positions: Array
    ) -> None:
        self._config, self._group, self._part, self._number = config, group, part, number
        _, rows, columns = self._shape = group.layers[f"{part}.{number}"].shape
        self._plane, inside = np.divmod(positions, rows * columns)
        self._row, self._column = np.divmod(inside, columns)
        self._block = self._plane, self._row // 2, self._column // 2
        self._cells = cells_around(self._plane, self._row, self._column, (rows, columns))
        self.steps = step_of(part, self._row, self._column)
        """Which step each position is coded in."""
        if part != "intra":
            self._look_at_depth()
        self._fixed = self._known_before(positions)

    def at(self, step: int, tokens: Array, chosen: Array) -> Tensor:
        """Features of the positions with numbers `chosen`, which are coded in `step`: float32 [n, features].

        `tokens` [planes, rows, columns] of the layer itself: those of the steps before, else 0.
        """
        common = torch.from_numpy(common_features(self._group.quality, self._part, step))
        numbers = torch.from_numpy(chosen)
        parity = torch.from_numpy(self._row[chosen, None] % 2)
        parts = [common.to(torch.float32).expand(len(chosen), -1), parity.to(torch.float32)]
        known = (_DIRECT, _DIAGONAL) if self._part == "intra" else (_DIRECT,)
        if step:
            values = ternary(padded(tokens), self._cells.index_select(0, numbers)[:, : known[-1].stop])
            for around in known:
                beside = values[:, around]
                parts += [beside.flatten(1), beside.abs().sum(1)]
        else:
            parts.append(torch.zeros(len(chosen), len(known) * (len(DIRECT) + 1) * VALUES))
        parts.append(self._fixed.index_select(0, numbers))
        if self._part != "intra":
            parts.append(self._due(tokens, chosen))
        return torch.cat(parts, 1)

    def _tokens(self, name: str) -> Array:
        return _held(self._group, f"padded.{name}", lambda: padded(self._group.tokens(name)))

    def _known_before(self, positions: Array) -> Tensor:
        """Features that do not depend on the layer's own tokens."""
        known = _held(self._group, f"known.{self._part}", lambda: self._known(positions)).at(positions)
        for below in range(known.layers, self._number):
            known = known.with_layer(ternary(self._tokens(f"{self._part}.{below}"), self._cells))
        self._group.held[f"known.{self._part}"] = known
        parts = [known.below, known.others]
        if known.before is not None:
            parts += [known.before[:, self._number], torch.ones(len(positions), 1)]
        return torch.cat(parts, 1)

    def _known(self, positions: Array) -> _Known:
        """What is known before the first layer of the part."""
        nothing = torch.zeros(len(positions), 0)
        if self._part == "intra":
            return _Known(positions, nothing, nothing, None)
        moved = moved_features(self._group, self._part)[self._block]
        parts, before = [self._depth(), torch.from_numpy(moved).to(torch.float32)], None
        if self._part == "anchor":
            past, before = self._past_anchor()
            parts += past
        else:
            parts += self._this_group()
        return _Known(positions, nothing, torch.cat(parts, 1), before)

    def _depth(self) -> Tensor:
        """Choice of the block, how many layers are coded beside: [n, 8]."""
        choice = self._group.choices(self._part)[self._block]
        one_hot = choice[:, None] == np.arange(DEPTH_CHOICES)
        counts = padded(self._group.counts(self._part)).reshape(-1)
        beside = counts[self._cells[:, _DIRECT].numpy()]
        together = np.concatenate((one_hot, beside.clip(max=FEATURE_LIMIT)), 1)
        return torch.from_numpy(together).to(torch.float32)

    def _due(self, tokens: Array, chosen: Array) -> Tensor:
        """Whether the layer is the block's last, has tokens as its depth says, still needs some: [n, 3]."""
        last, fulfilled = self._last[chosen], self._fulfilled[chosen]
        used = (tokens.reshape(-1)[self._quarters[chosen]] != 0).any(1)
        fulfilled = fulfilled | (used & self._counts[chosen])
        return torch.from_numpy(np.stack((last, fulfilled, last & ~fulfilled), 1)).to(torch.float32)

    def _look_at_depth(self) -> None:
        """Which positions are in the last layer of their block, and where its depth is explained already."""
        group, part, number = self._group, self._part, self._number
        _, rows, columns = self._shape
        plane, row, column = self._block
        first = (plane * rows + 2 * row) * columns + 2 * column
        self._quarters = first[:, None] + np.array((0, 1, columns, columns + 1))
        """The positions of a block."""
        depths = np.asarray((0, *depth_choices(group.token_layers(part))))
        least = depths[np.minimum(group.choices(part)[self._block], len(depths) - 2)]
        counts = group.counts(part)[self._plane, self._row, self._column]
        self._last: NDArray[np.bool_] = counts == number + 1
        self._counts: NDArray[np.bool_] = least <= number
        self._fulfilled: NDArray[np.bool_] = np.zeros(len(counts), bool)
        for below in range(number):
            tokens = self._group.tokens(f"{part}.{below}").reshape(-1)
            self._fulfilled |= (tokens[self._quarters] != 0).any(1) & (below >= least)

    def _past_anchor(self) -> tuple[list[Tensor], Tensor | None]:
        """The tokens of the anchor before from where the motion points, and their values [n, layers, 9]."""
        n, layers = len(self._row), self._config.anchor_layers
        past = self._group.past.anchor
        if past is None:
            return [torch.zeros(n, (VALUES + 2) * layers + VALUES + 1)], None
        row, column = fetch(self._group, self._row, self._column)
        cells = cells_around(np.zeros_like(row), row, column, self._shape[1:])
        parts, own = [], []
        for tokens in past:
            values = ternary(padded(tokens[None]), cells)
            size = values.abs()
            sums = [size[:, each].sum((1, 2)) for each in (_DIRECT, _DIAGONAL)]
            parts += [size[:, _OWN], torch.stack(sums, 1).clamp_(max=FEATURE_LIMIT)]
            own.append(values[:, _OWN])
        return parts, torch.stack(own, 1)

    def _this_group(self) -> list[Tensor]:
        """The tokens of this group's anchor, and of its middle picture for quarters."""
        parts: list[Tensor] = []
        cells = cells_around(np.zeros_like(self._plane), self._row, self._column, self._shape[1:])
        for part, count in (("anchor", self._config.anchor_layers), ("middle", self._config.between_layers)):
            for number in range(count):
                if part == self._part:
                    parts.append(torch.zeros(len(cells), 3 * VALUES))
                    continue
                values = ternary(self._tokens(f"{part}.{number}"), cells[:, : _DIRECT.stop])
                size = values.abs()
                parts += [values[:, _OWN], size[:, _OWN], size[:, _DIRECT].sum(1)]
        return parts
