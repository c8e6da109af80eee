"""What a batch wants of who does its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from lfqcodec.batch.work import Job, Outcome

OnShare = Callable[[Job, float], None]
"""Hears, from any thread, of which job a further share, 0 to 1, is done."""


def ignore_share(share: float) -> None:
    """Nobody wants to know."""


class Engine(Protocol):
    """Does jobs, several at a time."""

    def open(self) -> None:
        """Get ready. Raises `LfqError` where it cannot; a batch has written nothing until then."""

    def run(self, jobs: Iterator[Job], on_share: OnShare) -> Iterator[tuple[Job, Outcome]]:
        """Each job with its outcome, in any order. The next job is taken when there is somebody to do it."""

    def close(self) -> None:
        """End what is under way; no output is left halfway."""
