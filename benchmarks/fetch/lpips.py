"""The weights of LPIPS: from those of its parts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

import lfqcodec
from benchmarks.fetch.download import HINT, FetchError, Remote, content_digest, download, read_checkpoint
from lfqcodec.errors import WeightsError, WeightsHashMismatch
from lfqcodec.output import check_target, replacing
from lfqcodec.reproducible import sort_safetensors_header
from lfqcodec.train.lpips import LPIPS, load_lpips

CONTENT = "debb742136165ae0b60cd10af12e23806ba92b864f972586309c7d0d746f7d25"
"""`content_digest` of LPIPS v0.1 with AlexNet."""

# torchvision writes the first 8 digits of the SHA-256 into the name.
ALEXNET = Remote("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", 300 << 20, "7be5be79")
HEADS = Remote(
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth",
    1 << 20,
)


def convert(backbone: dict[str, Tensor], heads: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `LPIPS` out of torchvision's AlexNet and the heads of PerceptualSimilarity.

    Raises `WeightsError` where one is missing.
    """
    tensors: dict[str, Tensor] = {}
    for name in LPIPS().state_dict():
        # The heads were dropout followed by a convolution, of which only the latter has weights.
        key, source = (f"{name}.model.1.weight", heads) if name.startswith("lin") else (name, backbone)
        if not isinstance(source.get(key), Tensor):
            raise WeightsError(f"the downloaded files lack the tensor {key}; {HINT}")
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
            f"(content {have[:16]}, not {content[:16]}); {HINT}"
        )
    metadata = {
        "source": f"{alexnet.url} {heads.url}",
        "content_sha256": content,
        "written_by": f"lfqcodec {lfqcodec.__version__}",
    }
    with replacing(dest, overwrite=force) as temporary:
        temporary.write_bytes(sort_safetensors_header(save(tensors, metadata=metadata)))


def holds(path: Path, content: str) -> bool:
    """Whether a file has these weights already."""
    try:
        return content_digest(load_lpips(path).state_dict()) == content
    except WeightsError:
        return False
