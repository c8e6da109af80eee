"""`lfqcodec generate`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from lfqcodec.cli.shared.options import device_option, json_option, overwrite_option, progress_options
from lfqcodec.cli.shared.progress import show_progress
from lfqcodec.cli.shared.report import plural, print_json, print_notes
from lfqcodec.cli.shared.types import seconds
from lfqcodec.codec.progress import Progress
from lfqcodec.errors import ArgumentValueError
from lfqcodec.generate.decoding.schedule import SCHEDULES
from lfqcodec.generate.model.store import Generator, resolve_generator, tokenizer_of
from lfqcodec.generate.request import Request, choose_sampling, make_request
from lfqcodec.weights.store import Model

_SETTINGS = (
    *("steps", "schedule", "temperature", "guidance", "guidance_power", "softmax_temperature"),
    *("top_k", "top_p"),
)


def _pair(text: str) -> tuple[float, float]:
    parts = text.split(",")
    try:
        first, last = (float(part) for part in parts)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not two numbers such as 1.3,0.5") from error
    return first, last


@click.command("generate")
@click.argument("model")
@click.argument("dest", metavar="OUT")
@click.option("--class", "classes", multiple=True, metavar="NAME|NUMBER", help="Class; may be repeated.")
@click.option("--balanced", is_flag=True, help="All classes alike, in a random order.")
@click.option("--count", type=int, default=16, show_default=True, help="Samples in all; classes take turns.")
@click.option("--start-index", type=int, default=0, show_default=True, help="Number of the first sample.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--sampling", metavar="SET", help="Settings of the model's file to use, such as guided.")
@click.option("--steps", type=int, help="Steps of decoding.")
@click.option("--schedule", type=click.Choice(tuple(SCHEDULES)), help="How many units stay unknown.")
@click.option(
    "--temperature", type=float, help="Noise on the choice of what is kept; of an lm the softmax's."
)
@click.option("--guidance", type=float, help="Scale of classifier-free guidance; 1 is none.")
@click.option("--guidance-power", type=float, help="How late guidance sets in.")
@click.option("--softmax-temperature", type=_pair, metavar="A,B", help="At the first and last step.")
@click.option("--top-k", type=int, help="Of an lm: only so many of the likeliest tokens; 0 for all.")
@click.option("--top-p", type=float, help="Of an lm: the fewest tokens that are so likely together.")
@click.option("--condition", metavar="VIDEO", help="Clip to go on from.")
@click.option("--start", type=seconds, metavar="TIME", help="Where in VIDEO to begin: 12.5 or 1:02.5.")
@click.option("--keep/--no-keep", default=True, show_default=True, help="Given pixels as they are in VIDEO.")
@click.option(
    "--tokenizer", metavar="NAME|FILE|DIR", help="Where the model's tokenizer is, if not beside it."
)
@click.option(
    "--tokens", "tokens_file", type=click.Path(path_type=Path), metavar="FILE.npy", help="Tokens, too."
)
@click.option("--format", "form", type=click.Choice(["png", "mkv", "mp4"]), help="Files in a folder OUT.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Samples at once.")
@overwrite_option
@progress_options
@json_option
@device_option
def command(model: str, dest: str, progress: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Make pictures or clips with the generator MODEL, a name or a file.

    OUT by its suffix: .png (a sheet, a row for each class), .mp4, .mkv or .mov (clips beside each other),
    .npz (arr_0 and arr_1, as evaluators of FID read them; an interrupted run goes on from OUT.part), or a
    folder such as samples/ (a file each).
    """
    generator = resolve_generator(model)
    sampling = choose_sampling(generator, options["sampling"], {name: options[name] for name in _SETTINGS})
    request = make_request(
        generator,
        sampling,
        classes=options["classes"],
        balanced=options["balanced"],
        count=options["count"],
        seed=options["seed"],
        first=options["start_index"],
    )
    _check_condition(generator, options["condition"], options["start"])
    tokenizer = tokenizer_of(generator, options["tokenizer"])
    facts = _facts(generator, tokenizer, request, options)
    with show_progress("generating", progress, quiet=quiet) as tell, ExitStack() as stack:
        from lfqcodec.codec.device import pick_device
        from lfqcodec.generate.condition import read_condition
        from lfqcodec.generate.outputs import TokenFile, open_samples
        from lfqcodec.generate.sampler import Sampler

        sampler = Sampler(generator, tokenizer, pick_device(options["device"]))
        condition, notes = None, list[str]()
        if options["condition"] is not None:
            condition, notes = read_condition(
                options["condition"], frames=sampler.given, size=sampler.size[0], start=options["start"]
            )
        shape = (sampler.frames, *sampler.size)
        overwrite = options["overwrite"]
        tokens = None
        if options["tokens_file"] is not None:
            tokens = stack.enter_context(
                TokenFile(
                    options["tokens_file"], (request.count, *generator.config.grid), overwrite=overwrite
                )
            )
        out = stack.enter_context(
            open_samples(
                dest, request, shape, generator.classes, facts, form=options["form"], overwrite=overwrite
            )
        )
        skip = out.done if tokens is None else 0
        for part in sampler.samples(
            request, batch=options["batch"], skip=skip, condition=condition, keep=options["keep"]
        ):
            number = part.first - request.first
            for k, pictures in enumerate(part.pictures):
                out.write(number + k, part.labels[k], pictures)
            if tokens is not None:
                tokens.write(part.tokens)
            out.flush()
            done = number + len(part.labels)
            tell(Progress(done, request.count, 0, 0.0, coded=done))
    print_notes(notes)
    if as_json:
        print_json({"file": dest, **facts})
    else:
        kind = "clip" if sampler.frames > 1 else "picture"
        click.echo(f"{dest}: {plural(request.count, kind)} {sampler.size[1]}x{sampler.size[0]}")


def _check_condition(generator: Generator, condition: str | None, start: Fraction | None) -> None:
    """Raise `ArgumentValueError` where a condition is missing or of no use."""
    needed = bool(generator.config.given) or generator.config.commits
    if needed and condition is None:
        raise ArgumentValueError("condition", f"is needed: {generator.name} goes on from a clip")
    if condition is not None and not needed:
        raise ArgumentValueError("condition", f"is of no use: {generator.name} goes on from nothing")
    if start is not None and condition is None:
        raise ArgumentValueError("start", "needs --condition")


def _facts(
    generator: Generator, tokenizer: Model, request: Request, options: dict[str, Any]
) -> dict[str, Any]:
    """All that the samples depend on, as JSON."""
    facts = {
        "generator": {"name": generator.name, "sha256": generator.sha256.hex()},
        "tokenizer": {"name": tokenizer.name, "sha256": tokenizer.sha256.hex()},
        "sampling": asdict(request.sampling),
        "seed": request.seed,
        "first": request.first,
        "count": request.count,
        "classes": list(options["classes"]),
        "balanced": options["balanced"],
    }
    if options["condition"] is not None:
        start = options["start"]
        facts["condition"] = {
            "file": options["condition"],
            "start": None if start is None else float(start),
            "keep": options["keep"],
        }
    return facts
