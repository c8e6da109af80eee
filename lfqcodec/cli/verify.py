"""`lfqcodec verify`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.common import complaint, json_option, limit_option, model_option, print_json
from lfqcodec.codec.decode.file import open_file
from lfqcodec.errors import LfqError


@dataclass
class _Result:
    file: str
    ok: bool
    chunks: int = 0
    frames: int = 0
    error: str | None = None
    kind: str | None = None


@click.command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
@model_option
@limit_option
def command(files: tuple[str, ...], as_json: bool, model: str | None, limits: Limits) -> None:
    """Check the structure, every checksum and every token of .lfq files (- for standard input).

    Needs the prior, if the file was made with one, and no tokenizer: no pictures are computed. The exit code
    is that of the first file that fails.
    """
    results, code = [], 0
    for name in files:
        result = _Result(name, ok=False)
        try:
            _verify(name, result, model, limits)
            result.ok = True
        except LfqError as error:
            result.error, result.kind = complaint(error), type(error).__name__
            code = code or error.exit_code
        results.append(result)
        if not as_json:
            if result.ok:
                many = "s" if result.chunks != 1 else ""
                click.echo(f"{name}: ok, {result.frames} frames in {result.chunks} chunk{many}")
            else:
                click.echo(f"lfqcodec: {result.error}", err=True)
    if as_json:
        print_json([vars(result) for result in results])
    sys.exit(code)


def _verify(name: str, result: _Result, model: str | None, limits: Limits) -> None:
    with open_file(name, model=model, limits=limits) as file:
        # The reader compares the frame count of the header and the totals of the index with the chunks.
        for chunk in file.tokens():
            result.chunks += 1
            result.frames += chunk.head.valid
