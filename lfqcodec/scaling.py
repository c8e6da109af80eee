"""The size that pictures are scaled to, which may depend on the size that they have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec.arguments import integer
from lfqcodec.errors import ArgumentTypeError, ArgumentValueError

_SIDE = r"(-?[1-9]\d{0,4})"
FORMS = "640x360, 640:360, 640x-2, -2x360 or 50%"


@dataclass(frozen=True)
class Scale:
    """A wanted width and height in pixels; -n stands for what keeps the shape, as a multiple of n.

    With `factor` both sides are multiplied by it instead.
    """

    width: int = 0
    height: int = 0
    factor: Fraction | None = None

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) that pictures of `size` (width, height) are scaled to."""
        width, height = size
        if self.factor is not None:
            return max(1, round(width * self.factor)), max(1, round(height * self.factor))
        if self.width < 0:
            return _multiple(Fraction(width * self.height, height), -self.width), self.height
        if self.height < 0:
            return self.width, _multiple(Fraction(height * self.width, width), -self.height)
        return self.width, self.height

    def __str__(self) -> str:
        if self.factor is not None:
            return f"{float(100 * self.factor):g}%"
        return f"{self.width}x{self.height}"


def _multiple(value: Fraction, step: int) -> int:
    return max(1, round(value / step)) * step


def parse_scale(value: object, name: str = "scale") -> Scale:
    """A `Scale`, a (width, height), or a text such as 640x360, 640:-2 or 50%.

    Raises `ArgumentTypeError` or `ArgumentValueError`.
    """
    if isinstance(value, Scale):
        return value
    if isinstance(value, str):
        return _parsed(value, name)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentTypeError(name, f"must be (width, height) or a text such as {FORMS}, not {value!r}")
    return _sides(name, *(integer(name, side, -99_999, 99_999) for side in value))


def _parsed(text: str, name: str) -> Scale:
    if match := re.fullmatch(rf"{_SIDE}[xX:×]{_SIDE}", text):  # noqa: RUF001 (people paste it)
        return _sides(name, int(match[1]), int(match[2]))
    if (match := re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)\s?%", text)) and float(match[1]):
        return Scale(factor=Fraction(match[1]) / 100)
    raise ArgumentValueError(name, f"must be like {FORMS}, not {text!r}")


def _sides(name: str, width: int, height: int) -> Scale:
    if not width or not height:
        raise ArgumentValueError(name, "must be a width and a height of at least 1")
    if width < 0 and height < 0:
        raise ArgumentValueError(name, "must have a width or a height: only one of them can follow")
    return Scale(width, height)
