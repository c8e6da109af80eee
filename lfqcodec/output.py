"""Output files that appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lfqcodec.errors import OutputError

TEMPORARY_SUFFIX = ".lfqcodec-partial"


def check_target(target: Path, *, overwrite: bool, directory: bool = False) -> None:
    """Raise `OutputError` where `target` could not be written, before any work is done."""
    if target.exists():
        if target.is_dir() != directory:
            kind = "a folder" if target.is_dir() else "a file"
            raise OutputError(f"{target}: is {kind}")
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
    prefix = f".{target.stem}{TEMPORARY_SUFFIX}-"
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
