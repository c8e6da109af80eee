"""Configurations of runs: nested frozen dataclasses, read from presets of the package or other TOML files."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lfqcodec.errors import LfqError

Config = TypeVar("Config")


def preset_names(kind: str) -> list[str]:
    """Names of the package's presets for a kind of network: "tokenizer" or "generator"."""
    folder = resources.files(__package__).joinpath("presets", kind)
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())


def read_table(kind: str, name: str, changes: Iterable[str] = ()) -> dict[str, Any]:
    """The table of a preset of a kind, or of a TOML file, with changes such as `losses.gan=0.2`, in TOML.

    Raises `LfqError` for unknown presets and what is not TOML.
    """
    try:
        if name in preset_names(kind):
            text = resources.files(__package__).joinpath("presets", kind, f"{name}.toml").read_text()
        else:
            text = Path(name).read_text()
        table = tomllib.loads(text)
    except OSError as error:
        names = ", ".join(preset_names(kind))
        raise LfqError(f"{name}: no such preset ({names}) and no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LfqError(f"{name}: not a TOML file ({error})") from error
    for change in changes:
        _apply(table, change)
    return table


def _apply(table: dict[str, Any], change: str) -> None:
    key, separator, value = change.partition("=")
    *sections, last = key.strip().split(".")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise LfqError(f"{change!r} is not KEY=VALUE (strings in quotes)") from error
    if not separator:
        raise LfqError(f"{change!r} is not KEY=VALUE")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise LfqError(f"{change!r}: {section} is not a section")
    table[last] = parsed


def updated(default: Config, values: Any, where: str) -> Config:
    """A dataclass with the `values` of a table, which must be of the types of those that they replace.

    Sections are dataclasses inside. Raises `LfqError` that names the field.
    """
    if not isinstance(values, dict):
        raise LfqError(f"{where} must be a section of the preset")
    fields = {item.name for item in dataclasses.fields(default)}  # type: ignore[arg-type]
    ready: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise LfqError(f"{where}: no such field: {name}")
        like: Any = getattr(default, name)
        if dataclasses.is_dataclass(like):
            ready[name] = value if type(value) is type(like) else updated(like, value, name)
            continue
        value = tuple(_number(each, like[:1]) for each in value) if _both(value, like) else value
        value = _number(value, (like,))
        if type(value) is not type(like) or not _alike(value, like):
            raise LfqError(f"{where}: {name} must be like {like!r}, not {value!r}")
        ready[name] = value
    return dataclasses.replace(default, **ready)  # type: ignore[type-var]


def _both(value: Any, like: Any) -> bool:
    return isinstance(value, list) and isinstance(like, tuple)


def _number(value: Any, like: tuple[Any, ...]) -> Any:
    """An integer as a float, where it is to be like a float."""
    return float(value) if type(value) is int and like and isinstance(like[0], float) else value


def _alike(value: Any, like: Any) -> bool:
    """Whether the parts of a tuple are of the kind of those of another."""
    if not isinstance(like, tuple):
        return True
    kinds = (int, float) if isinstance(like[0], float) else type(like[0])
    return bool(value) and all(isinstance(part, kinds) and not isinstance(part, bool) for part in value)
