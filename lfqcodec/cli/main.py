"""The `lfqcodec` command: finds the subcommand, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from lfqcodec import __version__
from lfqcodec.errors import ArgumentError, LfqError
from lfqcodec.memory import keep_few_products, reuse_memory
from lfqcodec.startup import leave_out_compiler

# Name -> help line. The help is here so that `lfqcodec --help` need not import the commands, and torch.
COMMANDS = {
    "encode": "Encode a video or picture into a .lfq file.",
    "decode": "Decode a .lfq file to a video, pictures or a pipe.",
    "repair": "Make a whole file of what a damaged or cut-off .lfq file holds.",
    "strip": "Make a .lfq file smaller by leaving out its second stream.",
    "info": "Tell what a .lfq file holds.",
    "verify": "Check every checksum and token of .lfq files.",
    "tokens": "Write the tokens of a .lfq file as a NumPy array.",
    "batch": "Encode, decode or check many files, on all cores or on a Ray cluster.",
    "weights": "List the models that can be used here.",
    "train": "Train tokenizers, priors, generators and classifiers, and export their weights.",
    "generate": "Make pictures or clips with a generator.",
}
INTERRUPTED = 130
# What arguments of functions are called at the command line, where it is not --NAME.
_NAMES = {"source": "IN", "dest": "OUT", "passes": "--pass", "measure": "--psnr", "overwrite": "--force"}


class _Interrupt(Exception):
    """Ctrl-C or SIGTERM, under a name that click does not handle in its own way (an empty line first)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            _tell_in_json(ctx, "interrupted", error, INTERRUPTED)
            raise _Interrupt from error
        except MemoryError as error:
            _tell_in_json(ctx, "out of memory", error, LfqError.exit_code)
            raise
        except (LfqError, click.ClickException) as error:
            from lfqcodec.cli.shared.report import complaint

            told = _worded(error, ctx)
            text = complaint(told) if isinstance(told, LfqError) else told.format_message()
            _tell_in_json(ctx, text, error, told.exit_code)
            raise told from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        place = "train.command" if cmd_name == "train" else f"commands.{cmd_name}"
        command = importlib.import_module(f"lfqcodec.cli.{place}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _tell_in_json(ctx: click.Context, message: str, error: BaseException, code: int) -> None:
    """The error as the result of the command, where that is to be JSON."""
    if "--json" in sys.argv:
        from lfqcodec.cli.shared.report import print_json_error

        print_json_error(ctx, message, type(error).__name__, code)


def _worded(error: LfqError | click.ClickException, ctx: click.Context) -> LfqError | click.ClickException:
    """The error in the words of the command line: options and arguments by their names here, with a hint."""
    if isinstance(error, ArgumentError):
        name = _NAMES.get(error.argument, f"--{error.argument.replace('_', '-')}")
        command = click.Context(click.Command(None), info_name=ctx.invoked_subcommand, parent=ctx)
        return click.UsageError(f"{name} {error.problem}", command)
    if isinstance(error, click.UsageError) and (hint := _hint(sys.argv[2:])):
        return click.UsageError(error.format_message().rstrip(".") + hint, error.ctx)
    return error


def _hint(arguments: list[str]) -> str:
    """What may be meant where the arguments are not understood: names that look like options, ffmpeg's -i."""
    for each in arguments:
        if each == "--":
            break
        if each in ("-i", "-o"):
            return "; names need no -i and -o: lfqcodec encode IN OUT"
        if re.match(r"-[^-=]", each) and (os.path.lexists(each) or "." in each.lstrip("-0123456789.")):
            return f"; write ./{each} for a name that begins with -"
    return ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lfqcodec")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Neural video codec: small files, whole pictures.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 input video, 4 damaged .lfq, 5 model weights,
    6 numerics differ, 130 interrupted.
    """
    if ctx.invoked_subcommand not in ("train", "generate"):
        keep_few_products()
        leave_out_compiler()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: run the command and exit with the documented code."""
    signal.signal(signal.SIGTERM, _stop)
    # Threads of torch that spin while they wait cost a factor of 70 on small pictures when another program
    # wants the cores too (measured: 17 frames of 64x48 on 2 busy cores, 6.5 s against 0.09 s).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    reuse_memory()
    try:
        cli.main(prog_name="lfqcodec", standalone_mode=False)
    except click.UsageError as error:
        if "\n" in error.format_message():  # the help page of a group that was called without a command
            error.show()
            sys.exit(error.exit_code)
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        _fail(error.format_message() + hint, error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except LfqError as error:
        from lfqcodec.cli.shared.report import complaint

        _fail(complaint(error), error.exit_code)
    except (_Interrupt, KeyboardInterrupt, click.Abort):
        _fail("interrupted", INTERRUPTED)
    except MemoryError:
        _fail("out of memory", LfqError.exit_code)
    except OSError as error:
        # Files are dealt with where they are opened: what is left is the report on standard output.
        _fail(f"standard output: {error.strerror or error}", LfqError.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    with contextlib.suppress(OSError):
        click.echo(f"lfqcodec: {line}", err=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # The reader of a pipe has gone, say. Python must not try, and complain, once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
