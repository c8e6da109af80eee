"""Middle frames of source, ours and an anchor at rates close to each other, for the viewer of the page."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmarks.codecs import Codec
from benchmarks.process import run_process
from benchmarks.results import Results, Row, Sequence
from lfqcodec.errors import LfqError
from lfqcodec.media import Frame
from lfqcodec.output import replacing
from lfqcodec.video import open_video

BAND = (0.0384, 0.1)
"""Rates, in bits per pixel, that are worth a look: from that of the MAGVIT-v2 paper to a little above."""
SOURCE = "source"
FOLDER = "frames"
WEBP_QUALITY = 90


class FrameMissing(LfqError):
    """A frame cannot be shown: its file is missing, was changed, or does not decode."""


@dataclass(frozen=True)
class Shown:
    """One picture of the viewer: a data URI, and the row that it belongs to (None for the source)."""

    codec: str
    picture: str
    row: Row | None


@dataclass(frozen=True)
class Scene:
    """The pictures of one sequence: source, ours, anchor, all of frame number `frame` (from 0).

    `credit` names author and licence, where they are to be named.
    """

    sequence: str
    width: int
    height: int
    frame: int
    shown: list[Shown]
    credit: str = ""


def closest_pair(ours: Iterable[Row], anchor: Iterable[Row]) -> tuple[Row, Row] | None:
    """One row of each, as close in rate as can be, and near `BAND`; None where one has no row.

    What is minimised, in octaves of rate: the distance of the two plus half the distance of their middle
    from the band. So rates that agree come first, and where several pairs do, the band decides.
    """

    def cost(pair: tuple[Row, Row]) -> tuple[float, float]:
        one, two = (math.log2(row.bpp) for row in pair)
        middle, (low, high) = (one + two) / 2, map(math.log2, BAND)
        # Rounded, so that equally good pairs are told apart by their rate.
        return round(abs(one - two) + max(low - middle, 0, middle - high) / 2, 6), one

    return min(itertools.product(ours, anchor), key=cost, default=None)


def read_frame(path: Path, number: int) -> NDArray[np.uint8]:
    """Frame `number`, counted from 0, as RGB. Raises `LfqError`."""
    with open_video(path, max_frames=number + 1, copy_streams=False) as reader:
        frames = (event.rgb for event in reader.events() if isinstance(event, Frame))
        found = next(itertools.islice(frames, number, None), None)
    if found is None:
        raise FrameMissing(f"{path}: has no frame {number} (counted from 0)")
    return found


def _check(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise FrameMissing(f"{path}: is not there")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise FrameMissing(f"{path}: is not the file that was measured")


def _decoded_frame(results: Results, row: Row, codec: Codec, number: int) -> NDArray[np.uint8]:
    coded = results.folder / row.file
    _check(coded, row.file_sha256)
    with tempfile.TemporaryDirectory() as scratch:
        decoded = Path(scratch) / f"decoded{codec.decoded_suffix}"
        run_process(codec.decode_command(coded, decoded))
        return read_frame(decoded, number)


def _source_frame(results: Results, sequence: Sequence, number: int) -> NDArray[np.uint8]:
    path = results.folder / sequence.file
    _check(path, sequence.sha256)
    return read_frame(path, number)


def _kept(results: Results, key: str, make: Callable[[], NDArray[np.uint8]]) -> Image.Image:
    """The picture that `make` gives, from the folder of frames where it was made before."""
    folder = results.folder / FOLDER
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"
    if path.is_file():
        try:
            with Image.open(path) as picture:
                return picture.convert("RGB")
        except (OSError, UnidentifiedImageError):
            pass  # damaged: made again
    made = Image.fromarray(make())
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FrameMissing(f"{folder}: {error.strerror}") from error
    with replacing(path, overwrite=True) as temporary:
        made.save(temporary)
    return made


def data_uri(picture: Image.Image) -> str:
    """The picture as WebP inside of a URI.

    WebP halves the resolution of colour, as the videos do anyway; sharp YUV keeps edges of colour in place.
    """
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=WEBP_QUALITY, method=4, use_sharp_yuv=True)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def make_scene(
    results: Results, name: str, ours: str, anchor: str, get: Callable[[str], Codec]
) -> tuple[Scene | None, list[str]]:
    """The scene of one sequence, None where fewer than two pictures can be had, and what is missing and why.

    `get` gives the codec of a name (`benchmarks.codecs.get`).
    """
    sequence = results.sequences.get(name)
    if sequence is None:
        return None, [f"{name}: no pictures, the results do not describe this sequence"]
    pair = closest_pair(results.curve(ours, name), results.curve(anchor, name))
    if pair is None:
        lacking = [codec for codec in (ours, anchor) if not results.curve(codec, name)]
        return None, [f"{name}: no pictures, {' and '.join(lacking)} not measured on it"]
    number = min(sequence.frames, *(row.frames for row in pair)) // 2
    shown, notes = [], []

    def add(codec: str, row: Row | None, key: str, make: Callable[[], NDArray[np.uint8]]) -> None:
        try:
            shown.append(Shown(codec, data_uri(_kept(results, f"{key} frame {number}", make)), row))
        except LfqError as error:
            notes.append(f"{name}: no picture of {codec}: {error}")

    def frame_of(row: Row) -> Callable[[], NDArray[np.uint8]]:
        return lambda: _decoded_frame(results, row, get(row.codec), number)

    add(SOURCE, None, f"source {sequence.sha256}", lambda: _source_frame(results, sequence, number))
    for row in pair:
        add(row.codec, row, f"row {row.fingerprint}", frame_of(row))
    if len(shown) < 2:
        return None, notes
    return Scene(name, sequence.width, sequence.height, number, shown), notes
