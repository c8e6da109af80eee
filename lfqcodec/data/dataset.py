"""A dataset for PyTorch: shuffled, shared among processes, and able to go on where it stood."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from lfqcodec import arguments
from lfqcodec.data.samples import Gop, Kind, Sample, Wanted, check_wanted, gops_of, list_files, samples_of
from lfqcodec.errors import ArgumentValueError, BitstreamError


class LfqDataset(IterableDataset[Sample]):
    """Samples of .lfq files (`lfqcodec.data.samples.Sample`), arrays as tensors; one pass over all of them.

    `files` are a list, a folder or a pattern. `frames` is the length of clips of pictures. With `shuffle`
    files are in random order, and the GOPs of `window` files at a time are, so no index of all files is
    needed. Each process of a training (`rank` of `world`, by default those of torch.distributed or of
    torchrun), and each worker of a DataLoader, has files of its own, or, where there are fewer files than
    workers, GOPs of its own. So some may have more samples than others.

    The order depends on `seed`, the epoch (`set_epoch`) and the share alone. `state_dict` and
    `load_state_dict` are those of the process that iterates, as torchdata's StatefulDataLoader wants them;
    `seek` does the same for the DataLoader of PyTorch. With `skip_damaged` a warning takes the place of
    `BitstreamError`, and the GOP is left out. Raises `ArgumentError`, `InputVideoError`.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        kind: Kind = "tokens",
        frames: int | None = None,
        streams: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 64,
        rank: int | None = None,
        world: int | None = None,
        model: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        skip_damaged: bool = False,
    ) -> None:
        self._wanted = Wanted(kind, frames, streams, model, device)
        check_wanted(self._wanted)
        arguments.integer("window", window, 1)
        self._rank, self._world = _share(rank, world)
        self._files = list_files(files)
        self._shuffle, self._seed, self._window = shuffle, seed, window
        self._skip_damaged = skip_damaged
        self._epoch = self._samples = 0
        self._batches: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Take another order, from its start."""
        self._epoch, self._samples, self._batches = arguments.integer("epoch", epoch, 0), 0, None

    def seek(self, batches: int, batch_size: int) -> None:
        """Begin the next pass behind so many batches that this rank's DataLoader has handed out.

        It takes one from each of its workers in turn; their number must be as before, and none of them may
        have been through with its share. `set_epoch` undoes it.
        """
        self._batches = (
            arguments.integer("batches", batches, 0),
            arguments.integer("batch_size", batch_size, 1),
        )

    def state_dict(self) -> dict[str, Any]:
        """Where this process stands: the epoch, and how many samples of it were handed out."""
        return {"epoch": self._epoch, "samples": self._samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next pass there."""
        self._epoch, self._samples, self._batches = int(state["epoch"]), int(state["samples"]), None

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        skip = self._samples
        if self._batches is not None:
            batches, size = self._batches
            # A loader begins with its worker 0: that takes the place of the one whose turn it was.
            number = (number + batches) % count
            skip = len(range(number, batches, count)) * size
        self._samples, self._batches = skip, None
        for gop in self._gops(self._rank * count + number, self._world * count):
            held = self._wanted.count(gop.pictures)
            if skip >= held:
                skip -= held
                continue
            for sample in self._read(gop)[skip:]:
                self._samples += 1
                yield sample
            skip = 0
        self._samples = 0

    def _gops(self, share: int, shares: int) -> Iterator[Gop]:
        """The GOPs of one of so many shares, in order."""
        order = random.Random(f"{self._seed} {self._epoch}")
        files = list(self._files)
        if self._shuffle:
            order.shuffle(files)
        by_file = len(files) >= shares
        if by_file:
            files = files[share::shares]
        order.seed(f"{self._seed} {self._epoch} {share if by_file else 'all'}")
        for begin in range(0, len(files), self._window):
            gops = [gop for path in files[begin : begin + self._window] for gop in self._inside(path)]
            if self._shuffle:
                order.shuffle(gops)
            yield from gops if by_file else gops[share::shares]

    def _inside(self, path: str) -> list[Gop]:
        try:
            with self._wanted.open(path) as file:
                return gops_of(file, path)
        except BitstreamError as error:
            self._pass_over(error)
            return []

    def _read(self, gop: Gop) -> list[Sample]:
        try:
            with self._wanted.open(gop.path) as file:
                return [_as_tensors(each) for each in samples_of(file, gop, self._wanted)]
        except BitstreamError as error:
            self._pass_over(error)
            return []

    def _pass_over(self, error: BitstreamError) -> None:
        if not self._skip_damaged:
            raise error
        warnings.warn(f"left out: {error}", stacklevel=2)


def _as_tensors(sample: Sample) -> Sample:
    found = dict(sample)
    if "pictures" in sample:
        found["pictures"] = torch.from_numpy(sample["pictures"])
    else:
        found["tokens"] = {name: torch.from_numpy(layer) for name, layer in sample["tokens"].items()}
    return found


def _share(rank: int | None, world: int | None) -> tuple[int, int]:
    """Which process this is, of how many."""
    if (rank is None) != (world is None):
        raise ArgumentValueError("rank", "and world go together")
    if rank is None or world is None:
        if distributed.is_available() and distributed.is_initialized():
            rank, world = distributed.get_rank(), distributed.get_world_size()
        else:
            rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    arguments.integer("world", world, 1)
    return arguments.integer("rank", rank, 0, world - 1), world
