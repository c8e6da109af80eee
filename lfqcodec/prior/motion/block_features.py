"""What the networks for depth and motion see: small integers, float32 [n, features]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.config import BLOCKS, COMMON, DEPTH_CHOICES, DIRECT
from lfqcodec.prior.motion.features import (
    common_features,
    fetch,
    moved_features,
    padded,
    spread_differences,
    step_of,
    thermometer,
)
from lfqcodec.prior.motion.group import Array, Group
from lfqcodec.tokenizer.motion.layout import PARTS

_CHOICES = range(DEPTH_CHOICES - 1)


class DepthFeatures:
    """The features of all depth tokens of a part; positions are raster positions of all planes."""

    def __init__(self, group: Group, part: str) -> None:
        self._group, self._part = group, part
        self._shape = shape = group.layers[f"depth.{part}"].shape
        self._places = np.unravel_index(np.arange(np.prod(shape)), shape)
        self.steps = step_of(part, *self._places[1:])
        """Which step each position is coded in."""
        self._fixed = self._known_before().reshape(len(self.steps), -1)

    def at(self, step: int, tokens: Array, chosen: Array) -> Tensor:
        """Features of raster positions `chosen`, which are coded in `step`: float32 [n, features].

        `tokens` [planes, rows, columns] of the layer itself: those of the steps before, else 0.
        """
        common = np.broadcast_to(
            common_features(self._group.quality, self._part, step), (len(chosen), COMMON)
        )
        beside = _beside(tokens, *(each[chosen] for each in self._places))
        choices = thermometer(_unpacked(beside), _CHOICES).reshape(len(chosen), -1)
        return torch.from_numpy(np.concatenate((common, choices, self._fixed[chosen]), 1)).to(torch.float32)

    def _known_before(self) -> Array:
        group, part = self._group, self._part
        planes = self._shape[0]
        parts = [self._by_token(moved_features(group, part))]
        if part == "anchor":
            parts.append(self._by_token(self._past_anchor()))
        else:
            for known in PARTS[:2]:
                shape = planes, *self._shape[1:], BLOCKS * len(_CHOICES)
                if known == part:
                    parts.append(np.zeros(shape, np.int64))
                else:
                    choices = thermometer(_unpacked(group.tokens(f"depth.{known}")), _CHOICES)
                    parts.append(np.broadcast_to(choices.reshape(1, *self._shape[1:], -1), shape))
        return np.concatenate(parts, -1)

    def _by_token(self, blocks: Array) -> Array:
        """Features of blocks of 16x16 [planes, rows, columns, k] -> [planes, depth rows, columns, 4 * k]."""
        planes, rows, columns, features = blocks.shape
        even = np.zeros((planes, rows + rows % 2, columns + columns % 2, features), np.int64)
        even[:, :rows, :columns] = blocks
        return np.concatenate([even[:, y::2, x::2] for y in (0, 1) for x in (0, 1)], -1)

    def _past_anchor(self) -> Array:
        """Of the anchor before, where the motion points: layers in use, and how many positions are."""
        group = self._group
        _, rows, columns = group.field("anchor").shape[:3]
        past = group.past.anchor
        if past is None:
            return np.zeros((1, rows, columns, 5), np.int64)
        used = np.max((past != 0) * np.arange(1, len(past) + 1)[:, None, None], axis=0)
        row, column = np.divmod(np.arange(used.size), used.shape[1])
        fetched = used[fetch(group, row, column)].reshape(rows, 2, columns, 2)
        highest = thermometer(fetched.max((1, 3)), range(4))
        count = (fetched > 0).sum((1, 3))
        return np.concatenate((highest, count[..., None]), -1)[None]


def _beside(tokens: Array, plane: Array, row: Array, column: Array) -> Array:
    """The tokens next to positions, 0 outside: [n, 4]."""
    larger = padded(tokens)
    return np.stack([larger[plane, row + 1 + y, column + 1 + x] for y, x in DIRECT], 1)


def _unpacked(tokens: Array) -> Array:
    """The four choices of depth tokens, [..., 4]."""
    choices: Array = tokens[..., None] >> np.array((0, 2, 4, 6)) & 3
    return choices


class MotionFeatures:
    """The features of all motion tokens of a part between anchors, alike."""

    def __init__(self, group: Group, part: str) -> None:
        self._group, self._part = group, part
        self._shape = shape = group.layers[f"motion.{part}"].shape
        self._places = np.unravel_index(np.arange(np.prod(shape)), shape)
        self.steps = step_of(part, *self._places[1:])
        """Which step each position is coded in."""
        self._fixed = self._anchor()[0][self._places[1:]]

    def at(self, step: int, tokens: Array, chosen: Array) -> Tensor:
        """As `DepthFeatures.at`, for the first subtoken, dy."""
        common = np.broadcast_to(
            common_features(self._group.quality, self._part, step), (len(chosen), COMMON)
        )
        beside = _beside(tokens, *(each[chosen] for each in self._places))
        known = token_sizes(beside).reshape(len(chosen), -1)
        return torch.from_numpy(np.concatenate((common, known, self._fixed[chosen]), 1)).to(torch.float32)

    def _anchor(self) -> Array:
        """The motion of this group's anchor, and of its middle picture, [1, rows, columns, 12]."""
        group = self._group
        field = group.field("anchor")
        parts = [token_sizes(group.tokens("motion.anchor")), _bits(field), _bits(spread_differences(field))]
        if self._part == "middle":
            parts.append(np.zeros_like(parts[0]))
        else:
            parts.append(token_sizes(group.tokens("motion.middle")))
        return np.concatenate(parts, -1)


def _bits(values: Array) -> Array:
    """Numbers of bits of magnitudes, at most 9."""
    bits: Array = thermometer(np.abs(values), [(1 << bit) - 1 for bit in range(9)]).sum(-1)
    return bits


def signed_bits(symbols: Array) -> Array:
    """Numbers of bits of differences given as subtokens, negative for negative ones: -9..8."""
    differences = (symbols + SYMBOLS // 2) % SYMBOLS - SYMBOLS // 2
    return np.sign(differences) * _bits(differences)


def token_sizes(tokens: Array) -> Array:
    """Signed bits of dy and dx of motion tokens, and whether each is not 0: [..., 4]."""
    sizes = signed_bits(np.stack((tokens % SYMBOLS, tokens // SYMBOLS), -1))
    return np.concatenate((sizes, (sizes != 0).astype(np.int64)), -1)


def with_first(features: Tensor, first: Array) -> Tensor:
    """The features of dx: those of dy, and what dy [n] is."""
    bits = signed_bits(first)
    own = np.stack((bits, np.abs(bits), bits != 0), -1)
    return torch.cat((features, torch.from_numpy(own).to(torch.float32)), 1)
