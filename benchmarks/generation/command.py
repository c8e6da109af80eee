"""`python -m benchmarks fid` and `fvd`: distances of generated samples to real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.generation import i3d
from benchmarks.generation.frechet import Accumulator, Moments, frechet_distance, inception_score
from benchmarks.generation.resize import resize_tf1
from benchmarks.generation.samples import samples
from benchmarks.generation.weights import find_weights, load_weights
from benchmarks.metrics.weights import file_sha256
from lfqcodec.codec.device import pick_device
from lfqcodec.errors import LfqError

_PATH = click.Path(path_type=Path)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
Network = Callable[[Tensor], Any]


def picture_features(
    path: Path, network: Network, device: torch.device, batch: int
) -> tuple[Accumulator, NDArray[np.float32]]:
    """Moments of the features of pictures, and their class probabilities float32 [n, C], in file order."""
    sums: Accumulator | None = None
    rows = []
    for part in samples(path, batch, ndim=4):
        features, probabilities = network(torch.from_numpy(part.copy()).to(device))
        sums = sums or Accumulator(features.shape[1])
        sums.add(features.cpu().numpy())
        rows.append(probabilities.cpu().numpy())
    if sums is None:
        raise LfqError(f"{path}: there are no samples")
    return sums, np.concatenate(rows)


def reference_moments(path: Path, network: Network, device: torch.device, batch: int) -> Moments:
    """`mu` and `sigma` of an `.npz` file where it has them, else the moments of its pictures."""
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if {"mu", "sigma"} <= set(arrays.files):
                    return Moments(*(arrays[name].astype(np.float64) for name in ("mu", "sigma")))
        except (OSError, ValueError) as error:
            raise LfqError(f"{path}: cannot be read ({error})") from error
    return picture_features(path, network, device, batch)[0].moments()


@click.command()
@click.argument("made", metavar="SAMPLES", type=_PATH)
@click.option("--reference", type=_PATH, required=True, help=".npz with mu and sigma or arr_0, or a folder.")
@click.option("--weights", type=_PATH, help="Weights of Inception; usually those that were fetched.")
@click.option("--split", type=click.IntRange(min=1), default=5000, show_default=True, help="Samples, of IS.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True)
@device_option
def fid(made: Path, reference: Path, weights: Path | None, split: int, batch: int, device: str) -> None:
    """FID and Inception Score of SAMPLES, an .npz file with arr_0 or a folder of PNG, by ADM's protocol.

    ADM takes 50,000 samples, as `lfqcodec generate --balanced` makes them. With fewer, FID is larger.
    """
    file = find_weights("inception", weights)
    where = pick_device(device)
    network = load_weights("inception", file).to(where)
    sums, probabilities = picture_features(made, network, where, batch)
    found = sums.moments()
    if not sums.full_rank:
        click.echo(f"note: {sums.count} samples for 2048 dimensions: FID is far too large", err=True)
    result = {
        "fid": frechet_distance(found, reference_moments(reference, network, where, batch)),
        "inception_score": inception_score(probabilities, split),
        "samples": sums.count,
        "split": split,
        "reference": str(reference),
        "weights_sha256": file_sha256(file),
    }
    click.echo(json.dumps(result, indent=2))


def prepared(clips: NDArray[np.uint8], frames: int, size: int | None, kind: str) -> Tensor:
    """Clips as I3D takes them: uint8 [B, T, H, W, 3] -> float32 [B, 3, frames, 224, 224] in [-1, 1].

    The first frames; with `size` the middle square is scaled to it before. `kind` "torch" is bilinear with
    half-pixel centres, "tf1" without.
    """
    x = torch.from_numpy(clips[:, :frames].copy()).permute(0, 1, 4, 2, 3).flatten(0, 1).float()
    side = min(x.shape[-2:])
    if size is not None:
        top, left = ((each - side) // 2 for each in x.shape[-2:])
        x = x[..., top : top + side, left : left + side]
    for each in ([size] if size is not None else []) + [i3d.SIDE]:
        wanted = (each, each)
        x = resize_tf1(x, wanted) if kind == "tf1" else F.interpolate(x, wanted, mode="bilinear")
    x = (x / 127.5 - 1).view(len(clips), -1, *x.shape[1:])
    return x.transpose(1, 2)


def clip_features(
    path: Path, network: Network, device: torch.device, frames: int, size: int | None, kind: str, batch: int
) -> NDArray[np.float32]:
    """Features of all clips, float32 [n, 400]. Raises `LfqError` for clips that are too short."""
    rows = []
    for part in samples(path, batch, ndim=5):
        if part.shape[1] < frames:
            raise LfqError(f"{path}: clips have {part.shape[1]} frames, not {frames}")
        rows.append(network(prepared(part, frames, size, kind).to(device)).cpu().numpy())
    if not rows:
        raise LfqError(f"{path}: there are no samples")
    return np.concatenate(rows)


def distances(made: NDArray[np.floating], real: NDArray[np.floating], groups: int) -> list[float]:
    """Fréchet distance of each of `groups` disjoint parts of both sides, as equal as can be."""
    found = []
    for parts in zip(np.array_split(made, groups), np.array_split(real, groups), strict=True):
        sums = [Accumulator(made.shape[1]) for _ in parts]
        for each, part in zip(sums, parts, strict=True):
            each.add(part)
        found.append(frechet_distance(*(each.moments() for each in sums)))
    return found


@click.command()
@click.argument("made", metavar="FAKE", type=_PATH)
@click.option("--real", type=_PATH, required=True, help="Folder of videos, or .npz.")
@click.option("--frames", type=click.IntRange(min=i3d.LEAST_FRAMES), default=16, show_default=True)
@click.option("--eval-size", type=click.IntRange(min=1), help="Scale the middle square to this side before.")
@click.option("--groups", type=click.IntRange(min=1), default=1, show_default=True, help="Disjoint parts.")
@click.option("--resize", type=click.Choice(["torch", "tf1"]), default="torch", show_default=True)
@click.option("--weights", type=_PATH, help="Weights of I3D; usually those that were fetched.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True)
@device_option
def fvd(
    made: Path,
    real: Path,
    frames: int,
    eval_size: int | None,
    groups: int,
    resize: str,
    weights: Path | None,
    batch: int,
    device: str,
) -> None:
    """FVD of FAKE, a folder of videos or an .npz file of clips, in features of I3D.

    Both sides need the same number of clips, and given frames belong to them on both.
    """
    file = find_weights("i3d", weights)
    where = pick_device(device)
    network = load_weights("i3d", file).to(where)
    both = [clip_features(path, network, where, frames, eval_size, resize, batch) for path in (made, real)]
    if len(both[0]) != len(both[1]):
        raise LfqError(f"{len(both[0])} clips were made and {len(both[1])} are real; as many are needed")
    each = distances(both[0], both[1], groups)
    if len(both[0]) // groups <= i3d.FEATURES:
        click.echo(f"note: {len(both[0]) // groups} clips for 400 dimensions: FVD is far too large", err=True)
    result = {
        "fvd": float(np.mean(each)),
        "deviation": float(np.std(each)),
        "groups": each,
        "clips": len(both[0]),
        "frames": frames,
        "eval_size": eval_size,
        "resize": resize,
        "weights_sha256": file_sha256(file),
    }
    click.echo(json.dumps(result, indent=2))
