"""What the networks for tokens see: small integers from what is known of a group, float32 [n, features].

In order: `common_features`; whether the row is odd; the layer's own tokens beside the position, as far as
they are known; the layers below. Except for first pictures also: depth and motion of the block, tokens of
other pictures, and what the layer still owes to the depth of its block.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lfqcodec.prior.motion.config import (
    DEPTH_CHOICES,
    QUALITY_STEP,
    QUALITY_STEPS,
    STEPS,
    MotionPriorConfig,
    network_of,
    token_features,
)
from lfqcodec.prior.motion.group import Array, Group
from lfqcodec.prior.motion.kernels import blocks
from lfqcodec.prior.motion.kernels import tokens as kernels
from lfqcodec.tokenizer.motion.layout import depth_choices

Features = NDArray[np.float32]


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
def common_features(quality: int, part: str, step: int) -> Features:
    """Quality, the step, whether it is a quarter: float32 [21], not to be written to."""
    levels = quality > np.arange(0, QUALITY_STEP * QUALITY_STEPS, QUALITY_STEP)
    return np.append(levels, [*(np.arange(STEPS) == step), part == "quarters"]).astype(np.float32)


def moved_features(group: Group, part: str) -> Features:
    """Motion of blocks of 16x16: size, difference to neighbours, tokens: float32 [planes, h, w, 12]."""
    name = f"moved.{part}"
    if name not in group.held:
        group.held[name] = blocks.moved_features(group.field(part), group.tokens(f"motion.{part}"))
    held: Features = group.held[name]
    return held


def fetched(group: Group, shape: tuple[int, ...]) -> Array:
    """Where in the anchor before the motion of each position of `shape` [h, w] points, in raster order."""
    if "fetched" not in group.held:
        group.held["fetched"] = blocks.fetched(group.field("anchor"), *shape)
    held: Array = group.held["fetched"]
    return held


def layers_of(group: Group, names: Sequence[str], shape: tuple[int, int, int]) -> Array:
    """Layers of tokens of a `shape`: [layers, planes, rows, columns]."""
    return np.stack([group.tokens(name) for name in names]) if names else np.zeros((0, *shape), np.int64)


class TokenFeatures:
    """The features of one layer of tokens at `positions` [n], raster positions of all planes."""

    def __init__(
        self, config: MotionPriorConfig, group: Group, part: str, number: int, positions: Array
    ) -> None:
        self._group, self._part, self._positions = group, part, positions
        self._many = token_features(config, network_of(part), number)
        shape = group.layers[f"{part}.{number}"].shape
        _, rows, columns = shape
        self.steps = step_of(part, positions // columns % rows, positions % columns)
        """Which step each position is coded in."""
        self._below = layers_of(group, [f"{part}.{below}" for below in range(number)], shape)
        if part in ("middle", "quarters"):
            seen = {"anchor": config.anchor_layers, "middle": config.between_layers}
            names = [f"{other}.{n}" for other, many in seen.items() if other != part for n in range(many)]
            self._known = layers_of(group, names, shape)

    def at(self, step: int, tokens: Array, chosen: Array) -> Features:
        """Features of the positions with numbers `chosen`, which are coded in `step`: float32 [n, features].

        `tokens` [planes, rows, columns] of the layer itself: those of the steps before, else 0.
        """
        group, part = self._group, self._part
        common = common_features(group.quality, part, step)
        own = common, self._positions[chosen], tokens, self._below, self._many
        if part == "intra":
            return kernels.intra_features(*own)
        depths = (0, *depth_choices(group.token_layers(part)))
        least = np.array([depths[min(choice, len(depths) - 2)] for choice in range(DEPTH_CHOICES)])
        block = group.choices(part), group.counts(part), moved_features(group, part), least
        if part == "anchor":
            past = group.past.anchor
            past = np.zeros((0, *tokens.shape[1:]), np.int64) if past is None else past
            return kernels.anchor_features(*own, *block, past, fetched(group, tokens.shape[1:]))
        return kernels.between_features(*own, *block, self._known)
