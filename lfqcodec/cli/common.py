"""What several commands share: argument types, progress bars, the way results are printed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any, TypeVar

import click
from tqdm import tqdm

from lfqcodec.bitstream.limits import DEFAULT_LIMITS, Limits
from lfqcodec.codec.progress import Progress, ProgressCallback
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.errors import LfqError, LimitExceeded

Command = TypeVar("Command", bound=Callable[..., Any])


def seconds(text: str) -> Fraction:
    """Seconds as 12.5, 1:02.5 or 01:01:02.5, kept exact. A type for click options."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
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


def size(text: str) -> tuple[int, int]:
    """A picture size as 640x360. A type for click options."""
    match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size (640x360)")
    return int(match[1]), int(match[2])


def bitrate(text: str) -> float:
    """Bits per second as 300000, 300k or 1.5M. A type for click options."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    value = float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()] if match else 0.0
    if not value:
        raise click.BadParameter(f"{text!r} is not a bitrate (300k, 1.5M)")
    return value


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
model_option = click.option("--model", metavar="NAME|FILE|DIR", help="Model to use instead of the usual one.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
overwrite_option = click.option("-f", "--force", "overwrite", is_flag=True, help="Overwrite OUT.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")


def time_options(function: Command) -> Command:
    """--start and --duration: which part of the input."""
    start = click.option("--start", type=seconds, metavar="TIME", help="Begin at this time.")
    duration = click.option(
        "--duration", type=positive_seconds, metavar="TIME", help="Stop after this much time."
    )
    return start(duration(function))


_LIMITS = {item.name.removeprefix("max_").replace("_", "-"): item.name for item in fields(Limits)}


def _limits(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Limits:
    limits = DEFAULT_LIMITS
    for text in values:
        match = re.fullmatch(r"([a-z-]+)=(?:(\d{1,19})|2\^(\d{1,2}))", text)
        if match is None or match[1] not in _LIMITS:
            raise click.BadParameter(
                f"{text!r} is not NAME=N or NAME=2^N, with NAME one of {', '.join(_LIMITS)}", context, option
            )
        limits = replace(limits, **{_LIMITS[match[1]]: int(match[2]) if match[2] else 1 << int(match[3])})
    return limits


limit_option = click.option(
    "--limit",
    "limits",
    multiple=True,
    callback=_limits,
    metavar="NAME=N",
    help=f"What a file may ask for at most, in place of the default; NAME is {', '.join(_LIMITS)}.",
)


def complaint(error: LfqError) -> str:
    """An error as one line for a person at the command line."""
    return f"{error}; --limit allows more" if isinstance(error, LimitExceeded) else str(error)


@contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[ProgressCallback]:
    """A progress bar on stderr with frames/s, time left and, where bytes are known, bitrate."""
    with tqdm(desc=label, unit=" frames", disable=quiet or None, file=sys.stderr, dynamic_ncols=True) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total if progress.total and progress.total >= progress.frames else None
            if progress.bytes and progress.seconds:
                rate = progress.bytes * 8 / progress.seconds / 1000
                bar.set_postfix_str(f"{rate:.0f} kbit/s", refresh=False)
            bar.update(progress.frames - bar.n)

        yield show


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def print_notes(notes: tuple[str, ...]) -> None:
    """What could not be kept, on stderr."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


def print_damage(losses: Iterable[Loss]) -> None:
    """What could not be read of a damaged file, on stderr."""
    for loss in losses:
        click.echo(f"damage: {loss}", err=True)


def refuse_mixed_output(dest: str, *, as_json: bool) -> None:
    """`UsageError` where OUT and the report would both go to standard output."""
    if as_json and dest == "-":
        raise click.UsageError("--json and OUT - both want standard output")


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
