"""Progress on standard error: a line that is redrawn on a terminal, else a line every ten seconds."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from lfqcodec.codec.progress import Progress, ProgressCallback, ignore

BAR_SECONDS, LINE_SECONDS = 0.5, 10.0


@contextmanager
def show_progress(label: str, kind: str, *, quiet: bool) -> Iterator[ProgressCallback]:
    """Show how far the work inside the block is; `kind` is what --progress says."""
    state = _State(label)
    with show_line(state.line, kind, quiet=quiet) as shown:
        yield state.update if shown else ignore


@contextmanager
def show_line(line: Callable[[], str], kind: str, *, quiet: bool) -> Iterator[bool]:
    """Show what `line` gives, again and again, while the block runs; gives whether it is shown at all."""
    if quiet and kind in ("bar", "lines"):
        raise click.UsageError(f"--quiet and --progress {kind} cannot both be given")
    if kind == "auto":
        kind = "bar" if sys.stderr is not None and sys.stderr.isatty() else "lines"
    if quiet or kind == "never" or sys.stderr is None:
        yield False
        return
    display = _Display(line, redraw=kind == "bar")
    try:
        yield True
    finally:
        display.close()


class _Display:
    """A thread that shows the line, so that time goes on where the work says nothing."""

    def __init__(self, line: Callable[[], str], *, redraw: bool) -> None:
        self._line, self._redraw = line, redraw
        self._over = threading.Event()
        if redraw:
            self._draw()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the line away."""
        self._over.set()
        self._thread.join()
        if self._redraw:
            _write("\r\x1b[K")

    def _run(self) -> None:
        while not self._over.wait(BAR_SECONDS if self._redraw else LINE_SECONDS):
            self._draw()

    def _draw(self) -> None:
        line = self._line()
        if not self._redraw:
            _write(f"{line}\n")
            return
        with contextlib.suppress(OSError, ValueError):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            line = line[: columns - 1] if columns else line
        _write(f"\r{line}\x1b[K")


class _State:
    """The last `Progress` of some work, and since when it goes on."""

    def __init__(self, label: str) -> None:
        self._label, self._state, self._began = label, Progress(0, None, 0, 0.0), time.monotonic()
        self._first: tuple[float, int] | None = None

    def update(self, state: Progress) -> None:
        """The work is here now."""
        if self._first is None:
            # What was there before this run tells nothing of its speed.
            self._first = time.monotonic(), state.coded
        self._state = state

    def line(self) -> str:
        """The line for it."""
        return describe(self._label, self._state, self._speed(), time.monotonic() - self._began)

    def _speed(self) -> float:
        """Pictures per second since the first that was told of."""
        if self._first is None:
            return 0.0
        since, done = self._first
        return (self._state.coded - done) / max(time.monotonic() - since, 1e-9)


def describe(label: str, state: Progress, speed: float, elapsed: float) -> str:
    """One line: how many pictures of how many, pictures per second, bitrate so far, time left."""
    if not state.coded:
        read = f", {state.read} pictures read" if state.read else ""
        return f"{label}  reading{read}, {clock(elapsed)}"
    total = state.total if state.total is not None and state.total >= state.coded else None
    parts = [f"{state.coded}{'' if total is None else f'/{total}'} pictures"]
    if total is not None:
        parts.append(f"{100 * state.coded // total}%")
    if speed:
        parts.append(f"{speed:.1f} pictures/s")
    if state.bytes and state.seconds:
        parts.append(f"{8 * state.bytes / state.seconds / 1000:.0f} kbit/s")
    if speed and total is not None:
        parts.append(f"{clock((total - state.coded) / speed)} left")
    return "  ".join((label, *parts))


def clock(seconds: float) -> str:
    """1:05, 2:00:00, ..."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _write(text: str) -> None:
    """Nobody may be there to read it; that is no fault of the work."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, nl=False, err=True, color=True)
