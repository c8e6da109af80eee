"""Weights of the networks that FID, IS and FVD are measured with. They are no part of this repository."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

import lfqcodec
from benchmarks.fetch.download import Remote, content_digest, download, read_checkpoint
from benchmarks.generation.i3d import I3D
from benchmarks.generation.inception import Inception
from benchmarks.metrics.weights import cache_file
from lfqcodec.errors import OutputError, WeightsError, WeightsHashMismatch, WeightsMissing
from lfqcodec.output import check_target, replacing
from lfqcodec.reproducible import sort_safetensors_header


@dataclass(frozen=True)
class Source:
    """A network, where its weights come from, and what a file of them is called.

    `blob` is the SHA-1 that git has of the downloaded file, where its maker publishes no SHA-256.
    """

    build: Callable[[], nn.Module]
    remote: Remote
    file: str
    blob: str | None = None


SOURCES = {
    "inception": Source(
        Inception,
        Remote(
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            200 << 20,
            "6726825d",
        ),
        "inception_2015-12-05.safetensors",
    ),
    "i3d": Source(
        I3D,
        Remote("https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt", 100 << 20),
        "i3d_kinetics400.safetensors",
        "a867b87ac3a9097d200598b1d48a1b890d8ec744",
    ),
}


def find_weights(kind: str, given: Path | None = None) -> Path:
    """The file of weights: `given`, else that of $LFQCODEC_INCEPTION or $LFQCODEC_I3D, else what was fetched.

    Raises `WeightsMissing`, with the command that fetches it.
    """
    variable = f"LFQCODEC_{kind.upper()}"
    named = os.environ.get(variable)
    path = given or (Path(named) if named else cache_file().with_name(SOURCES[kind].file))
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such file; python -m benchmarks fetch {kind} gets the weights")
    return path


def load_weights(kind: str, path: Path) -> nn.Module:
    """The network with the weights of a file. Raises `WeightsError` unless all fit."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    network = SOURCES[kind].build()
    network.load_state_dict(fitting(network, tensors, str(path)))
    return network


def fitting(network: nn.Module, tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors that a network has, in float32. Raises `WeightsError` for one too many or too few.

    How many batches a normalisation saw is of no use here, and files may lack it.
    """
    expected = network.state_dict()
    counts = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}
    given = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    wrong = (expected.keys() - counts.keys()) ^ given.keys()
    wrong |= {key for key in given if key not in wrong and given[key].shape != expected[key].shape}
    if wrong:
        raise WeightsError(f"{name}: does not fit the network ({min(wrong)})")
    return {key: value.float().contiguous() for key, value in given.items()} | counts


def git_blob(path: Path) -> str:
    """The SHA-1 that git has of a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def fetch_weights(
    kind: str, dest: Path | None = None, *, force: bool = False, source: Source | None = None
) -> tuple[Path, str]:
    """Download weights and write them as a safetensors file; gives its path and the digest of the content.

    Raises `FetchError`, `WeightsHashMismatch`, `WeightsError`, and `OutputError` where the file exists
    (without `force`) or cannot be written.
    """
    source = source or SOURCES[kind]
    target = dest or cache_file().with_name(source.file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: {error.strerror}") from error
    check_target(target, overwrite=force)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "download"
        download(source.remote, path)
        if source.blob is not None and git_blob(path) != source.blob:
            raise WeightsHashMismatch(f"{source.remote.url}: is not the file that is pinned here")
        tensors = read_checkpoint(path, source.remote)
    kept = {name: each for name, each in tensors.items() if isinstance(each, Tensor)}
    network = source.build()
    ready = fitting(network, kept, source.remote.url)
    ready = {name: each for name, each in ready.items() if not name.endswith("num_batches_tracked")}
    digest = content_digest(ready)
    metadata = {"source": source.remote.url, "written_by": f"lfqcodec {lfqcodec.__version__}"}
    with replacing(target, overwrite=force) as temporary:
        temporary.write_bytes(sort_safetensors_header(save(ready, metadata=metadata)))
    return target, digest
