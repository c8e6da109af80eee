"""`python -m benchmarks`: one subcommand a measurement."""

from __future__ import annotations

import sys

import click

from benchmarks.bits import bits
from benchmarks.determinism import determinism
from benchmarks.memory import memory
from benchmarks.quality import quality
from benchmarks.speed import speed
from lfqcodec.errors import LfqError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Measure the codec. Every figure comes from a complete file that was written and read back."""


cli.add_command(quality)
cli.add_command(memory)
cli.add_command(determinism)
cli.add_command(bits)
cli.add_command(speed)

if __name__ == "__main__":
    try:
        cli(prog_name="python -m benchmarks")
    except LfqError as error:
        click.echo(f"benchmarks: {error}", err=True)
        sys.exit(error.exit_code)
