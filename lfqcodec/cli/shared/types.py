"""Types of options: texts such as 1:02.5, 640x-2 or 300k to values. All raise `click.BadParameter`."""

from __future__ import annotations

import re
from fractions import Fraction

import click

from lfqcodec.errors import ArgumentError
from lfqcodec.scaling import Scale, parse_scale


def seconds(text: str) -> Fraction:
    """Seconds as 12.5, .5, 1:02.5 or 01:01:02.5, kept exact."""
    if not re.fullmatch(r"(\d+:){0,2}(\d+(\.\d*)?|\.\d+)", text):
        raise click.BadParameter(f"{text!r} is not a time (12.5, 1:02.5 or 01:01:02.5)")
    total = Fraction(0)
    for part in text.split(":"):
        total = total * 60 + Fraction(part)
    return total


def positive_seconds(text: str) -> Fraction:
    """As `seconds`, but not 0."""
    total = seconds(text)
    if not total:
        raise click.BadParameter("must be over 0 seconds")
    return total


def scale(text: str) -> Scale:
    """A picture size as 640x360, 640:360, 640x-2 or 50%."""
    try:
        return parse_scale(text)
    except ArgumentError as error:
        raise click.BadParameter(error.problem) from error


def bitrate(text: str) -> float:
    """Bits per second as 300000, 300k or 1.5M."""
    value = _amount(text, "kM")
    if not value:
        raise click.BadParameter(f"{text!r} is not a bitrate (300k, 1.5M)")
    return value


def byte_count(text: str) -> int:
    """Bytes as 60000000, 800k, 60M or 1.5G."""
    value = _amount(text, "kMG")
    if value < 1:
        raise click.BadParameter(f"{text!r} is not a number of bytes (800k, 60M)")
    return int(value)


def _amount(text: str, units: str) -> float:
    """A number with a unit, thousands of thousands; 0 for any other text."""
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)([{units}]?)", text, re.IGNORECASE)
    return float(match[1]) * 1000 ** (units.lower().find(match[2].lower() or "-") + 1) if match else 0.0
