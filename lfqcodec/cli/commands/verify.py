"""`lfqcodec verify`."""

from __future__ import annotations

import sys

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.shared.options import json_option, limit_option, model_option, progress_options
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import complaint, plural, print_json
from lfqcodec.codec.decode.tokens import check_file


@click.command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@progress_options
@json_option
@model_option
@limit_option
def command(
    files: tuple[str, ...], progress: str, quiet: bool, as_json: bool, model: str | None, limits: Limits
) -> None:
    """Check the structure, every checksum and every token of .lfq files (- for standard input).

    Needs the prior, if the file was made with one, and no tokenizer: no pictures are computed. The exit code
    is that of the first file that fails.
    """
    if "" in files:
        raise click.UsageError("FILE is an empty name")
    results, code = [], 0
    for name in files:
        with show_progress(f"verifying {name}", progress, quiet=quiet) as tell:
            check = check_file(name, model=model, limits=limits, progress=tell)
        problem = check.error
        code = code or (0 if problem is None else problem.exit_code)
        said = None if problem is None else complaint(problem) + check.missing
        kind = None if problem is None else type(problem).__name__
        results.append(
            {
                "file": name,
                "ok": problem is None,
                "chunks": check.chunks,
                "frames": check.frames,
                "error": said,
                "kind": kind,
            }
        )
        if said is not None and not as_json:
            click.echo(f"lfqcodec: {said}", err=True)
        elif not as_json:
            click.echo(f"{name}: ok, {check.frames} frames in {plural(check.chunks, 'chunk')}")
    if as_json:
        print_json(results)
    sys.exit(code)
