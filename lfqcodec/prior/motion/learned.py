"""The learned rate model of `motion`: a small exact network for each kind of layer, at coded positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from lfqcodec.bitstream.geometry import Layer
from lfqcodec.errors import WeightsError
from lfqcodec.prior.motion.block_features import DepthFeatures, MotionFeatures, with_first
from lfqcodec.prior.motion.config import STEPS, network_of
from lfqcodec.prior.motion.features import TokenFeatures
from lfqcodec.prior.motion.group import (
    NOTHING,
    ROWS_AT_A_TIME,
    Coding,
    Group,
    LayerCoder,
    MotionCoding,
    MotionRates,
    Past,
    token_layers,
)
from lfqcodec.prior.motion.network import MotionNetworks
from lfqcodec.prior.motion.vectors import AnchorMotion


class LearnedMotionRates(MotionRates):
    """Rows that depend on the weights and on tokens alone.

    `max_rows` bounds the rows of a batch; it does not change what is coded.
    """

    def __init__(self, networks: MotionNetworks, *, max_rows: int = ROWS_AT_A_TIME) -> None:
        super().__init__(max_rows=max_rows)
        self._networks = networks

    def begin_chunk(self, groups: Sequence[Sequence[Layer]], *, gop_start: bool) -> None:
        """As in `RateModel`. `WeightsError` where the prior is for other layers."""
        super().begin_chunk(groups, gop_start=gop_start)
        for group, part in product(groups, ("intra", "anchor", "middle", "quarters")):
            count = token_layers([layer.name for layer in group], part)
            if count not in (0, self._networks.config.layers(network_of(part))):
                raise WeightsError(f"the prior is for another number of layers of {part} than {count}")

    def _motion(self, group: Group, part: str, coder: LayerCoder) -> Coding:
        features, networks = MotionFeatures(group, part), self._networks
        name = f"motion.{network_of(part)}"
        for step in range(STEPS):
            chosen = np.flatnonzero(features.steps == step)
            if len(chosen):
                known = features.at(step, coder.tokens(), chosen)
                logits = networks.logits(f"{name}.dy", known)
                first = yield from coder.code(0, chosen, networks.motion_rows(logits))
                logits = networks.logits(f"{name}.dx", with_first(known, first))
                yield from coder.code(1, chosen, networks.motion_rows(logits))

    def _anchor_motion(self, past: Past, quality: Sequence[int], coder: LayerCoder) -> MotionCoding:
        motion, networks = AnchorMotion(coder.shape, quality, past.field), self._networks
        for front in motion.fronts():
            features, candidates = motion.at(front)
            logits = networks.logits("motion.anchor.dy", features)
            first = yield from coder.code(0, front, networks.motion_rows(logits, candidates[0]))
            logits = networks.logits("motion.anchor.dx", with_first(features, first, candidates[0]))
            second = yield from coder.code(1, front, networks.motion_rows(logits, candidates[1]))
            motion.take(front, first, second)
        return motion.fields

    def _depth(self, group: Group, part: str, coder: LayerCoder) -> Coding:
        features = DepthFeatures(group, part)
        for step in range(STEPS):
            chosen = np.flatnonzero(features.steps == step)
            if len(chosen):
                known = features.at(step, coder.tokens(), chosen)
                logits = self._networks.logits(f"depth.{network_of(part)}", known)
                yield from coder.code(0, chosen, self._networks.depth_rows(logits))

    def _tokens(self, group: Group, part: str, number: int, coder: LayerCoder) -> Coding:
        networks = self._networks
        coded = group.counts(part).reshape(-1) > number
        yield from coder.skip(np.flatnonzero(~coded))
        positions = np.flatnonzero(coded)
        features = TokenFeatures(networks.config, group, part, number, positions)
        for step in range(STEPS):
            chosen = np.flatnonzero(features.steps == step)
            if not len(chosen):
                continue
            known = features.at(step, coder.tokens(), chosen)
            logits = networks.logits(f"{network_of(part)}.{number}", known)
            where = positions[chosen]
            first = yield from coder.code(0, where, networks.significance_rows(logits))
            yield from coder.code(1, where[first == 0], NOTHING)
            used = np.flatnonzero(first)
            rows = networks.sign_rows(logits[used], first[used])
            yield from coder.code(1, where[used], rows)
