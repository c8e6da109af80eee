"""Values that travel as JSON, in files of weights and beside files that are made, checked for types."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from lfqcodec.errors import WeightsError

_KINDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number with a decimal point",
    str: "a text",
    tuple[int, ...]: "a list of integers",
    tuple[float, ...]: "a list of numbers with a decimal point",
    list[float]: "a list of numbers with a decimal point",
    dict[str, Any]: "an object",
}
Data = TypeVar("Data")


def check_types(values: Any) -> None:
    """Raise ValueError, with the reason in words, unless every field of a dataclass is of its type.

    The types may be those of `_KINDS`: bool, int, float, str, tuples and lists of numbers, dictionaries.
    """
    for name, kind in _types(type(values)).items():
        value = getattr(values, name)
        if not _is_of(value, kind):
            raise ValueError(f"{name} must be {_KINDS[kind]}, not {value!r}")


def from_values(cls: type[Data], values: object) -> Data:
    """The dataclass `cls` with what a JSON object holds: all fields and no other, each of its type.

    Lists become tuples where those are wanted. Raises ValueError, with the reason in words.
    """
    kinds = _types(cls)
    if not isinstance(values, dict):
        raise ValueError(f"not a {cls.__name__}: no JSON object")
    unlike = sorted(values.keys() ^ kinds.keys())
    if unlike:
        raise ValueError(f"not a {cls.__name__}: {unlike[0]} is missing or unknown")
    tuples = {name for name, kind in kinds.items() if typing.get_origin(kind) is tuple}
    made = cls(**{k: tuple(v) if k in tuples and isinstance(v, list) else v for k, v in values.items()})
    check_types(made)
    return made


@dataclass(frozen=True)
class JsonConfig:
    """A frozen dataclass of plain values, in a file of weights.

    A subclass declares the fields, with defaults, and checks their values in `__post_init__`, after this
    one's. Files of weights are untrusted: everything that is wrong is a `WeightsError`.
    """

    def __post_init__(self) -> None:
        try:
            check_types(self)
        except ValueError as error:
            raise WeightsError(str(error)) from error

    def to_json(self) -> str:
        """The configuration as canonical JSON: all fields, sorted by name."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote: all fields and no other. Raises `WeightsError` on anything else."""
        values = json_object(text)
        try:
            return from_values(cls, values)
        except ValueError as error:
            raise WeightsError(str(error)) from error


def json_object(text: str) -> dict[str, Any]:
    """The entries of a JSON object. Raises `WeightsError` where `text` is not one."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the configuration is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError("the configuration is not a JSON object")
    return values


def _types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_of(value: object, kind: Any) -> bool:
    # Not isinstance: True is an integer to Python.
    origin = typing.get_origin(kind)
    if origin is None:
        return type(value) is kind
    if type(value) is not origin:
        return False
    wanted = typing.get_args(kind)[0]
    return origin is dict or all(type(each) is wanted for each in typing.cast(Any, value))
