"""Options that say how pictures are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lfqcodec.cli.shared.options import time_options
from lfqcodec.cli.shared.types import bitrate, scale
from lfqcodec.codec.encode.options import DEFAULT_GOP, MAX_CRF, MAX_GOP, PROFILES
from lfqcodec.codec.encode.rate.quality import DEFAULT_CRF
from lfqcodec.tokenizer.motion.encode.effort import EFFORTS

Command = TypeVar("Command", bound=Callable[..., Any])

_RATE = (
    click.option(
        "--crf",
        type=click.FloatRange(0, MAX_CRF),
        metavar="N",
        help=f"Quality: the lower, the better and the larger. 6 more is about half the size.  "
        f"[default: {DEFAULT_CRF:g}]",
    ),
    click.option(
        "--bitrate",
        type=bitrate,
        metavar="RATE",
        help="Video bits per second (250k, 1.5M) in place of --crf: the quality follows.",
    ),
)
_CODING = (
    click.option(
        "--effort",
        type=click.Choice(list(EFFORTS)),
        default="medium",
        show_default=True,
        help="How long the encoder looks for motion and detail. fast: a third less time, "
        "and about a tenth larger at equal PSNR. slow: codes all with "
        "groups of 4, 2 and 1 pictures to keep the best, and looks for motion farther and more often; "
        "about twice the time.",
    ),
    click.option(
        "--gop",
        type=click.IntRange(1, MAX_GOP),
        default=DEFAULT_GOP,
        show_default=True,
        metavar="N",
        help="Most pictures of a GOP: fewer let players seek more finely, more make the file smaller.",
    ),
    click.option(
        "--scene-cuts/--no-scene-cuts",
        default=True,
        show_default=True,
        help="Start a GOP where a scene starts, too.",
    ),
    click.option(
        "--profile",
        type=click.Choice(PROFILES),
        help="exact: smaller, needs the model's prior to decode; static: a little larger, needs none.  "
        "[default: exact where the model has a prior]",
    ),
    time_options,
    click.option("--frames", type=click.IntRange(min=1), help="Stop after this many pictures."),
    click.option(
        "--scale",
        type=scale,
        metavar="SIZE",
        help="Resize the pictures first: 640x360; 640x-2, where the height follows as an even "
        "number; or 50%.",
    ),
    click.option(
        "--audio",
        type=click.Choice(["copy", "none"]),
        default="copy",
        show_default=True,
        help="Copy sound and subtitles, or leave them out.",
    ),
)
measure_option = click.option(
    "--psnr", "measure", is_flag=True, help="Decode what was written and report PSNR and MS-SSIM."
)


def rate_options(function: Command) -> Command:
    """--crf and --bitrate."""
    return _all(function, _RATE)


def coding_options(function: Command) -> Command:
    """How pictures are coded besides: effort, GOPs, profile, the part and the size, sound."""
    return _all(function, _CODING)


def _all(function: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function
