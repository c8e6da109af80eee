"""Outputs: pipes, and files that appear whole or not at all (written under another name, then renamed)."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from lfqcodec.errors import OutputError

TEMPORARY_SUFFIX = ".lfqcodec-partial"


def check_target(target: Path, *, overwrite: bool, directory: bool = False) -> None:
    """Raise `OutputError` where `target` could not be written, before any work is done."""
    if target.exists():
        if target.is_dir() != directory:
            kind = "a folder" if target.is_dir() else "a file"
            raise OutputError(f"{target}: is {kind}")
        if not directory and not target.is_file():
            # Renaming over /dev/null would put a plain file in its place.
            raise OutputError(f"{target}: is not a regular file (use - and redirect standard output)")
        if directory and any(target.iterdir()):
            # Replacing a folder would delete whatever else lies in it.
            raise OutputError(f"{target}: holds files already")
        if not directory and not overwrite:
            raise OutputError(f"{target}: exists already (use -f to overwrite)")
    parent = target.parent
    if not parent.is_dir():
        raise OutputError(f"{parent}: no such folder")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{parent}: not writable")


def refuse_same_file(source: object, dest: object) -> None:
    """Raise `OutputError` where both are names of one existing file; pipes and file objects pass."""
    paths = [Path(p) for p in (source, dest) if isinstance(p, (str, os.PathLike)) and str(p) != "-"]
    if len(paths) == 2 and all(p.exists() for p in paths) and paths[0].samefile(paths[1]):
        raise OutputError(f"{paths[1]}: input and output are the same file")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool = False, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` on success, remove it on any error.

    The temporary name keeps the suffix of `target`, because FFmpeg chooses formats by suffix. With
    `directory` the temporary path is an empty folder. Raises `OutputError`.
    """
    check_target(target, overwrite=overwrite, directory=directory)
    # Cut short, so that a name as long as the file system allows leaves room for the suffix.
    prefix = f".{target.stem[:40]}{TEMPORARY_SUFFIX}-"
    try:
        if directory:
            temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            temporary.chmod(0o777 & ~_umask())
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=target.suffix, dir=target.parent)
            os.fchmod(handle, 0o666 & ~_umask())
            os.close(handle)
            temporary = Path(name)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    try:
        yield temporary
        if directory and target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        raise OutputError(f"{target}: {error.strerror or error}") from error
    except BaseException:
        _remove(temporary)
        raise


class _Forward:
    """Standard output as a pipe: going back is not possible in a file that the shell opened for appending."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def open_output(dest: str | os.PathLike[str] | BinaryIO, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file to write to: a path (see `replacing`), "-" (standard output) or a file object.

    System errors inside the block become `OutputError`.
    """
    if isinstance(dest, (str, os.PathLike)) and os.fspath(dest) != "-":
        with replacing(Path(dest), overwrite=overwrite) as temporary, temporary.open("w+b") as file:
            yield file
        return
    name = "the output"
    try:
        if isinstance(dest, (str, os.PathLike)):
            name = "standard output"
            if sys.stdout is None or sys.stdout.isatty():
                raise OutputError("standard output: is a terminal; redirect it to a file or a pipe")
            dest = cast(BinaryIO, _Forward(sys.stdout.buffer))
        yield dest
        dest.flush()
    except BrokenPipeError as error:
        raise OutputError(f"{name}: closed by its reader") from error
    except OSError as error:
        raise OutputError(f"{name}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
