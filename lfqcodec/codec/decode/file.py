"""An opened .lfq file: what it is, its frames, its tokens."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
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
from lfqcodec.codec.decode.source import Source, reading
from lfqcodec.codec.models import rate_model
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.salvage import Salvage, Use
from lfqcodec.codec.tokens import TokenDecoder
from lfqcodec.errors import ArgumentTypeError, BitstreamError, LfqError
from lfqcodec.machine import PRECISIONS
from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.startup import loading
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


def _check_streams(streams: int | None) -> None:
    if streams is not None:
        arguments.integer("streams", streams, 1)


class LfqFile:
    """A .lfq file open for reading; a context manager.

    `frames()`, `tokens()`, `units()` and `events()` each start at the beginning of a seekable file, and do
    not disturb each other. A pipe can be read once. Errors of the file are `BitstreamError`
    (`InputVideoError` where the system cannot read it), those of the model `WeightsError`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._wanted_model, self.limits = model, limits
        self.device, self.precision = device, precision
        self._source = Source(source)
        self.name = self._source.name
        try:
            with reading(self.name):
                first = BitstreamReader(self._source.open(), limits)
        except BaseException:
            self.close()
            raise
        self.header: FileHeader = first.header
        """Everything the file says of itself as a whole."""
        self._pipe = None if self._source.seekable else first
        self._piped = False

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

    @property
    def seekable(self) -> bool:
        """False for a pipe."""
        return self._source.seekable

    def size(self) -> int:
        """Bytes of the file. Raises `LfqError` for a pipe."""
        if self._pipe is not None:
            raise LfqError(f"{self.name}: the size of a pipe is not known")
        return self._source.open().seek(0, os.SEEK_END)

    @property
    def piped_bytes(self) -> int:
        """How many bytes of a pipe were read so far."""
        return 0 if self._pipe is None else self._pipe.position

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
            return self._any_reader().any_index()

    def stored_index(self) -> Index:
        """The index that the file holds. Raises `BitstreamError` where it is missing or damaged."""
        with reading(self.name):
            return self._any_reader().index()

    def _any_reader(self) -> BitstreamReader:
        return self._pipe or BitstreamReader(self._source.open(), self.limits)

    def reader(self) -> BitstreamReader:
        """A reader of its own that stands at the first unit. `LfqError` where a pipe was given out before."""
        with reading(self.name):
            if self._piped:
                raise LfqError(f"{self.name}: a pipe can be read once only")
            self._piped = self._pipe is not None
            return self._any_reader()

    def heads(self) -> Iterator[ChunkHead | PacketsHead]:
        """Heads of chunks and packets in file order; payloads are passed over, and so not checked."""
        reader = self.reader()
        with reading(self.name):
            yield from reader.heads()

    def units(self) -> Iterator[Chunk | Packets]:
        """Chunks and packets in file order, with their payload."""
        reader = self.reader()
        with reading(self.name):
            yield from reader

    def salvage(self) -> Salvage[Chunk]:
        """Every good chunk and packet of the file, damaged or not, with what is lost."""
        reader = self.reader()
        index: Index | None = None
        if reader.seekable:
            with suppress(BitstreamError):
                index = reader.index()
        return Salvage(reader, lambda chunk, _: Use(chunk), index=index)

    def unit_bytes(self, head: ChunkHead | PacketsHead) -> bytes:
        """The bytes of the whole unit with this head, in a seekable file."""
        with reading(self.name):
            file = self._source.open()
            file.seek(head.offset)
            return file.read(head.size)

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
        with loading():
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
        self._source.close()

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
    precision: str = "auto",
    limits: Limits | None = None,
) -> LfqFile:
    """Open a .lfq file (path, "-" for standard input, or binary file object) and check its header.

    `model` names a model file to use instead of looking one up by its SHA-256; `device` and `precision` are
    as in `DecodeOptions`; `limits` is what the file may ask for, None for the defaults. Raises
    `ArgumentError`, `InputVideoError` for a file that cannot be opened and `BitstreamError` for one that is
    not .lfq.
    """
    arguments.source("source", source)
    if model is not None:
        arguments.path("model", model)
    arguments.text("device", device)
    arguments.choice("precision", precision, PRECISIONS)
    if limits is not None and not isinstance(limits, Limits):
        raise ArgumentTypeError("limits", f"must be lfqcodec.Limits, not {limits!r}")
    return LfqFile(source, model=model, device=device, precision=precision, limits=limits or DEFAULT_LIMITS)
