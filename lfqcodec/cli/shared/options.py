"""Options that several commands have."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import click

from lfqcodec.bitstream.limits import DEFAULT_LIMITS, Limits
from lfqcodec.cli.shared.types import positive_seconds, seconds
from lfqcodec.machine import PRECISIONS

Command = TypeVar("Command", bound=Callable[..., Any])

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="What networks multiply; auto: bfloat16 on CPUs that are faster with it, else float32.",
)
model_option = click.option("--model", metavar="NAME|FILE|DIR", help="Model to use instead of the usual one.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result, or the error, as JSON.")
overwrite_option = click.option("-f", "--force", "overwrite", is_flag=True, help="Overwrite OUT.")


def progress_options(function: Command) -> Command:
    """--progress and --quiet, which is short for `--progress never`."""
    kinds = click.Choice(["auto", "bar", "lines", "never"])
    progress = click.option(
        "--progress",
        type=kinds,
        default="auto",
        show_default=True,
        help="A bar, a line every ten seconds, or neither; auto: a bar on a terminal, else lines.",
    )
    quiet = click.option("-q", "--quiet", is_flag=True, help="The same as --progress never.")
    return progress(quiet(function))


def time_options(function: Command) -> Command:
    """--start and --duration: which part of the input."""
    start = click.option(
        "--start", type=seconds, metavar="TIME", help="Begin at this time: 12.5, 1:02.5 or 01:01:02.5."
    )
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
