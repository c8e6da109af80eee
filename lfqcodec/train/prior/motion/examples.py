"""What the networks of the rate model of `motion` learn from: features and values of coded positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, Layer
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.block_features import DepthFeatures, MotionFeatures, with_first
from lfqcodec.prior.motion.config import STEPS, MotionPriorConfig, network_of
from lfqcodec.prior.motion.features import Features, TokenFeatures
from lfqcodec.prior.motion.group import Array, Group, Past
from lfqcodec.prior.motion.vectors import AnchorMotion

Tokens = Mapping[str, NDArray[np.int32]]
"""Tokens int32 [planes, rows, columns] of a group by name of layer."""


@dataclass(frozen=True)
class Examples:
    """Features int8 [n, inputs] of one network, and the subtokens int16 [n, 2] that were coded.

    For networks that have candidates these follow, as further columns of `subtokens`.
    """

    features: NDArray[np.int8]
    subtokens: NDArray[np.int16]


def group_examples(
    config: MotionPriorConfig, layers: Sequence[Layer], tokens: Tokens, past: Past
) -> tuple[list[tuple[str, str, Examples]], Past]:
    """(layer, network, examples) of a group, step by step, and the past of the next one."""
    group = Group({layer.name: layer for layer in layers}, past)
    found = []
    for layer in layers:
        own = tokens[layer.name].astype(np.int64)
        parts: Iterator[tuple[str, Features, Array]]
        if layer.name == "motion.anchor":
            motion = AnchorMotion(own.shape, [group.quality], past.field)
            parts = _fronts(motion, own)
        else:
            parts = _steps(config, group, layer, own)
        for network, features, subtokens in parts:
            examples = Examples(features.astype(np.int8), subtokens.astype(np.int16))
            found.append((layer.name, network, examples))
        group.known[layer.name] = own
    return found, group.end()


def _steps(
    config: MotionPriorConfig, group: Group, layer: Layer, own: Array
) -> Iterator[tuple[str, Features, Array]]:
    """Network, features and subtokens of each step of a layer."""
    kind, _, name = layer.name.partition(".")
    if kind == "quality":
        return
    if kind in ("motion", "depth"):
        positions = np.arange(own.size)
        source: DepthFeatures | MotionFeatures | TokenFeatures
        source = MotionFeatures(group, name) if kind == "motion" else DepthFeatures(group, name)
        network = f"{kind}.{network_of(name)}"
    else:
        positions = np.flatnonzero(group.counts(kind).reshape(-1) > int(name))
        source = TokenFeatures(config, group, kind, int(name), positions)
        network = f"{network_of(kind)}.{name}"
    flat = own.reshape(-1)
    for step in range(STEPS):
        chosen = np.flatnonzero(source.steps == step)
        if not len(chosen):
            continue
        known = np.zeros_like(flat)
        before = positions[source.steps < step]
        known[before] = flat[before]
        features = source.at(step, known.reshape(own.shape), chosen)
        subtokens = _subtokens(flat[positions[chosen]])
        if kind == "motion":
            yield f"{network}.dy", features, subtokens
            yield f"{network}.dx", with_first(features, np.ascontiguousarray(subtokens[:, 0])), subtokens
        else:
            yield network, features, subtokens


def _fronts(motion: AnchorMotion, own: Array) -> Iterator[tuple[str, Features, Array]]:
    """The same of the motion of an anchor."""
    for front in motion.fronts():
        features, candidates = motion.at(front)
        subtokens = _subtokens(own.reshape(-1)[front])
        first = np.ascontiguousarray(subtokens[:, 0])
        yield "motion.anchor.dy", features, np.concatenate((subtokens, candidates[0]), 1)
        known = with_first(features, first, candidates[0])
        yield "motion.anchor.dx", known, np.concatenate((subtokens, candidates[1]), 1)
        motion.take(front, first, np.ascontiguousarray(subtokens[:, 1]))


def _subtokens(tokens: Array) -> Array:
    return np.stack((tokens % SYMBOLS, tokens >> SUBTOKEN_BITS), -1)
