"""Names of inputs and outputs: what they are when they are left out, and which cannot be meant."""

from __future__ import annotations

from pathlib import Path

import click

from lfqcodec import arguments
from lfqcodec.bitstream import MAGIC


def is_lfq(source: str) -> bool:
    """True for a file that begins as .lfq files do."""
    path = Path(source)
    try:
        # A pipe must not be opened here: what is read of it is gone.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def output_of(dest: str | None, source: str, end: str, *, as_json: bool = False) -> str:
    """OUT, or if it is left out, IN with `end` in place of its suffix, in the same folder.

    `UsageError` where there is no name to make it from, where a name is empty, and where OUT and a report in
    JSON would both go to standard output.
    """
    if not source or dest == "":
        raise click.UsageError(f"{'IN' if not source else 'OUT'} is an empty name")
    if dest is None:
        arguments.refuse_url(source)
        if source == "-":
            raise click.UsageError("OUT is needed where IN is standard input")
        path = Path(source)
        if not path.name.strip("."):
            path = path.resolve()
        dest = str(path.with_name(path.stem + end))
    elif as_json and dest == "-":
        raise click.UsageError("--json and OUT - both want standard output")
    arguments.dest("dest", dest)
    return dest
