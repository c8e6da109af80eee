"""One clear line for a person out of the many exceptions that PyAV and the system raise."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from av.error import FFmpegError, InvalidDataError

from lfqcodec.errors import InputVideoError, OutputError

# What reading or writing through PyAV raises when the data or the system, not our code, is at fault.
# Exceptions of PyAV subclass FFmpegError and, by kind, ValueError or OSError.
MEDIA_ERRORS = (FFmpegError, OSError, ValueError, EOFError)


class Notes(list[str]):
    """Lines for a person, each of them once: what could not be kept, or was damaged."""

    def add(self, text: str) -> None:
        if text not in self:
            self.append(text)


def reason(error: BaseException) -> str:
    """A short reason without FFmpeg's numbers: "No space left on device"."""
    if isinstance(error, InvalidDataError):
        return "invalid data"
    if isinstance(error, BrokenPipeError):
        return "closed by its reader"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def display_name(path: Any) -> str:
    """How messages call a source or destination."""
    if isinstance(path, (str, os.PathLike)):
        return str(path)
    return str(getattr(path, "name", None) or "stream")


@contextlib.contextmanager
def reading(name: str, what: str = "") -> Iterator[None]:
    """Turn failures inside the block into `InputVideoError("name: what (reason)")`."""
    try:
        yield
    except MEDIA_ERRORS as error:
        text = f"{what} ({reason(error)})" if what else reason(error)
        raise InputVideoError(f"{name}: {text}") from error


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn failures inside the block into `OutputError("name: reason")`."""
    try:
        yield
    except MEDIA_ERRORS as error:
        raise OutputError(f"{name}: {reason(error)}") from error
