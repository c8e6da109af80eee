"""What long work reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """State of a run.

    `frames` are in the output, of `total` expected ones (None where unknown); they are `seconds` of video,
    and `bytes` of the .lfq file when encoding. `read` pictures were read, `coded` are coded or decoded.
    """

    frames: int
    total: int | None
    bytes: int
    seconds: float
    read: int = 0
    coded: int = 0


ProgressCallback = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """The callback of those who do not want to know."""


class ProgressMeter:
    """Counts what an encoder does and tells a callback of it: every picture read, every group coded."""

    def __init__(self, callback: ProgressCallback, total: int | None, *, done: int = 0) -> None:
        """`done` pictures are in the output already."""
        self._callback = callback
        self._state = Progress(done, total, 0, 0.0, coded=done)

    def read(self) -> None:
        """A picture was read."""
        self._tell(replace(self._state, read=self._state.read + 1))

    def coded(self, pictures: int) -> None:
        """So many more pictures were coded."""
        self._tell(replace(self._state, coded=self._state.coded + pictures))

    def written(self, frames: int, size: int, seconds: float) -> None:
        """So much is in the output now."""
        coded = max(self._state.coded, frames)
        self._tell(replace(self._state, frames=frames, bytes=size, seconds=seconds, coded=coded))

    def _tell(self, state: Progress) -> None:
        self._state = state
        self._callback(state)
