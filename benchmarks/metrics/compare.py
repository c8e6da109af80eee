"""One decoded video against its source, frame by frame."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.codec.ms_ssim import MS_SSIM_SIDE, ms_ssim
from lfqcodec.codec.quality import psnr
from lfqcodec.errors import LfqError
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.train.lpips import LPIPS, MIN_SIDE
from lfqcodec.video import open_video

MAX_PSNR = 100.0
"""What stands for an exact frame, in dB, as in `QualityMeter`: the mean stays finite."""

SHIFT = (2, 3)
"""Rows and columns. AlexNet looks at every fourth pixel, so blocks of 8x8 always lie alike for it."""

Picture = NDArray[np.uint8]
# LPIPS was measured to take 100 to 130 bytes a pixel: a batch of so many needs 260 MB, a frame of 4K 900.
_BATCH_PIXELS = 1 << 21
_MAX_BATCH = 16
_MOVING = threading.Lock()


class ComparisonError(LfqError):
    """A decoded video cannot be compared with its source: another number of frames, another size."""


@dataclass(frozen=True)
class FrameScores:
    """One frame. `psnr` in dB, infinite for an exact one; for None see `Scores`."""

    psnr: float
    ms_ssim: float | None
    lpips: float | None
    lpips_shifted: float | None


@dataclass(frozen=True)
class Scores:
    """Means over the `frames` of a video.

    `psnr`: mean of the dB of each frame; `psnr_of_mse`: dB of the mean squared error of all frames; neither,
    nor any frame, above 100 dB. `lpips_shifted` is LPIPS without the first `SHIFT` pixels of both pictures.
    `ms_ssim` is None for pictures with a side under 161 pixels, LPIPS None without a network and for sides
    under 34 pixels.
    """

    frames: int
    psnr: float
    psnr_of_mse: float
    ms_ssim: float | None
    lpips: float | None
    lpips_shifted: float | None


class _Distances:
    """LPIPS of pairs of frames, a few at a time so that memory does not grow with the video."""

    def __init__(self, network: LPIPS, device: torch.device, pixels: int) -> None:
        self._network = network
        self._device = device
        self._batch = min(_MAX_BATCH, max(1, _BATCH_PIXELS // pixels))
        self._held: list[tuple[Picture, Picture]] = []
        self.values: list[float] = []
        self.shifted: list[float] = []
        # Moving changes the network itself, which other threads may share.
        with _MOVING:
            if network.shift.device != device:
                network.to(device)

    def add(self, reference: Picture, decoded: Picture) -> None:
        self._held.append((reference, decoded))
        if len(self._held) == self._batch:
            self.flush()

    def flush(self) -> None:
        if self._held:
            with torch.inference_mode():
                a, b = (self._tensor(side) for side in zip(*self._held, strict=True))
                self.values += self._network(a, b).tolist()
                y, x = SHIFT
                self.shifted += self._network(a[..., y:, x:], b[..., y:, x:]).tolist()
            self._held.clear()

    def _tensor(self, pictures: tuple[Picture, ...]) -> torch.Tensor:
        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


@contextmanager
def _pictures(path: Path) -> Iterator[tuple[VideoInfo, Iterator[Picture]]]:
    with open_video(path, copy_streams=False) as video:
        yield video.info, (event.rgb for event in video.events() if isinstance(event, Frame))


def compare(
    reference: Path,
    decoded: Path,
    *,
    lpips: LPIPS | None,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Means of `compare_frames`."""
    frames = compare_frames(reference, decoded, lpips=lpips, device=device, progress=progress)
    # The error of a frame from its dB, so that there is one definition of it; 0 for an exact frame.
    mse = float(np.mean([255**2 * 10 ** (-frame.psnr / 10) for frame in frames]))
    return Scores(
        frames=len(frames),
        psnr=float(np.mean([min(MAX_PSNR, frame.psnr) for frame in frames])),
        psnr_of_mse=MAX_PSNR if mse == 0 else min(MAX_PSNR, 10 * math.log10(255**2 / mse)),
        ms_ssim=mean(frame.ms_ssim for frame in frames),
        lpips=mean(frame.lpips for frame in frames),
        lpips_shifted=mean(frame.lpips_shifted for frame in frames),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is not None, None where there is nothing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def compare_frames(
    reference: Path,
    decoded: Path,
    *,
    lpips: LPIPS | None,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[FrameScores]:
    """Compare the frames of two video files in their order, as 8-bit RGB. Times are not looked at.

    `lpips` runs on `device`, to which it is moved if it lies elsewhere; the other metrics run on the CPU.
    `progress` is called after every frame with the number of frames done. No more than a few pictures are in
    memory. Several threads may call this at once, with one network if all name one device.

    Raises `ComparisonError`, which names `decoded`, where number or size of the frames differ, and
    `InputVideoError` where a file cannot be read.
    """
    decibels: list[float] = []
    similar: list[float | None] = []
    with _pictures(reference) as (wanted, originals), _pictures(decoded) as (info, results):
        if (info.width, info.height) != (wanted.width, wanted.height):
            raise ComparisonError(
                f"{decoded}: has pictures of {info.width}x{info.height}, "
                f"{reference.name} of {wanted.width}x{wanted.height}"
            )
        side = min(info.width, info.height)
        distances = None
        if lpips is not None and side >= MIN_SIDE + max(SHIFT):
            distances = _Distances(lpips, _resolve(device), info.width * info.height)
        for original, result in _pairs(originals, results, reference, decoded):
            decibels.append(psnr(original, result))
            similar.append(ms_ssim(original, result) if side >= MS_SSIM_SIDE else None)
            if distances is not None:
                distances.add(original, result)
            if progress is not None:
                progress(len(decibels))
    lpips_values: Sequence[float | None] = [None] * len(decibels)
    shifted = lpips_values
    if distances is not None:
        distances.flush()
        lpips_values, shifted = distances.values, distances.shifted
    return [FrameScores(*scores) for scores in zip(decibels, similar, lpips_values, shifted, strict=True)]


def _resolve(device: str | torch.device) -> torch.device:
    """The device with its index, as tensors name it: "cuda" and "cuda:0" would compare as different."""
    return torch.empty(0, device=device).device


def _pairs(
    originals: Iterator[Picture], results: Iterator[Picture], reference: Path, decoded: Path
) -> Iterator[tuple[Picture, Picture]]:
    """Pairs to the end of both; raises `ComparisonError` where one ends first."""
    count = 0
    while True:
        original, result = next(originals, None), next(results, None)
        if original is None and result is None:
            return
        if original is None or result is None:
            # Read on, so that the message can tell how many there are.
            have = count + (result is not None) + sum(1 for _ in results)
            want = count + (original is not None) + sum(1 for _ in originals)
            raise ComparisonError(f"{decoded}: has {have} frames, {reference.name} has {want}")
        yield original, result
        count += 1
