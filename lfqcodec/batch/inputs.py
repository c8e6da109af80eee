"""From what a user names, folders, patterns, files and manifests, to single inputs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lfqcodec.batch import store
from lfqcodec.batch.store import Stamp

_VIDEOS = "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts wmv flv ogv 3gp y4m h264 h265 hevc gif"
VIDEOS = frozenset(f".{name}" for name in _VIDEOS.split())
CODED = frozenset((".lfq",))
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Source:
    """An input: its path, and what it is called below OUT_DIR, with the suffix of the input.

    `row` is what a manifest says of it. `fault` is why it cannot be used, where that is known already.
    """

    path: str
    relative: str
    stamp: Stamp | None = None
    row: dict[str, str] | None = None
    fault: str | None = None


def find_sources(inputs: Iterable[str], suffixes: frozenset[str], leave_out: str) -> Iterator[Source]:
    """All that `inputs` are or hold. In folders and below, files of the `suffixes`; the others as they are.

    A folder `leave_out` inside of an input is passed over: outputs are no inputs. What is not there, and a
    folder that cannot be read, has a `fault`. Raises `LfqError` for a store out of reach.
    """
    hidden = None if store.is_url(leave_out) else os.path.realpath(leave_out)
    for given in inputs:
        yield from _of(store.plain(given), suffixes, hidden)


def _of(given: str, suffixes: frozenset[str], hidden: str | None) -> Iterator[Source]:
    if store.is_folder(given):
        yield from _inside(given, "", suffixes, hidden)
    elif (found := store.stamp(given)) is not None:
        yield Source(given, _name(given), found)
    elif _MAGIC.search(given):
        yield from _fitting(given, suffixes, hidden)
    else:
        yield Source(given, _name(given), fault="No such file or directory")


def _inside(folder: str, below: str, suffixes: frozenset[str], hidden: str | None) -> Iterator[Source]:
    inner = None
    if hidden is not None and not store.is_url(folder):
        root = os.path.realpath(folder)
        if hidden.startswith(root + os.sep):
            inner = hidden[len(root) + 1 :].replace(os.sep, "/") + "/"
    unreadable: list[tuple[str, str]] = []
    for relative, found in store.files_below(folder, unreadable):
        if os.path.splitext(relative)[1].lower() in suffixes and not (inner and relative.startswith(inner)):
            yield Source(store.join(folder, relative), below + relative, found)
    for path, fault in unreadable:
        yield Source(path, below + _name(path), fault=fault)


def _fitting(pattern: str, suffixes: frozenset[str], hidden: str | None) -> Iterator[Source]:
    """What fits a pattern; the folders behind its last part without magic are kept."""
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    root = "/".join(parts[:fixed])
    root += "/" if root else ""
    deep = "**" in parts
    paths = store.matching(pattern) if store.is_url(pattern) else sorted(glob.iglob(pattern, recursive=True))
    count = 0
    for path in paths:
        relative = path.replace(os.sep, "/").removeprefix(root)
        if store.is_folder(path):
            if not deep:
                count += 1
                yield from _inside(path, f"{relative}/", suffixes, hidden)
        elif not deep or os.path.splitext(path)[1].lower() in suffixes:
            count += 1
            yield Source(path, relative, store.stamp(path))
    if not count:
        yield Source(pattern, _name(pattern), fault="no file fits this pattern")


def _name(path: str) -> str:
    return path.replace(os.sep, "/").rstrip("/").rpartition("/")[2] or "input"
