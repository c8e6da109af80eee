"""Finding the files of weights by name, path or SHA-256.

A model is a tokenizer, one safetensors file; a prior that was trained on its tokens is another. The identity
of each is the SHA-256 of the whole file, which every .lfq file records. They lie in the package, in the
folders of the environment variable LFQCODEC_MODELS, or wherever `--model` points. Weights that were ever
shipped keep their file: the videos made with them need it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from lfqcodec.errors import UnknownModel, WeightsError, WeightsHashMismatch, WeightsMissing
from lfqcodec.prior.config import PriorConfig
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.registry import parse_config

MODELS_VARIABLE = "LFQCODEC_MODELS"
DEFAULT_MODEL = "base-3"
_SUFFIX = ".safetensors"
_MAX_HEADER = 1 << 24
_Weights = TypeVar("_Weights")


@dataclass(frozen=True)
class Model:
    """A tokenizer on disk. `sha256` is 32 bytes, that of the file."""

    name: str
    path: Path
    sha256: bytes
    config: TokenizerConfig
    metadata: dict[str, str]

    @property
    def tokens_of(self) -> str:
        """SHA-256, in hex, of the model whose tokens mean what these do.

        Another one where only decoder or encoder were trained on: priors and rate tables of that model fit
        this one.
        """
        return self.metadata.get("tokens_of") or self.sha256.hex()


@dataclass(frozen=True)
class Prior:
    """A prior on disk. `sha256` is 32 bytes, that of the file; `trained_for` the tokenizer's, in hex.

    `stages` is how many of the tokenizer's it knows.
    """

    name: str
    path: Path
    sha256: bytes
    trained_for: str
    stages: int


def package_folder() -> Path:
    """Where the models that ship with lfqcodec lie."""
    return Path(__file__).with_name("data")


def _folders() -> list[Path]:
    extra = os.environ.get(MODELS_VARIABLE, "")
    return [package_folder(), *(Path(part) for part in extra.split(os.pathsep) if part)]


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, read without torch. Raises `WeightsError`."""
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > _MAX_HEADER:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except FileNotFoundError as error:
        raise WeightsMissing(f"{path}: no such file") from error
    except (OSError, ValueError, struct.error, AttributeError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error


def _identity(path: Path) -> bytes:
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


def read_model(path: Path) -> Model:
    """Describe a model file. Raises `WeightsError`."""
    metadata = read_metadata(path)
    if "tokenizer" not in metadata:
        raise WeightsError(f"{path}: holds no tokenizer")
    return Model(
        name=metadata.get("name", path.stem),
        path=path,
        sha256=_identity(path),
        config=parse_config(metadata["tokenizer"]),
        metadata=metadata,
    )


def read_prior(path: Path) -> Prior:
    """Describe a prior's file. Raises `WeightsError`."""
    metadata = read_metadata(path)
    if "prior" not in metadata:
        raise WeightsError(f"{path}: holds no prior")
    name, trained_for = metadata.get("name", path.stem), metadata.get("trained_for", "")
    stages = PriorConfig.from_json(metadata["prior"]).stages
    return Prior(name, path, _identity(path), trained_for, stages)


def _weights_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _readable(folders: list[Path], read: Callable[[Path], _Weights]) -> list[_Weights]:
    """What `read` makes of the files in folders; a broken file must not stop the others."""
    found = []
    for path in (path for folder in folders for path in _weights_in(folder)):
        with suppress(WeightsError):
            found.append(read(path))
    return found


def available_models() -> list[Model]:
    """All readable models of the package and of LFQCODEC_MODELS."""
    return _readable(_folders(), read_model)


def available_priors(near: Path | None = None) -> list[Prior]:
    """All readable priors of the folder `near`, of the package and of LFQCODEC_MODELS."""
    return _readable(_folders() if near is None else [near, *_folders()], read_prior)


def prior_for(model: Model) -> Prior | None:
    """The prior to encode with: the last by name of those trained for `model`, or for that of `tokens_of`."""
    priors = available_priors(model.path.parent)
    for tokenizer in (model.sha256.hex(), model.tokens_of):
        own = [prior for prior in priors if prior.trained_for == tokenizer]
        if own:
            return max(own, key=lambda prior: prior.name)
    return None


def resolve_prior(wanted: str | os.PathLike[str]) -> Prior:
    """The prior that a user names: a name or a file.

    Raises `UnknownModel`, `WeightsMissing` or `WeightsError`.
    """
    text = os.fspath(wanted)
    if Path(text).suffix == _SUFFIX:
        return read_prior(Path(text))
    priors = available_priors()
    for prior in priors:
        if prior.name == text:
            return prior
    names = ", ".join(sorted(prior.name for prior in priors)) or "none"
    raise UnknownModel(f"no prior named {text!r} (available: {names})")


def find_prior(sha256: bytes, wanted: str | os.PathLike[str] | None = None) -> Prior:
    """The prior with that SHA-256, which a .lfq file needs. Raises `UnknownModel` where there is none.

    Besides the usual folders, that of the model `wanted` is searched.
    """
    near = None
    if wanted is not None:
        path = Path(wanted)
        near = path if path.is_dir() else path.parent if path.suffix == _SUFFIX else None
    for prior in available_priors(near):
        if prior.sha256 == sha256:
            return prior
    raise UnknownModel(
        f"the file was made with a prior that is not here (SHA-256 {sha256.hex()}); put it beside the model "
        f"or in a folder of {MODELS_VARIABLE}"
    )


def _is_model(path: Path) -> bool:
    """False for a prior; a broken file is looked at later."""
    try:
        metadata = read_metadata(path)
    except WeightsError:
        return True
    return "prior" not in metadata


def resolve_model(wanted: str | os.PathLike[str] | None = None) -> Model:
    """The model that a user names: a name, a file, a folder with one model, or None for the default.

    Raises `UnknownModel`, `WeightsMissing` or `WeightsError`.
    """
    text = DEFAULT_MODEL if wanted is None else os.fspath(wanted)
    path = Path(text)
    if path.is_dir():
        inside = [file for file in _weights_in(path) if _is_model(file)]
        if len(inside) != 1:
            found = "no" if not inside else "more than one"
            raise WeightsMissing(f"{path}: holds {found} model ({_SUFFIX} file)")
        return read_model(inside[0])
    if path.suffix == _SUFFIX:
        return read_model(path)
    for model in available_models():
        if model.name == text:
            return model
    if path.exists():
        return read_model(path)
    names = ", ".join(sorted(m.name for m in available_models())) or "none"
    raise UnknownModel(f"no model named {text!r} (available: {names})")


def find_model(sha256: bytes, wanted: str | os.PathLike[str] | None = None) -> Model:
    """The model with that SHA-256, which a .lfq file needs; `wanted` says where to look first.

    Raises `WeightsHashMismatch` where `wanted` is another model, `UnknownModel` where there is none.
    """
    if wanted is not None:
        model = resolve_model(wanted)
        if model.sha256 != sha256:
            raise WeightsHashMismatch(
                f"{model.path}: has SHA-256 {model.sha256.hex()[:16]}..., the file was made with "
                f"{sha256.hex()[:16]}..."
            )
        return model
    for model in available_models():
        if model.sha256 == sha256:
            return model
    raise UnknownModel(
        f"the file was made with a model that is not here (SHA-256 {sha256.hex()}); give it with --model "
        f"or put it in a folder of {MODELS_VARIABLE}"
    )
