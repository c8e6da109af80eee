"""Letters and digits of the fonts that matplotlib brings, at any place, size and angle."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_DEJAVU = tuple(
    f"DejaVu{family}{style}"
    for family, italic in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for style in ("", "-Bold", f"-{italic}", f"-Bold{italic}")
)
_STIX = tuple(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta"))
FONTS = (*_DEJAVU, *_STIX, "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
"""Text fonts with all letters and digits."""

_EM = 64
_CANVAS = 160
_FINER = 4
"""Samples of a pixel in each direction."""


@lru_cache(maxsize=2048)
def _glyph(text: str, font: str) -> tuple[Image.Image, float, float]:
    """A character with its middle in that of the picture, and half the width and height of its ink."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    face = ImageFont.truetype(str(path), _EM)
    left, top, right, bottom = face.getbbox(text)
    picture = Image.new("L", (_CANVAS, _CANVAS))
    middle = ((_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2)
    ImageDraw.Draw(picture).text(middle, text, fill=255, font=face)
    return picture, (right - left) / 2, (bottom - top) / 2


def reach(text: str, font: str, em: float, angle: float = 0.0) -> tuple[float, float]:
    """How far the ink goes from its middle, across and down, in pixels; `angle` in degrees."""
    _, half_width, half_height = _glyph(text, font)
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    across = half_width * cosine + half_height * sine
    down = half_width * sine + half_height * cosine
    return across * em / _EM, down * em / _EM


def cover(
    text: str, font: str, em: float, place: tuple[float, float], *, side: int, angle: float = 0.0
) -> NDArray[np.float64]:
    """How much of each pixel a character covers: float64 [side, side] in [0, 1].

    `em` is the size of the font in pixels, `place` (x, y) the middle of the ink, `angle` in
    degrees, clockwise.
    """
    picture, _, _ = _glyph(text, font)
    scale = _EM / (em * _FINER)
    cosine, sine = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    x, y = place[0] * _FINER, place[1] * _FINER
    middle = _CANVAS / 2
    turn = (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)
    fine = picture.transform(
        (side * _FINER, side * _FINER), Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR
    )
    return np.asarray(fine.reduce(_FINER), np.float64) / 255


def over(
    background: NDArray[np.float64], ink: NDArray[np.float64], covered: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Two colours, float64 [3] in [0, 255], mixed by cover [..., S, S]: uint8 [..., S, S, 3]."""
    mixed = background + (ink - background) * covered[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8)
