"""Where files lie: in folders of this machine, or in stores that fsspec reaches (s3://, gs://, ...)."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from lfqcodec.errors import InputVideoError, LfqError, OutputError
from lfqcodec.output import TEMPORARY_SUFFIX, remove_dead, replacing

_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "r2", "memory"}
"""Protocols of stores in which a file appears when it is complete."""
_STAMPS = ("etag", "ETag", "mtime", "LastModified", "last_modified", "updated", "modified", "created")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size in bytes, and the time of the last change in whatever form the store has it."""

    size: int
    time: str

    @classmethod
    def of_stat(cls, stat: os.stat_result) -> Self:
        """That of a file of this machine."""
        return cls(stat.st_size, str(stat.st_mtime_ns))


def is_url(path: str) -> bool:
    """True for s3://..., False for a path of this machine, which file://... is, too."""
    return re.match(r"(?!file://)[a-z][a-z0-9+.-]+://", path, re.IGNORECASE) is not None


def plain(path: str) -> str:
    """A path without file:// in front of it."""
    return path[len("file://") :] if path.startswith("file://") else path


def join(folder: str, relative: str) -> str:
    """The path of what is `relative`, with slashes, to a folder."""
    return f"{folder.rstrip('/')}/{relative}" if is_url(folder) else os.path.join(plain(folder), relative)


def stamp(path: str) -> Stamp | None:
    """The stamp of a file or folder, None where there is none. Raises `LfqError` for a store out of reach."""
    if not is_url(path):
        try:
            return Stamp.of_stat(os.stat(plain(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputVideoError(f"{path}: {error.strerror or error}") from error
    with _reaching(path) as (system, key):
        try:
            return _stamp(system.info(key))
        except FileNotFoundError:
            return None


def is_folder(path: str) -> bool:
    """True for a folder that is there. Raises `LfqError` for a store out of reach."""
    if not is_url(path):
        return os.path.isdir(plain(path))
    with _reaching(path) as (system, key):
        return bool(system.isdir(key))


def files_below(folder: str, unreadable: list[tuple[str, str]] | None = None) -> Iterator[tuple[str, Stamp]]:
    """All files in and below a folder, by name, hidden ones left out: relative paths with slashes, stamps.

    Folders that cannot be read are added to `unreadable`, with the reason. Raises `LfqError` for a store out
    of reach.
    """
    if not is_url(folder):
        yield from _below(plain(folder), "", [] if unreadable is None else unreadable)
        return
    with _reaching(folder) as (system, key):
        root = key.rstrip("/") + "/"
        found = system.find(key, detail=True)
    for path in sorted(found):
        relative = path.removeprefix(root)
        if not any(part.startswith(".") for part in relative.split("/")):
            yield relative, _stamp(found[path])


def _below(root: str, relative: str, unreadable: list[tuple[str, str]]) -> Iterator[tuple[str, Stamp]]:
    here = os.path.join(root, relative) if relative else root
    try:
        with os.scandir(here) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=_by_name)
    except OSError as error:
        unreadable.append((here, error.strerror or str(error)))
        return
    for entry in entries:
        name = f"{relative}/{entry.name}" if relative else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _below(root, name, unreadable)
        elif entry.is_file():
            # What was removed meanwhile is no file any more.
            with suppress(OSError):
                yield name, Stamp.of_stat(entry.stat())


def _by_name(entry: os.DirEntry[str]) -> str:
    return entry.name


def matching(pattern: str) -> list[str]:
    """Paths that a pattern of a store fits (`glob` does it for paths of this machine)."""
    with _reaching(pattern) as (system, key):
        scheme = pattern.split("://", 1)[0]
        return [f"{scheme}://{path.lstrip('/')}" for path in sorted(system.glob(key))]


def make_parent(path: str) -> None:
    """Make the folder that a file is to lie in. Raises `OutputError`."""
    if not is_url(path):
        make_folder(os.path.dirname(plain(path)) or ".")


def make_folder(path: str) -> None:
    """Make a folder of this machine with those above it; stores need none. Raises `OutputError`."""
    if is_url(path):
        return
    try:
        os.makedirs(plain(path), exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


def tidy(path: str) -> None:
    """Remove what a killed process left beside a file of this machine."""
    if path and not is_url(path):
        remove_dead(Path(plain(path)))


@contextmanager
def fetched(path: str, folder: Path) -> Iterator[str]:
    """Yield a path of this machine with what is in `path`: itself, or a copy in `folder` that goes again."""
    if not is_url(path):
        yield plain(path)
        return
    local = _copy(folder / "in", path)
    with _reaching(path) as (system, key):
        if not system.exists(key):
            raise InputVideoError(f"{path}: No such file or directory")
        system.get_file(key, str(local))
    try:
        yield str(local)
    finally:
        local.unlink(missing_ok=True)


@contextmanager
def delivered(path: str, folder: Path) -> Iterator[str]:
    """Yield a path of this machine to write to; at the end it is at `path`, whole or not at all.

    A path of this machine is yielded as it is: who writes there sees to that.
    """
    if not is_url(path):
        yield plain(path)
        return
    local = _copy(folder / "out", path)
    try:
        yield str(local)
        if local.exists():
            _put(local, path)
    finally:
        local.unlink(missing_ok=True)


def _copy(folder: Path, path: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / path.rstrip("/").rpartition("/")[2]


def _put(local: Path, path: str) -> None:
    with _reaching(path) as (system, key):
        if path.split("://", 1)[0].lower() in _OBJECTS:
            system.put_file(str(local), key)
            return
        parent, _, name = key.rpartition("/")
        system.makedirs(parent, exist_ok=True)
        part = f"{parent}/.{name}{TEMPORARY_SUFFIX}-{uuid.uuid4().hex[:8]}"
        try:
            system.put_file(str(local), part)
            system.mv(part, key)
        except BaseException:
            if system.exists(part):
                system.rm(part)
            raise


def read_lines(path: str) -> Iterator[bytes]:
    """The lines of a file. Raises `LfqError` where it cannot be read."""
    if not is_url(path):
        try:
            with open(plain(path), "rb") as file:
                yield from file
        except OSError as error:
            raise LfqError(f"{path}: {error.strerror or error}") from error
        return
    with _reaching(path) as (system, key), system.open(key, "rb") as file:
        yield from file


def write_whole(path: str, local: Path) -> None:
    """Put a file of this machine at `path`, whole or not at all. Raises `OutputError` or `LfqError`."""
    if is_url(path):
        _put(local, path)
        return
    with replacing(Path(plain(path)), overwrite=True) as part:
        shutil.copyfile(local, part)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this machine for copies, which goes at the end."""
    with tempfile.TemporaryDirectory(prefix="lfqcodec-") as name:
        yield Path(name)


def _stamp(info: dict[str, Any]) -> Stamp:
    time = next((info[name] for name in _STAMPS if info.get(name) is not None), "")
    # Some libraries tell of one file in two ways.
    return Stamp(int(info.get("size") or 0), str(time.timestamp() if isinstance(time, datetime) else time))


@contextmanager
def _reaching(path: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it. Whatever its library raises becomes an `LfqError`."""
    import fsspec

    try:
        system, key = fsspec.core.url_to_fs(path)
        # Listings that are kept hide what others have written.
        system.invalidate_cache()
        yield system, key
    except (LfqError, FileNotFoundError, GeneratorExit):
        raise
    except Exception as error:
        said = str(error).strip() or type(error).__name__
        raise LfqError(f"{path}: {said.splitlines()[0]}") from error
