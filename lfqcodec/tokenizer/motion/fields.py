"""Motion fields as tokens of 18 bits, and back, in exact integers.

A field int64 [rows, columns, 2] has a vector (dx, dy) in quarter-pels for each block. Subtoken 0 (bits 0..8)
of a block's token is what dy differs from its predictor, modulo 512, and subtoken 1 (bits 9..17) the same for
dx; so token 0 says "as predicted".

Anchors: a vector is read back as predictor + difference, wrapped to -256..255. The predictor is, for each
component, with the vectors of the blocks to the left, above, and above to the right, and of the same block in
the field of the group before (`prior`, zero in the first group of a GOP), which also stands in for blocks
outside the picture:

    median(median(left, above, above right), prior, left)

Pictures between: the predictor is the vector of linear motion, `base`; the difference is read as -256..255
and added without wrapping.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.tokenizer.motion.kernels import follow

_BITS = 9
_RANGE = 1 << _BITS
_HALF = _RANGE // 2

_Field = NDArray[np.int64]


def anchor_tokens(field: Tensor, prior: Tensor | None) -> Tensor:
    """The tokens of an anchor's field, int32 [rows, columns]. Both fields lie in -256..255."""
    vectors = field.cpu().numpy()
    before = np.zeros_like(vectors) if prior is None else prior.cpu().numpy()
    left, above, corner = before.copy(), before.copy(), before.copy()
    left[:, 1:] = vectors[:, :-1]
    above[1:] = vectors[:-1]
    corner[1:, :-1] = vectors[:-1, 1:]
    return _to_tokens(vectors - _predictor(left, above, corner, before))


def anchor_field(tokens: Tensor, prior: Tensor | None) -> Tensor:
    """The inverse: tokens int32 [rows, columns] -> field int64 [rows, columns, 2] in -256..255."""
    difference = _to_difference(tokens)
    before = np.zeros_like(difference) if prior is None else prior.cpu().numpy()
    return torch.from_numpy(follow(difference, np.ascontiguousarray(before), _HALF)).to(tokens.device)


def between_tokens(field: Tensor, base: Tensor) -> Tensor:
    """The tokens of a field between anchors, int32 [rows, columns]; differences must lie in -256..255."""
    return _to_tokens((field - base).cpu().numpy())


def between_field(tokens: Tensor, base: Tensor) -> Tensor:
    """The inverse: tokens int32 [rows, columns] and `base` -> field int64 [rows, columns, 2]."""
    return base + torch.from_numpy(_to_difference(tokens)).to(tokens.device)


def half(field: Tensor) -> Tensor:
    """Linear motion over half of the time, rounded down."""
    return field >> 1


def _median(a: _Field, b: _Field, c: _Field) -> _Field:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _predictor(left: _Field, above: _Field, corner: _Field, before: _Field) -> _Field:
    return _median(_median(left, above, corner), before, left)


def _wrapped(vectors: _Field) -> _Field:
    return (vectors + _HALF) % _RANGE - _HALF


def _to_tokens(difference: _Field) -> Tensor:
    bits = difference % _RANGE
    return torch.from_numpy((bits[..., 1] | bits[..., 0] << _BITS).astype(np.int32))


def _to_difference(tokens: Tensor) -> _Field:
    bits = tokens.cpu().numpy().astype(np.int64)
    return _wrapped(np.stack([bits >> _BITS, bits & (_RANGE - 1)], -1))
