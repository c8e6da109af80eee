"""Files from the network, checked: what this repository does not ship."""

from __future__ import annotations

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lfqcodec.errors import LfqError, WeightsError, WeightsHashMismatch

HINT = "without a network, copy the file from elsewhere and name it with --lpips-weights FILE"
_TIMEOUT = 60


class FetchError(LfqError):
    """A download failed."""


@dataclass(frozen=True)
class Remote:
    """A file to download: at most `limit` bytes; `sha256` is the beginning of its SHA-256 in hexadecimal."""

    url: str
    limit: int
    sha256: str = ""


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
        raise FetchError(f"{remote.url}: HTTP error {error.code} ({error.reason}); {HINT}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        # URLError wraps the system's own error, whose text is the clearer one.
        reason = getattr(error, "reason", error)
        raise FetchError(f"{remote.url}: cannot be downloaded ({reason}); {HINT}") from error
    if size < announced:
        raise FetchError(f"{remote.url}: ended after {size} of {announced} bytes; try again, or {HINT}")
    if not digest.hexdigest().startswith(remote.sha256):
        raise WeightsHashMismatch(
            f"{remote.url}: SHA-256 begins with {digest.hexdigest()[:8]}, not with {remote.sha256}; {HINT}"
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
