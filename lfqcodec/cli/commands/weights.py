"""`lfqcodec weights`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lfqcodec.cli.shared.options import json_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.errors import WeightsError
from lfqcodec.weights.store import Model, available_models, prior_for, resolve_model


@click.command("weights")
@json_option
def command(as_json: bool) -> None:
    """List models and priors that can be used here: those of the package and of $LFQCODEC_MODELS.

    The default is that of the package, or what $LFQCODEC_MODEL names.
    """
    default: Path | None = None
    with suppress(WeightsError):
        default = resolve_model().path
    found = [_describe(model, default) for model in available_models()]
    if as_json:
        print_json(found)
        return
    for m in found:
        mark, prior = " (default)" if m["default"] else "", m["prior"]
        click.echo(f"{m['name']}{mark}  {m['architecture']}, {human_bytes(m['bytes'])}")
        click.echo(f"    sha256 {m['sha256']}\n    {m['path']}")
        click.echo(f"    prior {prior['name']}, sha256 {prior['sha256']}" if prior else "    no prior")


def _describe(model: Model, default: Path | None) -> dict[str, Any]:
    prior = prior_for(model)
    return {
        "name": model.name,
        "default": model.path == default,
        "sha256": model.sha256.hex(),
        "path": str(model.path),
        "bytes": model.path.stat().st_size,
        "architecture": model.config.architecture,
        "prior": None if prior is None else {"name": prior.name, "sha256": prior.sha256.hex()},
    }
