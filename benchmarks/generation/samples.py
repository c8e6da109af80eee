"""Samples of pictures and clips, read a few at a time: arrays, folders of PNG, folders of videos."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import LfqError
from lfqcodec.train.data.decode import decode_frames
from lfqcodec.train.data.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

Batch = NDArray[np.uint8]


def samples(path: Path, batch: int, *, ndim: int) -> Iterator[Batch]:
    """Samples uint8 [B, H, W, 3] (`ndim` 4) or clips [B, T, H, W, 3] (5) of an `.npz` file or a folder.

    Raises `LfqError` for another type, sizes that differ, or what cannot be read.
    """
    parts = _files(path, ndim) if path.is_dir() else _array(path, batch)
    held: list[Batch] = []
    shape: tuple[int, ...] | None = None
    for part in parts:
        if part.dtype != np.uint8 or part.ndim != ndim or part.shape[-1] != 3:
            raise LfqError(
                f"{path}: samples must be uint8 with {ndim} dimensions, the last of 3, not {part.shape}"
            )
        if shape not in (None, part.shape[1:]):
            raise LfqError(f"{path}: samples differ in size ({shape} and {part.shape[1:]})")
        shape = part.shape[1:]
        held.append(part)
        if sum(map(len, held)) >= batch:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _array(path: Path, batch: int) -> Iterator[Batch]:
    """`arr_0` of an `.npz` file, without loading all of it. Nothing pickled is read."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version} of arr_0.npy")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.hasobject or fortran or not shape:
                raise ValueError("arr_0 is no plain array")
            size = dtype.itemsize * math.prod(shape[1:])
            for begin in range(0, shape[0], batch):
                count = min(batch, shape[0] - begin)
                data = file.read(count * size)
                if len(data) < count * size:
                    raise ValueError("arr_0 ends early")
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise LfqError(f"{path}: not an .npz file with arr_0 ({error})") from error


def _files(folder: Path, ndim: int) -> Iterator[Batch]:
    suffixes = IMAGE_SUFFIXES if ndim == 4 else VIDEO_SUFFIXES
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        raise LfqError(f"{folder}: no files ending in {', '.join(sorted(suffixes))}")
    for path in found:
        frames = [*decode_frames(path)]
        yield frames[0][None] if ndim == 4 else np.stack(frames)[None]
