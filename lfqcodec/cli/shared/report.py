"""How results and errors are told: data on standard output, everything for people on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from lfqcodec.codec.repair.damage import Loss
from lfqcodec.errors import BadMagic, LfqError, LimitExceeded

_PRINTED = "lfqcodec.printed_json"


def complaint(error: LfqError) -> str:
    """An error as one line for a person at the command line."""
    if isinstance(error, LimitExceeded):
        return f"{error}; --limit allows more"
    if isinstance(error, BadMagic):
        return f"{error}; lfqcodec encode makes .lfq files of videos"
    return str(error)


def print_json(value: Any) -> None:
    """The one JSON document of a command, on standard output."""
    click.get_current_context().meta[_PRINTED] = True
    click.echo(json.dumps(value, indent=2))


def print_json_error(context: click.Context, message: str, kind: str, code: int) -> None:
    """An error as the JSON document of a command, unless it has printed one."""
    if not context.meta.get(_PRINTED):
        click.echo(json.dumps({"error": message, "kind": kind, "exit_code": code}, indent=2))


def print_notes(notes: Iterable[str]) -> None:
    """What could not be kept, on standard error."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


def print_damage(losses: Iterable[Loss]) -> None:
    """What could not be read of a damaged file, on standard error."""
    for loss in losses:
        click.echo(f"damage: {loss}", err=True)


def plural(count: int, noun: str) -> str:
    """1 frame, 2 frames, ..."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def human_bytes(count: int) -> str:
    """12.3 kB, 4.5 MB, ..."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
