"""What `--crf` means: the quality of first pictures and of groups, and lambda (docs/decisions/0010)."""

from __future__ import annotations

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.codec.gop import OperatingPoint
from lfqcodec.tokenizer.motion.encode import lagrangian

DEFAULT_CRF = 30.0
_ZERO_CRF = 38.0
"""The crf of q = 0, the lowest quality of groups."""
_CRF_PER_QUALITY = 4.0
_INTRA_ABOVE = 2.5
"""By how much q of first pictures is higher: all that follow have what is better in them for nothing."""
_INTRA_SLOPE = 0.6
"""How fast q of first pictures falls where that of groups cannot."""
_LOWER = {4: 0.0, 2: 0.2, 1: 0.5}
"""How much lower q is in groups of so many pictures: a bit then saves as much error as in groups of 4."""
_ERROR_OF_BIT = 7000.0
"""Squared error that a bit saves at q 0; measured on six clips, from q -1 to 3 within 30%."""
_SHARE = 0.1
"""Of what training pays for a bit, one below the lowest quality: training pays for LPIPS, too."""


def operating_point(crf: float, streams: int, group_size: int = GROUP_SIZES[0]) -> OperatingPoint:
    """Where chunks with groups of `group_size` are coded at `crf`.

    Within the qualities of a model tokens stay as they are rounded; below the lowest one they are chosen, and
    motion gets dearer.
    """
    q = quality_of(crf)
    first = _INTRA_ABOVE + (q if q >= 0 else _INTRA_SLOPE * q)
    own = q - _LOWER[group_size]
    lambda_ = max(0.0, -own) * _SHARE * lagrangian.ERROR_OF_BIT
    return OperatingPoint(streams, lambda_, own, 0.0, first, group_size)


def quality_of(crf: float) -> float:
    """q, in units of the tokenizer; below 0 there is no such quality, and lambda goes on."""
    return (_ZERO_CRF - crf) / _CRF_PER_QUALITY


def error_of_bit(crf: float) -> float:
    """What a bit is worth at `crf`, in squared error as `OperatingPoint` counts it."""
    return lagrangian.error_of_bit(quality_of(crf), _ERROR_OF_BIT)
