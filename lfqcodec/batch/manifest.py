"""Manifests: text with a path a line, or CSV and Parquet with options a row."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lfqcodec.batch import store
from lfqcodec.batch.inputs import Source
from lfqcodec.errors import ArgumentValueError, LfqError

PATH, OUTPUT = "path", "output"


def read_manifest(path: str, options: frozenset[str]) -> Iterator[Source]:
    """The inputs of a manifest, in order. Paths are relative to its folder, below which structure is kept.

    CSV and Parquet have a column `path`, and may have `output`, a path below OUT_DIR, and columns of the
    names in `options`; an empty cell leaves an option as it is. Raises `ArgumentValueError` for another
    column, `LfqError` where the file cannot be read.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".csv":
        rows = _csv_rows(path)
    elif suffix in (".parquet", ".pq"):
        rows = _parquet_rows(path)
    else:
        rows = ({PATH: line} for line in _lines(path) if line.strip())
    first = next(rows, None)
    if first is None:
        return iter(())
    _check_columns(path, first, options)
    folder = path.rpartition("/")[0] if store.is_url(path) else os.path.dirname(store.plain(path))
    return (_source(folder, number, row) for number, row in enumerate(itertools.chain([first], rows), 1))


def _source(folder: str, number: int, row: dict[str, str]) -> Source:
    given, output = row.pop(PATH).strip(), row.pop(OUTPUT, "").strip()
    row = {name: value.strip() for name, value in row.items() if value.strip()}
    absolute = store.is_url(given) or os.path.isabs(store.plain(given))
    path = store.plain(given) if absolute or not folder else store.join(folder, given)
    inside = PurePosixPath(os.path.normpath(given).replace(os.sep, "/"))
    keep = not absolute and ".." not in inside.parts
    relative = output or (str(inside) if keep else inside.name)
    if not given:
        return Source(f"row {number} of the manifest", f"row {number}", row=row, fault="has no path")
    outside = PurePosixPath(relative)
    if output and (outside.is_absolute() or ".." in outside.parts):
        return Source(path, inside.name, row=row, fault=f"output {output} is not below OUT_DIR")
    try:
        found = store.stamp(path)
    except LfqError as error:
        return Source(path, relative, row=row, fault=str(error))
    fault = None if found is not None else "No such file or directory"
    return Source(path, relative, found, {**row, **({OUTPUT: output} if output else {})}, fault)


def _check_columns(path: str, row: dict[str, str], options: frozenset[str]) -> None:
    if PATH not in row:
        raise ArgumentValueError("manifest", f"{path} has no column {PATH!r}")
    unknown = sorted(set(row) - {PATH, OUTPUT} - options)
    if unknown:
        known = ", ".join(sorted({PATH, OUTPUT} | options))
        raise ArgumentValueError("manifest", f"{path} has the column {unknown[0]!r}; there may be {known}")


def _lines(path: str) -> Iterator[str]:
    try:
        for line in store.read_lines(path):
            yield line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise LfqError(f"{path}: is not text in UTF-8") from error


def _csv_rows(path: str) -> Iterator[dict[str, str]]:
    try:
        for row in csv.DictReader(_lines(path), strict=True):
            # What lies beyond the header is under None, what a short row lacks is None.
            yield {name or "(none)": value if isinstance(value, str) else "" for name, value in row.items()}
    except csv.Error as error:
        raise LfqError(f"{path}: is not CSV ({error})") from error


def _parquet_rows(path: str) -> Iterator[dict[str, str]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LfqError(f"{path}: reading Parquet needs pyarrow (pip install 'lfqcodec[cluster]')") from error
    try:
        for batch in parquet.ParquetFile(store.plain(path)).iter_batches():
            for row in batch.to_pylist():
                yield {name: _text(value) for name, value in row.items()}
    except (OSError, pyarrow.ArrowException) as error:
        raise LfqError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
