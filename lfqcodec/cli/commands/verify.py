"""`lfqcodec verify`."""

from __future__ import annotations

import sys

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.shared.options import json_option, limit_option, model_option, progress_options
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import complaint, plural, print_json
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.progress import Progress
from lfqcodec.errors import LfqError, Truncated


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
        chunks = frames = 0
        problem: LfqError | None = None
        missing = ""
        try:
            with (
                open_file(name, model=model, limits=limits) as file,
                show_progress(f"verifying {name}", progress, quiet=quiet) as tell,
            ):
                try:
                    # The reader itself compares the totals of header and index with the chunks.
                    for chunk in file.tokens():
                        chunks, frames = chunks + 1, frames + chunk.head.valid
                        tell(Progress(frames, file.header.frame_count, 0, 0.0, frames, frames))
                except Truncated:
                    missing = file.missing(frames)
                    raise
        except LfqError as error:
            problem, code = error, code or error.exit_code
        said = None if problem is None else complaint(problem) + missing
        kind = None if problem is None else type(problem).__name__
        results.append(
            {
                "file": name,
                "ok": problem is None,
                "chunks": chunks,
                "frames": frames,
                "error": said,
                "kind": kind,
            }
        )
        if said is not None and not as_json:
            click.echo(f"lfqcodec: {said}", err=True)
        elif not as_json:
            click.echo(f"{name}: ok, {frames} frames in {plural(chunks, 'chunk')}")
    if as_json:
        print_json(results)
    sys.exit(code)
