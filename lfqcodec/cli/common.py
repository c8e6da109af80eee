"""What several commands share: argument types, progress bars, the way results are printed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, TypeVar

import click
from tqdm import tqdm

from lfqcodec.codec.progress import Progress, ProgressCallback

Command = TypeVar("Command", bound=Callable[..., Any])


class Seconds(click.ParamType[Fraction]):
    """Seconds as 12.5, 1:02.5 or 01:01:02.5, kept exact."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", str(value)):
            self.fail(f"{value!r} is not a time (12.5, 1:02.5 or 01:01:02.5)", param, ctx)
        total = Fraction(0)
        for part in str(value).split(":"):
            total = total * 60 + Fraction(part)
        return total


class Size(click.ParamType[tuple[int, int]]):
    """A picture size as 640x360."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", str(value))
        if match is None:
            self.fail(f"{value!r} is not a size (640x360)", param, ctx)
        return int(match[1]), int(match[2])


def device_option(function: Command) -> Command:
    """--device auto|cpu|cuda."""
    choice = click.Choice(["auto", "cpu", "cuda"])
    option = click.option(
        "--device", type=choice, default="auto", show_default=True, help="Where to compute."
    )
    return option(function)


def model_option(function: Command) -> Command:
    """--model NAME|FILE|DIR."""
    option = click.option("--model", metavar="NAME|FILE|DIR", help="Model to use instead of the usual one.")
    return option(function)


def json_option(function: Command) -> Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


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


def human_bytes(count: int) -> str:
    """12.3 kB, 4.5 MB, ..."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
