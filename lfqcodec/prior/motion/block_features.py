"""What the networks for depth and motion see: small integers, float32 [n, features].

Of depth: `common_features`; choices of the tokens beside; motion of the blocks; where that points to in the
anchor before, or choices in other pictures. Of motion between anchors: `common_features`; the tokens beside;
motion of the anchor, and of the middle picture.
"""

from __future__ import annotations

import numpy as np

from lfqcodec.prior.motion.config import depth_features, motion_features, network_of
from lfqcodec.prior.motion.features import (
    Features,
    common_features,
    fetched,
    layers_of,
    moved_features,
    step_of,
)
from lfqcodec.prior.motion.group import Array, Group
from lfqcodec.prior.motion.kernels import blocks as kernels

_NO_CANDIDATES = np.zeros((0, 0), np.int64)


class _BlockFeatures:
    """`kind` is depth or motion; positions are raster positions of all planes."""

    def __init__(self, group: Group, kind: str, part: str, many: int) -> None:
        self._group, self._part, self._many = group, part, many
        self._shape = shape = group.layers[f"{kind}.{part}"].shape
        rows, columns = np.indices(shape).reshape(3, -1)[1:]
        self.steps = step_of(part, rows, columns)
        """Which step each position is coded in."""
        earlier = {"anchor": (), "middle": ("anchor",), "quarters": ("anchor", "middle")}[part]
        self._known = layers_of(group, [f"{kind}.{other}" for other in earlier], shape)

    def _common(self, step: int) -> Features:
        return common_features(self._group.quality, self._part, step)


class DepthFeatures(_BlockFeatures):
    """The features of all depth tokens of a part."""

    def __init__(self, group: Group, part: str) -> None:
        super().__init__(group, "depth", part, depth_features(network_of(part)))
        self._used = np.zeros((0, 0), np.int64)
        if part == "anchor" and group.past.anchor is not None:
            past = group.past.anchor
            used = np.max((past != 0) * np.arange(1, len(past) + 1)[:, None, None], axis=0)
            self._used = used.reshape(-1)[fetched(group, used.shape)]

    def at(self, step: int, tokens: Array, chosen: Array) -> Features:
        """Features of raster positions `chosen`, which are coded in `step`: float32 [n, features].

        `tokens` [planes, rows, columns] of the layer itself: those of the steps before, else 0.
        """
        moved = moved_features(self._group, self._part)
        own = self._common(step), chosen, tokens, self._many
        return kernels.depth_features(*own, moved, self._known, self._used)


class MotionFeatures(_BlockFeatures):
    """The features of all motion tokens of a part between anchors."""

    def __init__(self, group: Group, part: str) -> None:
        super().__init__(group, "motion", part, motion_features(network_of(part)))

    def at(self, step: int, tokens: Array, chosen: Array) -> Features:
        """As `DepthFeatures.at`, for the first subtoken, dy."""
        field = self._group.field("anchor")
        return kernels.motion_features(self._common(step), chosen, tokens, self._many, field, self._known)


def with_first(features: Features, first: Array, candidates: Array = _NO_CANDIDATES) -> Features:
    """The features of dx: those of dy, what dy [n] is, and which candidates [n, 4] have the same."""
    return kernels.with_first(features, first, candidates)
