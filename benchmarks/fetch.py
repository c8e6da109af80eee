"""`python -m benchmarks fetch`: get from their makers what this repository does not ship."""

from __future__ import annotations

import hashlib
import http.client
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

import lfqcodec
from benchmarks.metrics.weights import cache_file
from lfqcodec.errors import LfqError, WeightsError, WeightsHashMismatch
from lfqcodec.output import check_target, replacing
from lfqcodec.reproducible import sort_safetensors_header
from lfqcodec.train.lpips import LPIPS, load_lpips

CONTENT = "debb742136165ae0b60cd10af12e23806ba92b864f972586309c7d0d746f7d25"
"""`content_digest` of LPIPS v0.1 with AlexNet."""

_HINT = "without a network, copy the file from elsewhere and name it with --lpips-weights FILE"
_TIMEOUT = 60


class FetchError(LfqError):
    """A download failed."""


@dataclass(frozen=True)
class Remote:
    """A file to download: at most `limit` bytes; `sha256` is the beginning of its SHA-256 in hexadecimal."""

    url: str
    limit: int
    sha256: str = ""


# torchvision writes the first 8 digits of the SHA-256 into the name.
ALEXNET = Remote("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", 300 << 20, "7be5be79")
HEADS = Remote(
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth",
    1 << 20,
)


def content_digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values as little-endian float32, in the order of the names.

    It does not depend on the kind of file or its metadata, as the SHA-256 of a file does.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().numpy()
        digest.update(f"{name} {'x'.join(map(str, values.shape))}\n".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def download(remote: Remote, dest: Path) -> None:
    """Download a file with a progress bar on standard error. Raises `FetchError`, `WeightsHashMismatch`."""
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(remote.url, timeout=_TIMEOUT) as answer, dest.open("wb") as file:
            announced = int(answer.headers.get("Content-Length") or 0)
            name = remote.url.rsplit("/", 1)[-1]
            with tqdm(total=announced or None, unit="B", unit_scale=True, desc=name, file=sys.stderr) as bar:
                while block := answer.read(1 << 20):
                    size += len(block)
                    if max(size, announced) > remote.limit:
                        raise FetchError(f"{remote.url}: larger than the {remote.limit} bytes expected of it")
                    digest.update(block)
                    file.write(block)
                    bar.update(len(block))
    except urllib.error.HTTPError as error:
        error.close()  # it is the connection as well
        raise FetchError(f"{remote.url}: HTTP error {error.code} ({error.reason}); {_HINT}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        # URLError wraps the system's own error, whose text is the clearer one.
        reason = getattr(error, "reason", error)
        raise FetchError(f"{remote.url}: cannot be downloaded ({reason}); {_HINT}") from error
    if size < announced:
        raise FetchError(f"{remote.url}: ended after {size} of {announced} bytes; try again, or {_HINT}")
    if not digest.hexdigest().startswith(remote.sha256):
        raise WeightsHashMismatch(
            f"{remote.url}: SHA-256 begins with {digest.hexdigest()[:8]}, not with {remote.sha256}; {_HINT}"
        )


def read_checkpoint(path: Path, remote: Remote) -> dict[str, Tensor]:
    """The tensors of a downloaded checkpoint of torch. Raises `WeightsError`."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling what anybody may have sent can raise anything
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{remote.url}: not a checkpoint of torch ({reason})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{remote.url}: holds no table of tensors")
    return found


def convert(backbone: dict[str, Tensor], heads: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `LPIPS` out of torchvision's AlexNet and the heads of PerceptualSimilarity.

    Raises `WeightsError` where one is missing.
    """
    tensors: dict[str, Tensor] = {}
    for name in LPIPS().state_dict():
        # The heads were dropout followed by a convolution, of which only the latter has weights.
        key, source = (f"{name}.model.1.weight", heads) if name.startswith("lin") else (name, backbone)
        if not isinstance(source.get(key), Tensor):
            raise WeightsError(f"the downloaded files lack the tensor {key}; {_HINT}")
        tensors[name] = source[key].detach().float().contiguous()
    return tensors


def fetch_lpips(
    dest: Path,
    *,
    alexnet: Remote = ALEXNET,
    heads: Remote = HEADS,
    content: str = CONTENT,
    force: bool = False,
) -> None:
    """Download and convert the weights of LPIPS into the new safetensors file `dest`, whole or not at all.

    Folders are made as needed. Raises `FetchError`, `WeightsError`, and `OutputError` where `dest` cannot be
    written or, without `force`, exists.
    """
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"{dest.parent}: {error.strerror}") from error
    check_target(dest, overwrite=force)
    tables = []
    with tempfile.TemporaryDirectory() as scratch:
        for remote in (heads, alexnet):  # the small file first: without network it fails as well
            path = Path(scratch) / "download"
            download(remote, path)
            tables.append(read_checkpoint(path, remote))
    tensors = convert(tables[1], tables[0])
    if (have := content_digest(tensors)) != content:
        raise WeightsHashMismatch(
            "the downloaded weights are not those of LPIPS v0.1 "
            f"(content {have[:16]}, not {content[:16]}); {_HINT}"
        )
    metadata = {
        "source": f"{alexnet.url} {heads.url}",
        "content_sha256": content,
        "written_by": f"lfqcodec {lfqcodec.__version__}",
    }
    with replacing(dest, overwrite=force) as temporary:
        temporary.write_bytes(sort_safetensors_header(save(tensors, metadata=metadata)))


def _holds(path: Path, content: str) -> bool:
    try:
        return content_digest(load_lpips(path).state_dict()) == content
    except WeightsError:
        return False


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
    if force or not _holds(target, CONTENT):
        fetch_lpips(target, force=force)
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
    from benchmarks.generation.weights import fetch_weights

    path, digest = fetch_weights(kind, dest, force=force)
    click.echo(f"content {digest}", err=True)
    click.echo(path)
