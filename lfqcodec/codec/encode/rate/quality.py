"""What `--crf` means: the quality of first pictures and of groups, and lambda (docs/decisions/0010)."""

from __future__ import annotations

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.codec.gop import OperatingPoint

DEFAULT_CRF = 30.0
_ZERO_CRF = 38.0
"""The crf of q = 0, the lowest quality of groups."""
_CRF_PER_QUALITY = 4.0
_INTRA_ABOVE = 2.5
"""By how much q of first pictures is higher: all that follow have what is better in them for nothing."""
_INTRA_SLOPE = 0.4
"""How fast q of first pictures falls where that of groups cannot."""
# Training weighs squared error per sample by this at q = 0 against bits per pixel, of three samples.
_WEIGHT = 0.0002
_SHARE = 0.1
"""Of what training pays for a bit, one below the lowest quality: training pays for LPIPS, too."""


def operating_point(crf: float, streams: int, group_size: int = GROUP_SIZES[0]) -> OperatingPoint:
    """Where chunks with groups of `group_size` are coded at `crf`.

    Within the qualities of a model tokens stay as they are rounded; below the lowest one they are chosen.
    """
    q = (_ZERO_CRF - crf) / _CRF_PER_QUALITY
    if q >= 0:
        return OperatingPoint(streams, 0.0, q, 0.0, q + _INTRA_ABOVE, group_size)
    lambda_ = -q * _SHARE * 3 / _WEIGHT
    return OperatingPoint(streams, lambda_, 0.0, 0.0, _INTRA_ABOVE + _INTRA_SLOPE * q, group_size)
