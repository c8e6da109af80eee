"""An opened .lfq file: what it is, its frames, its tokens."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfqcodec import arguments
from lfqcodec.bitstream import (
    DEFAULT_LIMITS,
    BitstreamReader,
    Chunk,
    ChunkHead,
    FileHeader,
    Index,
    Limits,
    Packets,
    PacketsHead,
    Profile,
)
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.gop import TokenDecoder
from lfqcodec.codec.models import rate_model
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.salvage import Salvage
from lfqcodec.errors import ArgumentTypeError, BitstreamError, InputVideoError, LfqError
from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.output import undisturbed
from lfqcodec.tokenizer.layout import Layout
from lfqcodec.weights.store import Model, Prior, find_model, find_prior

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ChunkTokens:
    """The head of a chunk and its tokens: for each group of pictures its layers by name.

    A layer is int32 [planes, rows, columns] in [0, 2^18), a plane for each picture that has it.
    """

    head: ChunkHead
    groups: list[dict[str, NDArray[np.int32]]]


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Put the name of the file into errors of its bytes, and make system errors `InputVideoError`."""
    try:
        yield
    except BitstreamError as error:
        error.args = (f"{name}: {error}",)
        raise
    except OSError as error:
        raise InputVideoError(f"{name}: {error.strerror or error}") from error


def index_of(reader: BitstreamReader) -> Index:
    """The stored index, or one made by a scan where that is missing."""
    try:
        return reader.index()
    except BitstreamError:
        return reader.scan_index()


def _check_streams(streams: int | None) -> None:
    if streams is not None:
        arguments.integer("streams", streams, 1)


class LfqFile:
    """A .lfq file open for reading; a context manager.

    `frames()`, `tokens()`, `units()` and `events()` each start over at the beginning of a seekable file, so
    one of them can be in use at a time; a pipe can be read once. Errors of the file are `BitstreamError`
    (`InputVideoError` where the system cannot read it), those of the model `WeightsError`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._wanted_model, self.device, self.limits = model, device, limits
        self.owned = False
        if not isinstance(source, (str, os.PathLike)):
            self.name, self._file = "<stream>", source
        elif os.fspath(source) == "-":
            self.name = "standard input"
            if sys.stdin is None or sys.stdin.isatty():
                raise InputVideoError("standard input: is a terminal, not a .lfq file")
            self._file = sys.stdin.buffer
        else:
            self.name = os.fspath(source)
            arguments.refuse_url(source)
            with reading(self.name):
                self._file = Path(source).open("rb")  # noqa: SIM115 (closed by close)
            self.owned = True
        self._fresh = True
        try:
            with reading(self.name):
                self._base = self._file.tell() if self._file.seekable() else 0
                self._reader = BitstreamReader(self._file, limits)
        except BaseException:
            self.close()
            raise

    @property
    def header(self) -> FileHeader:
        """Everything the file says of itself as a whole."""
        return self._reader.header

    @property
    def info(self) -> VideoInfo:
        """The video as `lfqcodec.media` describes it."""
        h = self.header
        return VideoInfo(
            width=h.width,
            height=h.height,
            time_base=h.time_base,
            frame_rate=h.frame_rate,
            frame_count=h.frame_count,
            colour=h.colour,
            sar=h.sar,
            rotation=h.rotation,
            streams=h.streams,
            is_image=h.still_image,
            metadata=h.metadata,
        )

    def size(self) -> int:
        """Bytes of the file. Raises `LfqError` for a pipe."""
        if not self._reader.seekable:
            raise LfqError(f"{self.name}: the size of a pipe is not known")
        here = self._file.tell()
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(here)
        return end - self._base

    @property
    def bytes_read(self) -> int:
        """How far reading is: of a pipe that was read to its end, how many bytes it had."""
        return self._reader.position

    def missing(self, frames: int) -> str:
        """What a file that ends early lacks, where `frames` are there: "" if nothing says how many it had."""
        announced = self.header.frame_count
        if announced is None or announced <= frames:
            return ""
        rate, lost = self.header.frame_rate, announced - frames
        seconds = "" if rate is None else f" ({float(lost / rate):.2f} s)"
        return f"; {frames} of {announced} frames are there, {lost}{seconds} are missing"

    def index(self) -> Index:
        """GOP positions and totals of a seekable file; made by a scan where the stored one is missing."""
        with reading(self.name):
            return index_of(self._reader)

    def stored_index(self) -> Index:
        """The index that the file holds. Raises `BitstreamError` where it is missing or damaged."""
        with reading(self.name):
            return self._reader.index()

    @property
    def seekable(self) -> bool:
        """False for a pipe."""
        return self._reader.seekable

    def restart(self) -> BitstreamReader:
        """A reader that stands at the first unit."""
        if not self._fresh:
            if not self._reader.seekable:
                raise LfqError(f"{self.name}: a pipe can be read once only")
            with reading(self.name):
                self._file.seek(self._base)
                self._reader = BitstreamReader(self._file, self.limits)
        self._fresh = False
        return self._reader

    def heads(self) -> Iterator[ChunkHead | PacketsHead]:
        """Heads of chunks and packets in file order; payloads are passed over, and so not checked."""
        reader = self.restart()
        with reading(self.name):
            yield from reader.heads()

    def units(self) -> Iterator[Chunk | Packets]:
        """Chunks and packets in file order, with their payload."""
        reader = self.restart()
        with reading(self.name):
            yield from reader

    def salvage(self) -> Salvage:
        """Everything that can be read of the file, damaged or not, with what is lost."""
        reader = self.restart()
        index: Index | None = None
        if reader.seekable:
            with suppress(BitstreamError):
                index = reader.index()
        return Salvage(reader, index=index)

    def unit_bytes(self, head: ChunkHead | PacketsHead) -> bytes:
        """The bytes of the whole unit with this head, in a seekable file; reading goes on where it was."""
        with reading(self.name):
            here = self._file.tell()
            self._file.seek(self._base + head.offset)
            data = self._file.read(head.size)
            self._file.seek(here)
        return data

    def tokens(self, streams: int | None = None) -> Iterator[ChunkTokens]:
        """Tokens of all chunks, decoded and checked; at most `streams` streams. Needs no tokenizer."""
        _check_streams(streams)
        decoder = None
        for unit in self.units():
            if isinstance(unit, Chunk):
                decoder = decoder or self.token_decoder()
                with reading(self.name):
                    groups = decoder.decode(unit, streams)
                names = decoder.names(unit.head)
                named = [dict(zip(own, each, strict=False)) for own, each in zip(names, groups, strict=True)]
                yield ChunkTokens(unit.head, named)

    def token_decoder(self) -> TokenDecoder:
        """What decodes the tokens of the file, from its start on. Raises `WeightsError`."""
        header = self.header
        size = header.height, header.width
        return TokenDecoder(Layout(header.layers), rate_model(self.prior()), header.profile, size)

    def frames(
        self,
        *,
        start: float | Fraction | None = None,
        duration: float | Fraction | None = None,
        streams: int | None = None,
        damage: list[Loss] | None = None,
    ) -> Iterator[Frame]:
        """Decoded frames, uint8 RGB [H, W, 3], with their times counted from the first frame handed out.

        `start` and `duration` (seconds) cut exactly; `streams` 1 leaves out the second stream. With a
        list for `damage`, damaged parts are concealed and noted there, else they raise `BitstreamError`.
        Raises `InputVideoError` where there is no frame in the time asked for.
        """
        for event in self.events(Cut(self.header, start, duration), streams=streams, damage=damage):
            if isinstance(event, Frame):
                yield event

    def tensors(
        self,
        *,
        start: float | Fraction | None = None,
        duration: float | Fraction | None = None,
        streams: int | None = None,
    ) -> Iterator[Tensor]:
        """The pictures of `frames` as tensors of Torch: uint8 RGB [3, H, W], on the CPU."""
        import torch

        for frame in self.frames(start=start, duration=duration, streams=streams):
            yield torch.from_numpy(frame.rgb).permute(2, 0, 1)

    def events(
        self,
        cut: Cut,
        *,
        streams: int | None = None,
        damage: list[Loss] | None = None,
        workers: int = 1,
    ) -> Generator[Frame | StreamPacket, None, None]:
        """Decoded frames and copied packets of a part of the file, otherwise as `frames`.

        With several `workers` GOPs are decoded ahead, each in a process of its own, which ends with the last
        event or with `close`; not out of a pipe.
        """
        with undisturbed():
            from lfqcodec.codec.decode.events import events

        _check_streams(streams)
        return events(self, cut, streams, damage, workers)

    def model(self) -> Model:
        """The model that the file needs. Raises `WeightsError`."""
        return find_model(self.header.tokenizer_sha256, self._wanted_model)

    def prior(self) -> Prior | None:
        """The prior that the file needs, None in profile static. Raises `WeightsError`."""
        if self.header.profile == Profile.STATIC:
            return None
        return find_prior(self.header.prior_sha256, self._wanted_model)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self.owned:
            self._file.close()

    def __enter__(self) -> LfqFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_file(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    limits: Limits | None = None,
) -> LfqFile:
    """Open a .lfq file (path, "-" for standard input, or binary file object) and check its header.

    `model` names a model file to use instead of looking one up by its SHA-256; `limits` is what the file may
    ask for, None for the defaults. Raises `ArgumentError`, `InputVideoError` for a file that cannot be opened
    and `BitstreamError` for one that is not .lfq.
    """
    arguments.source("source", source)
    if model is not None:
        arguments.path("model", model)
    arguments.text("device", device)
    if limits is not None and not isinstance(limits, Limits):
        raise ArgumentTypeError("limits", f"must be lfqcodec.Limits, not {limits!r}")
    return LfqFile(source, model=model, device=device, limits=limits or DEFAULT_LIMITS)
