"""`lfqcodec weights`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lfqcodec.cli.shared.options import json_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.errors import WeightsError
from lfqcodec.generate.model.store import Generator, available_generators
from lfqcodec.understand.store import Classifier, available_classifiers
from lfqcodec.weights.store import Model, available_models, prior_for, resolve_model


@click.command("weights")
@json_option
def command(as_json: bool) -> None:
    """List the models, priors, generators and classifiers of the package and of $LFQCODEC_MODELS.

    The default is that of the package, or what $LFQCODEC_MODEL names.
    """
    default: Path | None = None
    with suppress(WeightsError):
        default = resolve_model().path
    found = [_describe(model, default) for model in available_models()]
    generators, classifiers = available_generators(), available_classifiers()
    if as_json:
        print_json([*found, *map(_describe_generator, generators), *map(_describe_classifier, classifiers)])
        return
    for m in found:
        mark, prior = " (default)" if m["default"] else "", m["prior"]
        click.echo(f"{m['name']}{mark}  {m['architecture']}, {human_bytes(m['bytes'])}")
        click.echo(f"    sha256 {m['sha256']}\n    {m['path']}")
        click.echo(f"    prior {prior['name']}, sha256 {prior['sha256']}" if prior else "    no prior")
    for each in generators:
        click.echo(f"{each.name}  generator of {_makes(each)}, {human_bytes(each.path.stat().st_size)}")
        click.echo(f"    sha256 {each.sha256.hex()}\n    {each.path}")
        click.echo(f"    for the tokenizer of sha256 {each.trained_for}")
    for own in classifiers:
        click.echo(f"{own.name}  classifier of clips, {human_bytes(own.path.stat().st_size)}")
        click.echo(f"    sha256 {own.sha256.hex()}\n    {own.path}")


def _makes(generator: Generator) -> str:
    config = generator.config
    made = "pictures" if config.grid[0] == 1 else "clips"
    kind = f"{made} by a condition" if config.given or config.commits else made
    return f"{kind}, {config.classes} classes" if config.classes else kind


def _describe_generator(generator: Generator) -> dict[str, Any]:
    return {
        "name": generator.name,
        "kind": "generator",
        "default": False,
        "sha256": generator.sha256.hex(),
        "path": str(generator.path),
        "bytes": generator.path.stat().st_size,
        "grid": list(generator.config.grid),
        "classes": generator.config.classes,
        "trained_for": generator.trained_for,
    }


def _describe_classifier(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": classifier.name,
        "kind": "classifier",
        "default": False,
        "sha256": classifier.sha256.hex(),
        "path": str(classifier.path),
        "bytes": classifier.path.stat().st_size,
    }


def _describe(model: Model, default: Path | None) -> dict[str, Any]:
    prior = prior_for(model)
    return {
        "name": model.name,
        "kind": "tokenizer",
        "default": model.path == default,
        "sha256": model.sha256.hex(),
        "path": str(model.path),
        "bytes": model.path.stat().st_size,
        "architecture": model.config.architecture,
        "prior": None if prior is None else {"name": prior.name, "sha256": prior.sha256.hex()},
    }
