"""Places for processes that compute, as many as --jobs says. Who holds the lock of a place may use it.

A lock goes with its process, so a place is free again whatever ends whoever had it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lfqcodec.output import lock


def make_slots(folder: Path, count: int) -> None:
    """Make so many places."""
    for number in range(count):
        (folder / str(number)).touch()


class Slot:
    """A place of a folder of them, free or held by this object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def hold(self, *, wait: bool) -> bool:
        """Take it, if it is free, or when it is. False where it is not, and where the system has no locks."""
        if self._handle is not None:
            return True
        try:
            handle = os.open(self._path, os.O_RDWR)
        except OSError:
            return False
        if not lock(handle, wait=wait):
            os.close(handle)
            return False
        self._handle = handle
        return True

    def free(self) -> None:
        """Let others have it."""
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = None


def take_one(folder: Path) -> Slot | None:
    """Any place that is free."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            slot = Slot(path)
            if slot.hold(wait=False):
                return slot
    return None


@contextmanager
def taking(folder: Path, most: int) -> Iterator[int]:
    """Hold as many free places as there are, at most so many; gives their number."""
    held: list[Slot] = []
    try:
        while len(held) < most and (slot := take_one(folder)) is not None:
            held.append(slot)
        yield len(held)
    finally:
        for slot in held:
            slot.free()
