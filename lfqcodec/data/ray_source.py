"""Samples of .lfq files for Ray Data; needs Ray (the extra `cluster`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import ray.data

from lfqcodec.data.samples import Kind, Sample, Wanted, check_wanted, gops_of, list_files, samples_of


def read_lfq(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    kind: Kind = "tokens",
    frames: int | None = None,
    streams: int | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    blocks: int | None = None,
) -> Any:
    """A `ray.data.Dataset` of the samples of all files, read by tasks of the cluster when they are asked for.

    A row has `path`, `gop`, `first_frame`, and `pictures`, uint8 [frames, 3, H, W], or a column for each
    layer of tokens. `blocks` is how many parts the list of files is cut into. Paths must mean the same on
    every machine. Raises `ArgumentError`, `InputVideoError`; faults of a file are raised where it is read.
    """
    wanted = Wanted(kind, frames, streams, model, device)
    check_wanted(wanted)
    paths = [{"path": os.path.abspath(path)} for path in list_files(files)]
    listed = ray.data.from_items(paths, override_num_blocks=min(blocks or len(paths), len(paths)))
    return listed.flat_map(partial(_rows, wanted=wanted))


def _rows(row: dict[str, Any], wanted: Wanted) -> Iterator[Sample]:
    path = row["path"]
    with wanted.open(path) as file:
        for gop in gops_of(file, path):
            for sample in samples_of(file, gop, wanted):
                layers = sample.pop("tokens", {})
                yield {**sample, **layers}
