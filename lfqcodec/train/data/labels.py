"""Labels of training files: the folders that they lie in, or a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lfqcodec.errors import InputVideoError

FOLDER = "folder"


def labels_of(
    wanted: str, roots: Sequence[Path], media: Iterable[Path], *, skip_unlisted: bool = False
) -> dict[Path, str]:
    """The label of each of `media`, which lie below `roots`.

    `wanted` "folder" takes the name of the folder directly below the root, as ImageNet has it. Anything else
    is a CSV file with the header `file,label`; files are relative to a root, with or without suffix. What it
    does not list is an error, or with `skip_unlisted` left out. Raises `InputVideoError`, with the line.
    """
    inside = {path: _below(path, roots) for path in media}
    if wanted != FOLDER:
        return _from_table(Path(wanted), inside, skip_unlisted=skip_unlisted)
    for path, name in inside.items():
        if len(name.parts) < 2:
            raise InputVideoError(f"{path}: lies in no folder that tells its class (or give a table)")
    return {path: name.parts[0] for path, name in inside.items()}


def _below(path: Path, roots: Sequence[Path]) -> Path:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root)
    raise InputVideoError(f"{path}: archives hold no labels; give folders")


def _from_table(table: Path, inside: Mapping[Path, Path], *, skip_unlisted: bool) -> dict[Path, str]:
    rows = _read(table)
    listed: set[str] = set()
    labels: dict[Path, str] = {}
    for path, name in inside.items():
        for key in (name.as_posix(), name.with_suffix("").as_posix()):
            if key in rows:
                labels[path] = rows[key][1]
                listed.add(key)
                break
        else:
            if not skip_unlisted:
                raise InputVideoError(f"{table}: does not list {name} (--unlabelled skip leaves it out)")
    for key, (line, _) in rows.items():
        if key not in listed:
            raise InputVideoError(f"{table}: line {line}: there is no file {key}")
    return labels


def _read(table: Path) -> dict[str, tuple[int, str]]:
    """Line and label by file. Raises `InputVideoError`."""
    rows: dict[str, tuple[int, str]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            if next(reader, None) != ["file", "label"]:
                raise InputVideoError(f"{table}: line 1: must be file,label")
            for row in reader:
                where = f"{table}: line {reader.line_num}"
                if not row:
                    continue
                if len(row) != 2 or not all(each.strip() for each in row):
                    raise InputVideoError(f"{where}: must be a file and a label")
                name, label = (each.strip() for each in row)
                if rows.setdefault(name, (reader.line_num, label))[1] != label:
                    raise InputVideoError(f"{where}: {name} has another label on line {rows[name][0]}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputVideoError(f"{table}: not a table of labels ({error})") from error
    return rows
