"""What long work reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """State of a run: frames done, frames expected (None where unknown), .lfq bytes and seconds of video."""

    frames: int
    total: int | None
    bytes: int
    seconds: float


ProgressCallback = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """The callback of those who do not want to know."""
