"""Tokens of a whole file: written as arrays, or decoded to check them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Limits
from lfqcodec.codec.decode.file import LfqFile, open_file
from lfqcodec.codec.progress import Progress, ProgressCallback, ignore
from lfqcodec.errors import LfqError, Truncated
from lfqcodec.output import open_output, refuse_same_file


@dataclass(frozen=True)
class Written:
    """What `save_tokens` has written: the shapes of the arrays by layer, and how many frames they are of."""

    shapes: dict[str, list[int]]
    frames: int


@dataclass(frozen=True)
class Check:
    """What is good of a file up to `error`, the first fault in it, of which `missing` says what it costs."""

    chunks: int = 0
    frames: int = 0
    error: LfqError | None = None
    missing: str = ""


def save_tokens(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = ignore,
) -> Written:
    """Write the tokens of a .lfq file as .npz: for each layer int32 [n, rows, columns], in coding order.

    Raises what `open_file` and `LfqFile.tokens` do, and `OutputError`.
    """
    refuse_same_file(source, dest)
    planes: dict[str, list[NDArray[np.int32]]] = {}
    frames = 0
    with open_file(source, model=model, limits=limits) as file:
        for chunk in file.tokens():
            frames += chunk.head.valid
            _tell(progress, file, frames)
            for group in chunk.groups:
                for name, tokens in group.items():
                    planes.setdefault(name, []).append(tokens)
    arrays = {name: np.concatenate(parts) for name, parts in planes.items()}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    with open_output(dest, overwrite=overwrite) as out:
        out.write(packed.getbuffer())
    return Written({name: list(array.shape) for name, array in arrays.items()}, frames)


def check_file(
    source: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    progress: ProgressCallback = ignore,
) -> Check:
    """Check structure, checksums and tokens of a .lfq file. The reader itself compares the totals of header
    and index with the chunks. A fault is in the result, not raised."""
    chunks = frames = 0
    try:
        with open_file(source, model=model, limits=limits) as file:
            try:
                for chunk in file.tokens():
                    chunks, frames = chunks + 1, frames + chunk.head.valid
                    _tell(progress, file, frames)
            except Truncated as error:
                return Check(chunks, frames, error, file.missing(frames))
    except LfqError as error:
        return Check(chunks, frames, error)
    return Check(chunks, frames)


def _tell(progress: ProgressCallback, file: LfqFile, frames: int) -> None:
    progress(Progress(frames, file.header.frame_count, 0, 0.0, frames, frames))
