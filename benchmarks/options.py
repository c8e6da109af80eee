"""Options that several measurements share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lfqcodec.codec.encode.rate.quality import DEFAULT_CRF

GOP = 129
"""Pictures of a GOP, as encode makes them."""

model_option = click.option("--model", help="Model name, file or folder (default: the shipped one).")


def clip_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """FOLDER of clips, and what they are coded with: --model, --crf, --frames."""
    for option in (
        click.option(
            "--frames",
            type=click.IntRange(min=1),
            default=GOP,
            show_default=True,
            help="First frames of a clip.",
        ),
        click.option("--crf", type=float, default=DEFAULT_CRF, show_default=True),
        model_option,
        click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    ):
        function = option(function)
    return function
