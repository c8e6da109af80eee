"""What tokens may be (spec section 10): values, depths, and what is not coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, Layer
from lfqcodec.errors import CorruptPayload

Tokens = NDArray[Any]
_SUBTOKEN = (1 << SUBTOKEN_BITS) - 1
_MOST_QUALITY = 2 * _SUBTOKEN + 1
"""Subtoken 1, whether monochrome changes, is 0 or 1."""
_DEPTH_BITS = 2


def unpack_depth(tokens: Tokens) -> NDArray[np.int64]:
    """The numbers 0..3 that depth tokens [planes, rows, columns] hold: [planes, 2 * rows, 2 * columns]."""
    planes, rows, columns = tokens.shape
    numbers = np.empty((planes, 2 * rows, 2 * columns), np.int64)
    for y in (0, 1):
        for x in (0, 1):
            numbers[:, y::2, x::2] = tokens >> _DEPTH_BITS * (2 * y + x) & 3
    return numbers


def check_group(layers: Sequence[Layer], tokens: Sequence[Tokens]) -> None:
    """`CorruptPayload` where tokens of a group say what they may not; those of later layers can be missing.

    `layers` are all of the group, `tokens` integers in 0..2^18-1 of the shapes of the first ones.
    """
    shapes = {layer.name: layer.shape for layer in layers}
    depths: dict[str, NDArray[np.int64]] = {}
    for layer, own in zip(layers, tokens, strict=False):
        kind, _, name = layer.name.partition(".")
        if kind == "quality":
            _need(own <= _MOST_QUALITY, "a quality over 1023")
        elif kind == "depth":
            depths[name] = _checked_depths(own, name, shapes)
        elif kind != "motion":
            signs = own >> SUBTOKEN_BITS & ~own & _SUBTOKEN
            _need(signs == 0, f"layer {layer.name} has a sign without a value")
            if kind in depths:
                skipped = depths[kind] <= int(name)
                _need(own[skipped] == 0, f"layer {layer.name} has a token below the depth of its block")


def _checked_depths(tokens: Tokens, part: str, shapes: Mapping[str, tuple[int, ...]]) -> NDArray[np.int64]:
    """How many layers are coded at each latent position [planes, h, w]."""
    rows, columns = (n // 2 for n in shapes[f"{part}.0"][1:])
    most = sum(f"{part}.{number}" in shapes for number in range(len(shapes)))
    numbers = unpack_depth(tokens)
    inside = numbers[:, :rows, :columns]
    _need(tokens < 1 << 4 * _DEPTH_BITS, f"depth of {part} out of range")
    _need(inside <= most, f"depth of {part} over {most}")
    _need(np.array(numbers.sum() == inside.sum()), f"depth of {part} outside the picture")
    return np.where(inside == 3, most, inside).repeat(2, 1).repeat(2, 2)


def _need(right: NDArray[np.bool_], message: str) -> None:
    if not right.all():
        raise CorruptPayload(message)
