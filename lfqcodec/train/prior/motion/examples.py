"""What the networks of the rate model of `motion` learn from: features and values of coded positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, Layer
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.motion.block_features import DepthFeatures, MotionFeatures, with_first
from lfqcodec.prior.motion.config import STEPS, MotionPriorConfig, network_of
from lfqcodec.prior.motion.features import TokenFeatures
from lfqcodec.prior.motion.group import Array, Group, Past

Tokens = Mapping[str, NDArray[np.int32]]
"""Tokens int32 [planes, rows, columns] of a group by name of layer."""


@dataclass(frozen=True)
class Examples:
    """Features int8 [n, inputs] of one network, and the subtokens int16 [n, 2] that were coded."""

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
        for network, features, chosen in _steps(config, group, layer, own):
            values = own.reshape(-1)[chosen]
            pairs = np.stack((values % SYMBOLS, values >> SUBTOKEN_BITS), -1).astype(np.int16)
            found.append((layer.name, network, Examples(features.numpy().astype(np.int8), pairs)))
        group.known[layer.name] = own
    return found, group.end()


def _steps(
    config: MotionPriorConfig, group: Group, layer: Layer, own: Array
) -> Iterator[tuple[str, Tensor, Array]]:
    """Network, features, and raster positions of each step of a layer."""
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
        where = positions[chosen]
        if kind == "motion":
            yield f"{network}.dy", features, where
            yield f"{network}.dx", with_first(features, flat[where] % SYMBOLS), where
        else:
            yield network, features, where
