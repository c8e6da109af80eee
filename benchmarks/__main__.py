"""`python -m benchmarks`: one subcommand a measurement."""

from __future__ import annotations

import importlib
import sys

import click

from lfqcodec.errors import LfqError

# Name -> where the command is. Each is loaded when it is asked for: they need different packages.
COMMANDS = {
    "sweep": "benchmarks.sweep",
    "report": "benchmarks.report.command",
    "speed": "benchmarks.speed.command",
    "stages": "benchmarks.speed.stages",
    "study": "benchmarks.rating.command",
    "rate": "benchmarks.rating.command",
    "elo": "benchmarks.rating.command",
    "fetch": "benchmarks.fetch.command",
    "quality": "benchmarks.quality",
    "bits": "benchmarks.bits",
    "curves": "benchmarks.curves",
    "memory": "benchmarks.speed.memory",
    "seek": "benchmarks.seek",
    "damage": "benchmarks.damage",
    "determinism": "benchmarks.determinism.command",
    "toy": "benchmarks.toy.command",
    "prediction": "benchmarks.generation.prediction",
    "judge": "benchmarks.generation.judge",
    "agreement": "benchmarks.generation.agreement",
    "demo": "benchmarks.generation.demo",
    "fid": "benchmarks.generation.command",
    "fvd": "benchmarks.generation.command",
    "actions": "benchmarks.understanding.command",
    "targets": "benchmarks.understanding.targets",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(COMMANDS[cmd_name])
        except ModuleNotFoundError as error:
            raise LfqError(f"{cmd_name} needs {error.name}: pip install 'lfqcodec[bench]'") from error
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Measure the codec. Every figure comes from a complete file that was written and read back."""


if __name__ == "__main__":
    try:
        cli(prog_name="python -m benchmarks")
    except LfqError as error:
        click.echo(f"benchmarks: {error}", err=True)
        sys.exit(error.exit_code)
