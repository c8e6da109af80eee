"""Configurations that travel as JSON inside files of weights: read, checked for types, and written."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import Any, Self

from lfqcodec.errors import WeightsError

_KINDS = {
    int: "an integer",
    float: "a number with a decimal point",
    str: "a text",
    tuple[int, ...]: "a list of integers",
    tuple[float, ...]: "a list of numbers with a decimal point",
}


@dataclass(frozen=True)
class JsonConfig:
    """A frozen dataclass whose fields are of the types int, float, str and tuples of ints or of floats.

    A subclass declares the fields, with defaults, and checks their values in `__post_init__`, after this
    one's. Files of weights are untrusted: everything that is wrong is a `WeightsError`.
    """

    def __post_init__(self) -> None:
        for name, kind in _types(type(self)).items():
            if not _is_of(getattr(self, name), kind):
                raise WeightsError(f"{name} must be {_KINDS[kind]}, not {getattr(self, name)!r}")

    def to_json(self) -> str:
        """The configuration as canonical JSON: all fields, sorted by name."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote: all fields and no other. Raises `WeightsError` on anything else."""
        values = json_object(text)
        unlike = sorted(values.keys() ^ _types(cls).keys())
        if unlike:
            raise WeightsError(f"not a {cls.__name__}: {unlike[0]} is missing or unknown")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def json_object(text: str) -> dict[str, Any]:
    """The entries of a JSON object. Raises `WeightsError` where `text` is not one."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the configuration is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError("the configuration is not a JSON object")
    return values


def _types(cls: type[JsonConfig]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_of(value: object, kind: Any) -> bool:
    # Not isinstance: True is an integer to Python.
    if kind in (tuple[int, ...], tuple[float, ...]):
        inner = typing.get_args(kind)[0]
        return type(value) is tuple and all(type(each) is inner for each in value)
    return type(value) is kind
