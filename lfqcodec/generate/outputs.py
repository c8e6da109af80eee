"""Where samples go: a sheet, a mosaic, a folder of files, or arrays for an evaluator. Imports no torch."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import ArgumentValueError, OutputError
from lfqcodec.generate.request import Request
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.output import check_target, lock, replacing
from lfqcodec.video import open_writer

RATE = Fraction(25)
MOVING = (".mp4", ".mkv", ".mov", ".y4m")
_LARGEST = 16_384
"""Pixels of a sheet in each direction."""

Pictures = NDArray[np.uint8]


class Output(AbstractContextManager["Output"], ABC):
    """An output being made. It appears at the end of the `with` block, or not at all."""

    done = 0
    """Samples that an earlier run has left."""

    @abstractmethod
    def write(self, number: int, label: int, pictures: Pictures) -> None:
        """Take sample `number` of the request, counted from 0: uint8 [T, H, W, 3]."""

    def flush(self) -> None:
        """Called after each batch."""

    @abstractmethod
    def _finish(self) -> None:
        """All samples were written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()


class Sheet(Output):
    """Samples beside each other, a row for each class: pictures, or where the name is that of a video clips.

    Clips in a picture have their frames beside each other, a row for each clip.
    """

    def __init__(self, dest: Path, request: Request, shape: tuple[int, ...], *, overwrite: bool) -> None:
        """`shape` is frames, height and width of a sample. Too large a sheet is an `ArgumentValueError`."""
        frames, height, width = shape
        moving = dest.suffix.lower() in MOVING
        if moving and frames == 1:
            raise ArgumentValueError("dest", f"{dest} is a video, and the model makes pictures")
        check_target(dest, overwrite=overwrite)
        self._dest, self._overwrite = dest, overwrite
        self._strip = not moving and frames > 1
        self._places, rows, columns = _places(request, strip=self._strip)
        pixels = (rows * height, columns * width * (frames if self._strip else 1))
        if max(pixels) > _LARGEST:
            raise ArgumentValueError(
                "count", f"is too large for a sheet of {pixels[1]}x{pixels[0]}; name a folder"
            )
        self._canvas = np.zeros((frames if moving else 1, *pixels, 3), np.uint8)

    def write(self, number: int, label: int, pictures: Pictures) -> None:
        if self._strip:
            pictures = np.concatenate(list(pictures), 1)[None]
        row, column = self._places[number]
        _, height, width, _ = pictures.shape
        self._canvas[:, row * height : (row + 1) * height, column * width : (column + 1) * width] = pictures

    def _finish(self) -> None:
        write_clip(self._dest, self._canvas, overwrite=self._overwrite)


def _places(request: Request, *, strip: bool) -> tuple[list[tuple[int, int]], int, int]:
    """Row and column of every sample, and how many rows and columns there are."""
    if strip:
        return [(number, 0) for number in range(request.count)], request.count, 1
    rows = {label: row for row, label in enumerate(dict.fromkeys(request.labels))}
    if len(rows) == 1:
        columns = min(request.count, max(8, round(request.count**0.5)))
        places = [divmod(number, columns) for number in range(request.count)]
        return places, -(-request.count // columns), columns
    seen: Counter[int] = Counter()
    places = []
    for label in request.labels:
        places.append((rows[label], seen[label]))
        seen[label] += 1
    return places, len(rows), max(seen.values())


def write_clip(dest: Path, pictures: Pictures, *, overwrite: bool) -> None:
    """Write uint8 [T, H, W, 3] in the format that the name tells; one picture is a picture."""
    count, height, width, _ = pictures.shape
    info = VideoInfo(width, height, 1 / RATE, RATE, frame_count=count)
    with open_writer(dest, info, overwrite=overwrite) as writer:
        for number, picture in enumerate(pictures):
            writer.write(Frame(number, np.ascontiguousarray(picture)))


class Folder(Output):
    """A file for each sample, `000123_CLASS.png` or a video, and `generated.json`."""

    def __init__(
        self, dest: Path, request: Request, names: tuple[str, ...], suffix: str, facts: dict[str, Any]
    ) -> None:
        """`names` are those of the classes, `facts` what `generated.json` is to say."""
        self._first, self._names, self._suffix, self._facts = request.first, names, suffix, facts
        self._files: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(replacing(dest, directory=True))

    def write(self, number: int, label: int, pictures: Pictures) -> None:
        name = f"{self._first + number:06d}"
        if self._names:
            name += "_" + re.sub(r"[^A-Za-z0-9.-]+", "-", self._names[label])[:60]
        write_clip(self._folder / f"{name}{self._suffix}", pictures, overwrite=False)
        label_name = {"class": self._names[label]} if self._names else {}
        self._files.append({"file": f"{name}{self._suffix}", "index": self._first + number, **label_name})

    def _finish(self) -> None:
        text = json.dumps(self._facts | {"samples": self._files}, indent=2)
        (self._folder / "generated.json").write_text(text + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()


class Arrays(Output):
    """`arr_0` uint8 [n, H, W, 3], of clips [n, T, H, W, 3], and `arr_1`, classes as int64 [n], as ADM has it.

    They grow in a folder `OUT.part`, from which a run that was interrupted goes on.
    """

    def __init__(
        self,
        dest: Path,
        request: Request,
        shape: tuple[int, ...],
        facts: dict[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        """`facts` are all that the samples depend on. `OutputError` where there is a part of other ones."""
        check_target(dest, overwrite=overwrite)
        self._dest, self._overwrite, self._facts = dest, overwrite, facts
        self._part = dest.with_name(f"{dest.name}.part")
        self._count = request.count
        size = (request.count, *(shape[1:] if shape[0] == 1 else shape), 3)
        head, each = _npy_header(np.uint8, size), int(np.prod(size[1:]))
        try:
            with ExitStack() as guard:
                if not self._part.exists():
                    self._part.mkdir()
                    (self._part / "arr_0.npy").write_bytes(head)
                    np.save(self._part / "arr_1.npy", np.array(request.labels, np.int64))
                    self._note(0)
                self._file = guard.enter_context((self._part / "arr_0.npy").open("r+b"))
                if lock(self._file.fileno()) is False:
                    raise ValueError("another run is at it")
                self.done = self._written = self._resume()
                end = len(head) + self.done * each
                if self._file.read(len(head)) != head or self._file.seek(0, os.SEEK_END) < end:
                    raise ValueError("arr_0.npy is damaged")
                self._file.seek(end)
                self._file.truncate()
                guard.pop_all()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self._part}: cannot be used ({error}); remove it to begin anew") from error

    def _resume(self) -> int:
        progress = json.loads((self._part / "progress.json").read_text())
        if progress["facts"] != json.loads(json.dumps(self._facts)):
            raise ValueError("it holds samples of other settings")
        if not 0 <= progress["done"] <= self._count:
            raise ValueError("progress.json is damaged")
        return int(progress["done"])

    def write(self, number: int, label: int, pictures: Pictures) -> None:
        if number == self._written:
            with _writing(self._part):
                self._file.write(np.ascontiguousarray(pictures).tobytes())
            self._written += 1

    def flush(self) -> None:
        """What is written now is not made again."""
        with _writing(self._part):
            self._file.flush()
            self._note(self._written)

    def _note(self, done: int) -> None:
        temporary = self._part / "progress.partial"
        temporary.write_text(json.dumps({"done": done, "facts": self._facts}))
        os.replace(temporary, self._part / "progress.json")

    def _finish(self) -> None:
        self._file.flush()
        with (
            replacing(self._dest, overwrite=self._overwrite) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file,
        ):
            for name in ("arr_0.npy", "arr_1.npy"):
                file.write(self._part / name, name)
        shutil.rmtree(self._part, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            # On a full disk closing fails once more, for what could not be written before.
            with suppress(OSError):
                self._file.close()


def _npy_header(dtype: Any, shape: tuple[int, ...]) -> bytes:
    """What stands before the numbers in a `.npy` file."""
    out = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """System errors as `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


class TokenFile:
    """Tokens of all samples, int32 [n, T', h, w], as a `.npy` file that appears when all are there."""

    def __init__(self, dest: Path, shape: tuple[int, ...], *, overwrite: bool) -> None:
        self._dest, self._shape, self._overwrite = dest, shape, overwrite
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            path = stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
            self._file = stack.enter_context(path.open("wb"))
            self._file.write(_npy_header(np.int32, self._shape))
            self._stack = stack.pop_all()
        return self

    def write(self, tokens: NDArray[np.int32]) -> None:
        """The next tokens, int32 [B, T', h, w]."""
        self._file.write(np.ascontiguousarray(tokens).tobytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def open_samples(
    dest: str,
    request: Request,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    facts: dict[str, Any],
    *,
    form: str | None = None,
    overwrite: bool = False,
) -> Output:
    """The output that a name asks for; `shape` is frames, height and width of a sample, `form` that of files.

    .png, .jpg: a sheet; .mp4, .mkv, .mov, .y4m: a mosaic of clips; .npz: arrays; a name without suffix or
    that ends in /: a folder of files in `form` (png, mkv or mp4). Raises `ArgumentValueError`, `OutputError`.
    """
    path, suffix = Path(dest), Path(dest).suffix.lower()
    if dest.endswith("/") or path.is_dir() or not suffix:
        form = form or ("png" if shape[0] == 1 else "mkv")
        if (form == "png") != (shape[0] == 1):
            what = "pictures" if shape[0] == 1 else "clips"
            raise ArgumentValueError("format", f"{form} is no format of the {what} that the model makes")
        return Folder(path, request, names, f".{form}", facts)
    if form is not None:
        raise ArgumentValueError("format", "is for a folder of files")
    if suffix == ".npz":
        return Arrays(path, request, shape, facts, overwrite=overwrite)
    if suffix in (".png", ".jpg", ".jpeg", *MOVING):
        return Sheet(path, request, shape, overwrite=overwrite)
    raise OutputError(f"{dest}: format {suffix!r} is not supported; use .png, .mp4, .mkv, .npz or a folder/")
