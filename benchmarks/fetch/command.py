"""`python -m benchmarks fetch`: get from their makers what this repository does not ship."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.fetch import lpips
from benchmarks.generation.weights import fetch_weights
from benchmarks.metrics.weights import cache_file


@click.group("fetch")
def fetch() -> None:
    """Download what the benchmarks use but this repository does not ship."""


_dest = click.option(
    "--dest",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: where the benchmarks look for it.",
)
_force = click.option("-f", "--force", is_flag=True, help="Overwrite the file.")


@fetch.command("lpips")
@_dest
@_force
def fetch_lpips_command(dest: Path | None, force: bool) -> None:
    """Weights of LPIPS: AlexNet of torchvision, heads of PerceptualSimilarity. Downloads 240 MB."""
    target = dest or cache_file()
    # Asking again is not an error: the weights are there.
    if force or not lpips.holds(target, lpips.CONTENT):
        lpips.fetch_lpips(target, force=force)
    click.echo(target)


@fetch.command("inception")
@_dest
@_force
def fetch_inception_command(dest: Path | None, force: bool) -> None:
    """Weights of Inception for FID and IS, from torch-fidelity."""
    _fetch("inception", dest, force=force)


@fetch.command("i3d")
@_dest
@_force
def fetch_i3d_command(dest: Path | None, force: bool) -> None:
    """Weights of I3D for FVD, from TATS."""
    _fetch("i3d", dest, force=force)


def _fetch(kind: str, dest: Path | None, *, force: bool) -> None:
    path, digest = fetch_weights(kind, dest, force=force)
    click.echo(f"content {digest}", err=True)
    click.echo(path)
