"""The weights at hand: what there is, found by name, path or SHA-256, and described without torch.

Weights are safetensors files. A model is a tokenizer; a prior belongs to the tokenizer whose tokens it was
trained on. The identity of either is the SHA-256 of its file, which every .lfq file records. They lie in the
package, in the folders of the environment variable LFQCODEC_MODELS, or where `--model` points. The variable
LFQCODEC_MODEL names the default model in place of that of the package, by its name or its path; the folder
of such a path is searched, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError, safe_open

from lfqcodec.errors import UnknownModel, WeightsError, WeightsHashMismatch, WeightsMissing
from lfqcodec.prior.motion.config import MotionPriorConfig
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.registry import parse_config

MODELS_VARIABLE = "LFQCODEC_MODELS"
DEFAULT_VARIABLE = "LFQCODEC_MODEL"
DEFAULT_MODEL = "motion-7"
_SUFFIX = ".safetensors"

NameOrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Weights:
    """A file of weights. `sha256` is 32 bytes, that of the file; `metadata` what its header holds."""

    name: str
    path: Path
    sha256: bytes
    metadata: dict[str, str]


@dataclass(frozen=True)
class Model(Weights):
    """A tokenizer on disk."""

    config: TokenizerConfig


@dataclass(frozen=True)
class Prior(Weights):
    """A prior on disk."""

    config: MotionPriorConfig

    @property
    def trained_for(self) -> str:
        """SHA-256 of the tokenizer whose tokens it was trained on, in hex."""
        return self.metadata.get("trained_for", "")


_Kind = TypeVar("_Kind", bound=Weights)


class Shelf(Generic[_Kind]):
    """All weights of one kind. `key` is the entry of a file's metadata that holds its configuration."""

    def __init__(self, kind: type[_Kind], key: str, parse: Callable[[str], Any]) -> None:
        self._kind, self._key, self._parse = kind, key, parse
        self._label = kind.__name__.lower()

    def read(self, path: Path) -> _Kind:
        """Describe a file. Raises `WeightsMissing` or `WeightsError`."""
        metadata = _metadata(path)
        if self._key not in metadata:
            raise WeightsError(f"{path}: holds no {self._key}")
        try:
            config = self._parse(metadata[self._key])
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
        name = metadata.get("name", path.stem)
        return self._kind(name, path, _sha256(path), metadata, config)  # type: ignore[call-arg]

    def available(self, near: Path | None = None) -> list[_Kind]:
        """All that can be read in the folder `near`, that of the package, and those of the environment."""
        extra = os.environ.get(MODELS_VARIABLE, "").split(os.pathsep)
        default = _folder_of(os.environ.get(DEFAULT_VARIABLE, ""))
        folders = [near, package_folder(), default, *(Path(part) for part in extra if part)]
        return [each for folder in folders if folder is not None for each in self._inside(folder)]

    def _inside(self, folder: Path) -> list[_Kind]:
        """A broken file must not hide the others."""
        found = []
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with suppress(WeightsError):
                found.append(self.read(path))
        return found

    def resolve(self, wanted: NameOrPath) -> _Kind:
        """What a user names: a name, a file, or a folder with one file of this kind.

        Raises `UnknownModel`, `WeightsMissing` or `WeightsError`.
        """
        path = Path(wanted)
        if path.is_dir():
            inside = self._inside(path)
            if len(inside) != 1:
                count = "more than one" if inside else "no"
                raise WeightsMissing(f"{path}: holds {count} {self._label} that can be read ({_SUFFIX} file)")
            return inside[0]
        available = [] if path.suffix == _SUFFIX else self.available()
        for each in available:
            if each.name == os.fspath(wanted):
                return each
        if path.suffix == _SUFFIX or path.exists():
            return self.read(path)
        names = ", ".join(sorted(each.name for each in available)) or "none"
        raise UnknownModel(f"no {self._label} named {os.fspath(wanted)!r} (available: {names})")

    def find(self, sha256: bytes, near: Path | None = None) -> _Kind:
        """The one that a .lfq file needs. Raises `UnknownModel` where it is neither `near` nor elsewhere."""
        for each in self.available(near):
            if each.sha256 == sha256:
                return each
        raise UnknownModel(
            f"the file was made with a {self._label} that is not here (SHA-256 {sha256.hex()}); "
            f"give its folder with --model or put it in a folder of {MODELS_VARIABLE}"
        )


MODELS = Shelf(Model, "tokenizer", parse_config)
PRIORS = Shelf(Prior, "prior", MotionPriorConfig.from_json)
read_model, available_models = MODELS.read, MODELS.available
read_prior, resolve_prior = PRIORS.read, PRIORS.resolve


def resolve_model(wanted: NameOrPath | None = None) -> Model:
    """The model that a user names (`Shelf.resolve`), or the default one."""
    if wanted is None:
        wanted = os.environ.get(DEFAULT_VARIABLE) or DEFAULT_MODEL
    return MODELS.resolve(wanted)


def find_model(sha256: bytes, wanted: NameOrPath | None = None) -> Model:
    """The model that a .lfq file needs, which must be `wanted` if that is given.

    Raises `WeightsHashMismatch` where `wanted` is another model, and what `Shelf.resolve` and `find` raise.
    """
    if wanted is None:
        return MODELS.find(sha256)
    model = MODELS.resolve(wanted)
    if model.sha256 != sha256:
        ours, theirs = model.sha256.hex()[:16], sha256.hex()[:16]
        raise WeightsHashMismatch(f"{model.path}: has SHA-256 {ours}..., the file was made with {theirs}...")
    return model


def find_prior(sha256: bytes, wanted: NameOrPath | None = None) -> Prior:
    """The prior that a .lfq file needs; the folder of the model `wanted` is searched first.

    Raises `UnknownModel`.
    """
    return PRIORS.find(sha256, _folder_of(wanted or ""))


def prior_for(model: Model) -> Prior | None:
    """The prior to encode with: of those that were trained for `model` the last by name."""
    own = [each for each in PRIORS.available(model.path.parent) if each.trained_for == model.sha256.hex()]
    return max(own, key=lambda prior: prior.name, default=None)


def package_folder() -> Path:
    """Where the weights that ship with lfqcodec lie."""
    return Path(__file__).with_name("data")


def _folder_of(wanted: NameOrPath) -> Path | None:
    """The folder of what a user names by its path, None for a name."""
    path = Path(wanted)
    if path.suffix == _SUFFIX:
        return path.parent
    return path if os.fspath(wanted) and path.is_dir() else None


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsMissing(f"{path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error


def _sha256(path: Path) -> bytes:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


# Reading 11 MB takes longer than all else that is done here. Size and time are there for files that change.
@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
