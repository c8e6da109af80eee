"""Where the weights of LPIPS are. They are no part of this repository: `python -m benchmarks fetch lpips`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lfqcodec.errors import WeightsMissing

VARIABLE = "LFQCODEC_LPIPS"
FILE = "lpips_alex_v01.safetensors"


def cache_file() -> Path:
    """Where `fetch` saves the weights: in $XDG_CACHE_HOME, or ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored; an unset variable is one here.
    return (base if base.is_absolute() else Path.home() / ".cache") / "lfqcodec" / FILE


def find_lpips(given: Path | None) -> Path | None:
    """The file of weights: `given`, else that of $LFQCODEC_LPIPS, else what was fetched, else None.

    Raises `WeightsMissing` where one of the first two names no file.
    """
    if given is not None:
        return _existing(given, "")
    if named := os.environ.get(VARIABLE):
        return _existing(Path(named), f" (from ${VARIABLE})")
    saved = cache_file()
    return saved if saved.is_file() else None


def _existing(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such file{origin}")
    return path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal: what records name weights by. Raises `WeightsMissing`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissing(f"{path}: {error.strerror}") from error
