"""Checks of what callers pass: each gives the value in the type it is meant to have, or says what is wrong.

All raise `ArgumentTypeError` for a value of another type and `ArgumentValueError` for one out of range.
Whether None is allowed is for the caller to decide.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from numbers import Real

from lfqcodec.errors import ArgumentTypeError, ArgumentValueError, InputVideoError


def flag(name: str, value: object) -> bool:
    """True or False, nothing that merely counts as one of them."""
    if type(value) is not bool:
        raise ArgumentTypeError(name, f"must be True or False, not {value!r}")
    return value


def integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """An integer from `least` to `most`; those of NumPy too."""
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise ArgumentTypeError(name, f"must be an integer, not {value!r}")
    whole = operator.index(value)
    if whole < least or (most is not None and whole > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ArgumentValueError(name, f"must be {limits}, not {whole}")
    return whole


def number(name: str, value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(name, f"must be a number, not {value!r}")
    if not math.isfinite(value):
        raise ArgumentValueError(name, f"must be finite, not {value}")
    return float(value)


def seconds(name: str, value: object) -> Fraction:
    """A finite number of seconds, exact: 0.28 is taken for 28/100, not for the binary number next to it."""
    return value if isinstance(value, Fraction) else Fraction(str(number(name, value)))


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str):
        raise ArgumentTypeError(name, f"must be one of {', '.join(allowed)}, not {value!r}")
    if value not in allowed:
        raise ArgumentValueError(name, f"must be one of {', '.join(allowed)}, not {value!r}")
    return value


def text(name: str, value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ArgumentTypeError(name, f"must be a text, not {value!r}")
    return value


def path(name: str, value: object) -> str:
    """A path that is not empty."""
    if not isinstance(value, (str, os.PathLike)):
        raise ArgumentTypeError(name, f"must be a path, not {value!r}")
    given = os.fspath(value)
    if not isinstance(given, str):
        raise ArgumentTypeError(name, f"must be a path of text, not {value!r}")
    if not given:
        raise ArgumentValueError(name, "must not be an empty name")
    return given


def _is_url(given: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", given, re.IGNORECASE) is not None


def refuse_url(value: str | os.PathLike[str]) -> None:
    """Raise `InputVideoError` for a text such as https://..., unless there is a file of that name."""
    given = os.fspath(value)
    if _is_url(given) and not os.path.lexists(given):
        raise InputVideoError(f"{given}: is a URL, not a file; load it first, or pipe it to -")


def source(name: str, value: object, *, more: str = "") -> None:
    """A path, "-", or a binary file object to read; `more` names what else the caller takes."""
    if isinstance(value, (str, os.PathLike)):
        path(name, value)
    elif not hasattr(value, "read") or hasattr(value, "encoding"):
        raise ArgumentTypeError(
            name, f'must be a path, "-"{more} or a binary file object, not {_kind(value)}'
        )


def dest(name: str, value: object) -> None:
    """A path, "-", or a binary file object to write."""
    if isinstance(value, (str, os.PathLike)):
        if _is_url(path(name, value)):
            raise ArgumentValueError(name, f"must be a file, not a URL: {os.fspath(value)}")
    elif not hasattr(value, "write") or hasattr(value, "encoding"):
        raise ArgumentTypeError(name, f'must be a path, "-" or a binary file object, not {_kind(value)}')


def callback(name: str, value: object) -> None:
    """Something that can be called."""
    if not callable(value):
        raise ArgumentTypeError(name, f"must be a function, not {value!r}")


def known(names: Iterable[str], allowed: Sequence[str], function: str) -> None:
    """Only names of options that `function` has."""
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f": did you mean {near[0]}?" if near else f" (there are {', '.join(allowed)})"
            raise ArgumentTypeError(name, f"is no option of {function}{hint}")


def _kind(value: object) -> str:
    return (
        f"a text file ({type(value).__name__})" if hasattr(value, "encoding") else repr(type(value).__name__)
    )
