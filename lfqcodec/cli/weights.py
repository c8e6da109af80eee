"""`lfqcodec weights`."""

from __future__ import annotations

import click

from lfqcodec.cli.common import human_bytes, json_option, print_json
from lfqcodec.weights.store import DEFAULT_MODEL, available_models, prior_for


@click.command("weights")
@json_option
def command(as_json: bool) -> None:
    """List models and priors that can be used here: those of the package and of $LFQCODEC_MODELS."""
    models = available_models()
    priors = [prior_for(m) for m in models]
    if as_json:
        print_json(
            [
                {
                    "name": m.name,
                    "default": m.name == DEFAULT_MODEL,
                    "sha256": m.sha256.hex(),
                    "path": str(m.path),
                    "bytes": m.path.stat().st_size,
                    "architecture": m.config.architecture,
                    "stages": m.config.stages,
                    "prior": None if prior is None else {"name": prior.name, "sha256": prior.sha256.hex()},
                }
                for m, prior in zip(models, priors, strict=True)
            ]
        )
        return
    for m, prior in zip(models, priors, strict=True):
        mark = " (default)" if m.name == DEFAULT_MODEL else ""
        size = human_bytes(m.path.stat().st_size)
        click.echo(f"{m.name}{mark}  {m.config.architecture}, {m.config.stages} stages, {size}")
        click.echo(f"    sha256 {m.sha256.hex()}")
        click.echo(f"    {m.path}")
        click.echo(
            "    no prior" if prior is None else f"    prior {prior.name}, sha256 {prior.sha256.hex()}"
        )
