"""Outputs: pipes, and files that appear whole or not at all (written under another name, then renamed)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from lfqcodec.errors import ArgumentValueError, OutputBusy, OutputError

if sys.platform != "win32":
    import fcntl

TEMPORARY_SUFFIX = ".lfqcodec-partial"
_NAME_BYTES = 255
"""Longest name of a file, with the systems in use."""
_LONGEST_SUFFIX = 16
_VIDEO = "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts wmv flv ogv 3gp y4m yuv h264 h265 hevc"
_OTHER = "gif png jpg jpeg webp avif bmp tif tiff m4a mp3 wav npz"
_OTHER_FORMATS = frozenset(f".{name}" for name in f"{_VIDEO} {_OTHER}".split())


def refuse_other_format(dest: object) -> None:
    """Raise `ArgumentValueError` where the name of a file that is to be .lfq says that it is another."""
    path = Path(dest) if isinstance(dest, (str, os.PathLike)) else Path()
    if path.suffix.lower() in _OTHER_FORMATS:
        hint = f"use {path.with_suffix('.lfq')}, or lfqcodec decode to make {path.suffix} of a .lfq file"
        raise ArgumentValueError("dest", f"is to be a .lfq file, and {path} is none by its name: {hint}")


def followed(target: Path) -> Path:
    """Where the bytes of `target` are to be: behind the symbolic link, if it is one."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def check_target(target: Path, *, overwrite: bool, directory: bool = False) -> None:
    """Raise `OutputError` where `target` could not be written, before any work is done."""
    target = followed(target)
    if target.exists():
        if target.is_dir() != directory:
            raise OutputError(f"{target}: is {'a file' if directory else 'a folder'}")
        if directory and any(target.iterdir()):
            # Replacing a folder would delete whatever else lies in it.
            raise OutputError(f"{target}: holds files already")
        if not directory and not target.is_file():
            # Renaming over /dev/null would put a plain file in its place.
            raise OutputError(f"{target}: is not a regular file (use - and redirect standard output)")
        if not directory and not overwrite:
            raise OutputError(f"{target}: exists already (use -f to overwrite)")
    parent = target.parent
    if not parent.is_dir():
        raise OutputError(f"{parent}: no such folder")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{parent}: not writable")


def same_file(one: object, other: object) -> bool:
    """True for two names of one file, which need not exist yet; pipes and file objects are never the same."""
    paths = [Path(p) for p in (one, other) if isinstance(p, (str, os.PathLike)) and os.fspath(p) != "-"]
    if len(paths) != 2:
        return False
    if all(path.exists() for path in paths):
        return paths[0].samefile(paths[1])
    return os.path.realpath(paths[0]) == os.path.realpath(paths[1])


def refuse_same_file(source: object, dest: object) -> None:
    """Raise `OutputError` where both are names of one file that is there."""
    if same_file(source, dest) and os.path.exists(str(dest)):
        raise OutputError(f"{dest}: input and output are the same file")


def _named(parent: Path, pattern: re.Pattern[str]) -> list[Path]:
    with os.scandir(parent) as entries:
        return [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def lock(handle: int, *, wait: bool = False) -> bool | None:
    """Take the lock of an open file or folder, which goes when `handle` is closed or the process dies.

    False where another process has it, None where the system has no such locks.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(handle: int, path: Path) -> bool:
    """True while `path` is a name of the open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def remove_if_dead(path: Path) -> None:
    """Remove a temporary file or folder whose process is gone. One that is still locked is left alone."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        if lock(handle) and is_at(handle, path):
            _remove(path)
    finally:
        os.close(handle)


def _create(parent: Path, prefix: str, suffix: str, *, directory: bool) -> tuple[Path, int]:
    """A new temporary file or folder, and the handle that holds its lock."""
    while True:
        if directory:
            path = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
            path.chmod(0o777 & ~_umask())
            handle = os.open(path, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=parent)
            path = Path(name)
        try:
            if not directory:
                os.fchmod(handle, 0o666 & ~_umask())
            lock(handle, wait=True)
            # Between making and locking it another run may have taken it for a dead one.
            if is_at(handle, path):
                return path, handle
        except BaseException:
            os.close(handle)
            _remove(path)
            raise
        os.close(handle)


def _scratch_names(prefix: str, suffix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix) + "[a-z0-9_]{8}" + re.escape(suffix))


@contextlib.contextmanager
def scratch(parent: Path, prefix: str, suffix: str = "", *, directory: bool = False) -> Iterator[Path]:
    """Yield a new file, or folder, in `parent`; what is still there at the end is removed.

    Its name is `prefix`, random letters, `suffix`. Others of such a name are removed first where no process
    holds them any more: what a killed run left behind.
    """
    for path in _named(parent, _scratch_names(prefix, suffix)):
        remove_if_dead(path)
    path, handle = _create(parent, prefix, suffix, directory=directory)
    try:
        yield path
    finally:
        if is_at(handle, path):
            _remove(path)
        os.close(handle)


def fitting(name: str, spare: int) -> str:
    """`name`, cut and made unique again where it leaves less than `spare` bytes for what is put behind it."""
    data = os.fsencode(name)
    if len(data) + spare <= _NAME_BYTES:
        return name
    digest = f"-{hashlib.sha256(data).hexdigest()[:8]}"
    return data[: _NAME_BYTES - spare - len(digest)].decode(errors="ignore") + digest


def _temporary_names(target: Path, *, directory: bool) -> tuple[str, str]:
    """What the names of temporary files for `target` begin and end with."""
    # FFmpeg chooses formats by suffix; one that is longer than any of them is only a part of the name.
    suffix = target.suffix if not directory and len(target.suffix) <= _LONGEST_SUFFIX else ""
    spare = len(f".{TEMPORARY_SUFFIX}-12345678") + len(os.fsencode(suffix))
    return f".{fitting(target.name.removesuffix(suffix), spare)}{TEMPORARY_SUFFIX}-", suffix


def refuse_busy(dest: object, *, overwrite: bool) -> None:
    """Raise `OutputBusy` where another run is making the same new file, unless it may be overwritten."""
    if overwrite or not isinstance(dest, (str, os.PathLike)) or os.fspath(dest) == "-":
        return
    target = followed(Path(dest))
    with contextlib.suppress(OSError):
        for path in _named(target.parent, _scratch_names(*_temporary_names(target, directory=False))):
            with path.open("rb") as file:
                if lock(file.fileno()) is False:
                    raise OutputBusy(f"{target}: another run is making it (use -f to overwrite)")


def remove_dead(target: Path) -> None:
    """Remove what killed processes left of `target` under temporary names."""
    target = followed(target)
    with contextlib.suppress(OSError):
        for path in _named(target.parent, _scratch_names(*_temporary_names(target, directory=False))):
            remove_if_dead(path)


def put_in_place(path: Path, target: Path, *, overwrite: bool) -> None:
    """Give the complete file `path` the name `target`, at once or not at all.

    Without `overwrite` a file that has appeared there meanwhile stays: `OutputError`.
    """
    if overwrite:
        os.replace(path, target)
        return
    try:
        os.link(path, target)
    except FileExistsError as error:
        raise OutputError(f"{target}: was made by another run meanwhile (use -f to overwrite)") from error
    except OSError:
        # File systems without hard links: the name is taken first, by an empty file.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(path, target)
        except OSError:
            _remove(target)
            raise
    else:
        path.unlink()


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool = False, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` on success, remove it on any error.

    A symbolic link is followed. Without `overwrite` nothing that appears there meanwhile is replaced. The
    temporary name keeps the suffix of `target`, because FFmpeg chooses formats by suffix. With `directory`
    the temporary path is an empty folder. Raises `OutputError`.
    """
    target = followed(target)
    check_target(target, overwrite=overwrite, directory=directory)
    prefix, suffix = _temporary_names(target, directory=directory)
    try:
        with scratch(target.parent, prefix, suffix, directory=directory) as path:
            yield path
            # A folder takes the place of an empty one.
            put_in_place(path, target, overwrite=overwrite or directory)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}") from error


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
        refuse_busy(dest, overwrite=overwrite)
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
