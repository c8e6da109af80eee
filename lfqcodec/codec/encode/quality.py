"""What `--crf` means for tokenizers that have qualities: q of first pictures and of groups, and lambda."""

from __future__ import annotations

from lfqcodec.codec.gop import OperatingPoint

DEFAULT_CRF = 30.0
_ZERO_CRF = 38.0
"""The crf of q = 0."""
_CRF_PER_QUALITY = 3.5
_INTRA_ABOVE = 2.0
"""By how much q of first pictures is higher: all that follow have what is better in them for nothing."""
# Training weighs squared error per sample by _WEIGHT * _RATIO^q against bits per pixel, of three samples.
_WEIGHT, _RATIO = 0.0002, 2.7
_SHARE = 0.5
"""Of what training pays for a bit, below the lowest quality: there it pays for LPIPS, too."""


def operating_point(crf: float, streams: int) -> OperatingPoint:
    """Where chunks are coded at `crf`.

    Within the qualities of a model tokens stay as they are: its networks were trained to give no more than
    is worth its bits (docs/decisions). Below the lowest one lambda goes on alone.
    """
    q = (_ZERO_CRF - crf) / _CRF_PER_QUALITY
    intra = q + _INTRA_ABOVE
    return OperatingPoint(streams, _lambda(q), q, _lambda(intra), intra)


def _lambda(q: float) -> float:
    return 0.0 if q >= 0 else _SHARE * 3 / (_WEIGHT * _RATIO**q)
