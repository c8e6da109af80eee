"""`lfqcodec batch`."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from lfqcodec.batch.engines.cluster import Needs, RayCluster
from lfqcodec.batch.engines.engine import Engine
from lfqcodec.batch.engines.processes import Processes
from lfqcodec.batch.inputs import CODED, VIDEOS, Source, find_sources
from lfqcodec.batch.manifest import read_manifest
from lfqcodec.batch.run import Request, Totals, run_batch
from lfqcodec.batch.work import Kind, Options, ReadOptions
from lfqcodec.bitstream import MAX_STREAMS
from lfqcodec.cli.shared.encoding import coding_options, measure_option, rate_options
from lfqcodec.cli.shared.options import (
    device_option,
    json_option,
    limit_option,
    model_option,
    precision_option,
    progress_options,
)
from lfqcodec.cli.shared.progress import clock, show_line
from lfqcodec.cli.shared.report import human_bytes, print_json, print_notes
from lfqcodec.codec.decode.options import AUDIO_CODECS, DecodeOptions
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.errors import ArgumentValueError
from lfqcodec.machine import usable_cores

_FORMATS = ("mp4", "mov", "mkv", "y4m", "png", "jpg")
_ENCODE = (
    *("crf", "bitrate", "effort", "gop", "scene_cuts", "profile", "start", "duration", "frames"),
    *("scale", "audio", "measure"),
)
_DECODE = ("start", "duration", "streams", "audio_codec", "best_effort")
# The options of each kind of work.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "encode": _ENCODE,
    "decode": (*_DECODE, "form", "limits"),
    "tokens": ("limits",),
    "verify": ("limits",),
}
# What a row of a manifest may say.
_ROWS = {"encode": _ENCODE[:-1], "decode": _DECODE[:-1]}
_ENGINES = {"processes": ("jobs",), "ray": ("address", "num_cpus", "num_gpus")}
_SHOWN = 20


@click.command("batch")
@click.argument("paths", nargs=-1, required=True, metavar="IN... OUT_DIR")
@click.option("--decode", "kind", flag_value="decode", help="Decode .lfq files instead.")
@click.option("--tokens", "kind", flag_value="tokens", help="Write the tokens of .lfq files as .npz instead.")
@click.option(
    "--verify", "kind", flag_value="verify", help="Check .lfq files instead; OUT_DIR gets the report."
)
@click.option("--manifest", metavar="FILE", help="Inputs, one a line, or CSV or Parquet with options a row.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one for each core]"
)
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="processes of this machine, or tasks of a Ray cluster.",
)
@click.option("--address", default="auto", show_default=True, help="The Ray cluster; local: one made here.")
@click.option(
    "--num-cpus", type=click.FloatRange(min=0), default=1.0, help="Cores of a task of Ray.  [default: 1]"
)
@click.option(
    "--num-gpus", type=click.FloatRange(min=0), default=0.0, help="GPUs of a task of Ray.  [default: 0]"
)
@click.option(
    "-f", "--force", "overwrite", is_flag=True, help="Overwrite outputs that were not made by a batch."
)
@click.option("--retry", is_flag=True, help="Try inputs again that could not be read or are damaged.")
@rate_options
@coding_options
@measure_option
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="mp4",
    show_default=True,
    help="What to decode to.",
)
@click.option("--streams", type=click.IntRange(1, MAX_STREAMS), help="1 decodes without the second stream.")
@click.option(
    "--audio-codec", type=click.Choice(AUDIO_CODECS), default="auto", show_default=True, help="As for decode."
)
@click.option("--best-effort", is_flag=True, help="Damage that is concealed is no failure.")
@progress_options
@json_option
@model_option
@device_option
@precision_option
@limit_option
@click.pass_context
def command(
    context: click.Context,
    /,
    paths: tuple[str, ...],
    kind: Kind | None,
    manifest: str | None,
    jobs: int | None,
    engine: str,
    address: str,
    num_cpus: float,
    num_gpus: float,
    overwrite: bool,
    retry: bool,
    progress: str,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Encode all videos of IN... into OUT_DIR, with the folders that they are in.

    IN is a file, a folder, or a quoted pattern such as 'clips/**/*.mp4'; with --manifest there may be none.
    All of them, OUT_DIR and the manifest may be places that fsspec knows (s3://bucket/clips).

    The same command goes on where it was interrupted: an output is passed over that is complete, and whose
    source and options are as they were, and an input that cannot be read or is damaged is not tried again.

    What fails does not stop the rest. OUT_DIR/report.jsonl has a line for each input, OUT_DIR/report.txt the
    totals and the failures; the exit code is 1 if there are any.
    """
    *inputs, out = paths
    kind = kind or "encode"
    if "" in paths:
        raise click.UsageError(f"{'IN' if '' in inputs else 'OUT_DIR'} is an empty name")
    if "-" in paths:
        raise click.UsageError("a batch reads and writes files, not standard input and output")
    if not inputs and manifest is None:
        raise click.UsageError("needs IN... and OUT_DIR, or --manifest FILE and OUT_DIR")
    _refuse_options_of_others(context, kind, engine)
    options, options_of = _options(context, kind, given)

    suffix = {"encode": ".lfq", "decode": f".{given['form']}", "tokens": ".npz", "verify": ""}[kind]
    request = Request(
        kind=kind,
        sources=_sources(inputs, manifest, kind, out),
        out=out,
        suffix=suffix,
        options=options,
        options_of=options_of,
        overwrite=overwrite,
        retry=retry,
    )
    totals, began = Totals(), time.monotonic()
    with show_line(lambda: describe(kind, totals, time.monotonic() - began), progress, quiet=quiet):
        finished = run_batch(request, _engine(engine, jobs, address, num_cpus, num_gpus), totals, show=_SHOWN)
    summary = finished.summary
    failed = summary.counts["failed"]
    if as_json:
        print_json({**summary.to_dict(), "report": finished.report, "elapsed": time.monotonic() - began})
    else:
        for source, reason in finished.failures:
            click.echo(f"failed: {source}: {reason}", err=True)
        if failed > len(finished.failures):
            click.echo(f"failed: {failed - len(finished.failures)} more", err=True)
        made = "" if kind == "verify" else f" -> {human_bytes(summary.made_bytes)}"
        click.echo(
            f"{summary.counts['done']} done, {summary.counts['skipped']} skipped, {failed} failed; "
            f"{summary.frames} frames, {human_bytes(summary.source_bytes)}{made} ({finished.report})"
        )
    sys.exit(1 if failed else 0)


def _refuse_options_of_others(context: click.Context, kind: Kind, engine: str) -> None:
    """`UsageError` for an option that the work, or the engine, has no use for."""
    every = {name for names in _OPTIONS.values() for name in names}
    wrong = dict.fromkeys(every - {*_OPTIONS[kind]}, "encoding" if kind == "encode" else f"--{kind}")
    wrong |= dict.fromkeys(_ENGINES["processes" if engine == "ray" else "ray"], f"--engine {engine}")
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in wrong and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} is not for {wrong[name]}", context)


def _options(
    context: click.Context, kind: Kind, given: Mapping[str, Any]
) -> tuple[Options, Callable[[Mapping[str, str]], Options]]:
    """The options of the batch, and what makes those of a row of a manifest."""
    if kind in ("tokens", "verify"):
        reading = ReadOptions(given["model"], given["limits"])
        return reading, lambda row: reading
    names = {*_OPTIONS[kind], "model", "device", "precision"} - {"form"}
    values = {name: given[name] for name in names}
    make = EncodeOptions if kind == "encode" else DecodeOptions

    def options_of(row: Mapping[str, str]) -> Options:
        merged = {**values, **{name: _converted(context, name, text) for name, text in row.items()}}
        # A rate of the row takes the place of the usual one, whichever of the two that is.
        if "crf" in row or "bitrate" in row:
            merged |= {name: None for name in ("crf", "bitrate") if name not in row}
        if kind == "encode":
            merged["audio"] = merged["audio"] == "copy"
        return make(**merged)

    return options_of({}), options_of


def _converted(context: click.Context, name: str, text: str) -> Any:
    """The value of a cell, as the option of that name takes it. Raises `ArgumentValueError`."""
    option = next(each for each in context.command.params if each.name == name)
    try:
        return option.type.convert(text, option, context)
    except click.BadParameter as error:
        raise ArgumentValueError(name, f"of the manifest: {error.message}") from error


def _sources(inputs: list[str], manifest: str | None, kind: Kind, out: str) -> Iterable[Source]:
    found = find_sources(inputs, VIDEOS if kind == "encode" else CODED, out)
    listed = () if manifest is None else read_manifest(manifest, frozenset(_ROWS.get(kind, ())))
    return itertools.chain(found, listed)


def _engine(name: str, jobs: int | None, address: str, cpus: float, gpus: float) -> Engine:
    def note(text: str) -> None:
        print_notes([text])

    if name == "ray":
        return RayCluster(address, Needs(cpus, gpus), note)
    return Processes(jobs or usable_cores(), note)


def describe(kind: Kind, totals: Totals, elapsed: float) -> str:
    """One line: how many inputs of how many, what failed, how much of their bytes, time left."""
    known = f"/{totals.files}" if totals.listed else f" of {totals.files} or more"
    parts = [f"{totals.settled}{known} files"]
    if totals.skipped:
        parts.append(f"{totals.skipped} skipped")
    if totals.failed:
        parts.append(f"{totals.failed} failed")
    if totals.waiting:
        parts.append("waiting for another batch")
    done = totals.bytes_done()
    if totals.listed and totals.bytes:
        parts.append(f"{int(100 * done / totals.bytes)}%")
        worked, left = done - totals.passed, totals.bytes - done
        if worked > 0 and left > 0:
            parts.append(f"{clock(elapsed * left / worked)} left")
    return "  ".join((f"batch {kind}", *parts))
