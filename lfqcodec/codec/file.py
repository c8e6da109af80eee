"""An opened .lfq file: what it is, its frames, its tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import (
    DEFAULT_LIMITS,
    BitstreamReader,
    Chunk,
    ChunkHead,
    FileHeader,
    Index,
    Limits,
    Packets,
)
from lfqcodec.codec.payload import decode_payload
from lfqcodec.errors import BitstreamError, InputVideoError, LfqError
from lfqcodec.media import Frame, StreamPacket, VideoInfo
from lfqcodec.weights.store import Model, find_model

if TYPE_CHECKING:
    from lfqcodec.codec.chunks import ChunkDecoder


@dataclass(frozen=True)
class ChunkTokens:
    """Tokens of one chunk: int32 [stages, T, h, w] in [0, 2^18), and the chunk's head."""

    head: ChunkHead
    tokens: NDArray[np.int32]


class LfqFile:
    """A .lfq file open for reading; a context manager.

    `frames()` and `tokens()` each start over at the beginning of a seekable file; a pipe can be read once.
    Errors of the file are `BitstreamError`, those of the model `WeightsError`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._owned = isinstance(source, (str, os.PathLike))
        self.name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "<stream>"
        if isinstance(source, (str, os.PathLike)):
            try:
                self._file: BinaryIO = Path(source).open("rb")  # noqa: SIM115 (closed by close)
            except OSError as error:
                raise InputVideoError(f"{self.name}: {error.strerror}") from error
        else:
            self._file = source
        self._wanted_model, self._device, self._limits = model, device, limits
        self._fresh = True
        try:
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
        )

    @property
    def reader(self) -> BitstreamReader:
        """The container reader, for those who want heads without payload."""
        return self._reader

    def size(self) -> int:
        """Bytes of a file on disk. Raises `LfqError` for a stream."""
        try:
            return os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise LfqError("the size of a stream is not known") from error

    def index(self) -> Index:
        """GOP positions and totals of a seekable file; made by a scan where the stored one is missing."""
        try:
            return self._reader.index()
        except BitstreamError:
            return self._reader.scan_index()

    def units(self, start: Fraction | None = None) -> Iterator[Chunk | Packets]:
        """Chunks and packets in file order; with `start` (seconds) from the GOP on that is shown then."""
        if not self._fresh:
            if not self._reader.seekable:
                raise LfqError("a pipe can be read once only")
            self._file.seek(0)
            self._reader = BitstreamReader(self._file, self._limits)
        self._fresh = False
        if start is not None and start > 0 and self._reader.seekable:
            index = self.index()
            entry = index.entries[index.find_pts(int(start / self.header.time_base))]
            self._reader.seek_gop(entry)
        yield from self._reader

    def tokens(self, stages: int | None = None) -> Iterator[ChunkTokens]:
        """Tokens of all chunks, decoded and checked; at most `stages` stages. Needs no model."""
        for unit in self.units():
            if isinstance(unit, Chunk):
                yield ChunkTokens(unit.head, decode_payload(unit, self.header, stages))

    def frames(
        self,
        *,
        start: float | Fraction | None = None,
        duration: float | Fraction | None = None,
        stages: int | None = None,
    ) -> Iterator[Frame]:
        """Decoded frames, uint8 RGB [H, W, 3], with their times counted from the first frame handed out.

        `start` and `duration` (seconds) cut exactly; `stages` decodes fewer stages than were coded.
        """
        for event in self.events(start=start, duration=duration, stages=stages):
            if isinstance(event, Frame):
                yield event

    def events(
        self,
        *,
        start: float | Fraction | None = None,
        duration: float | Fraction | None = None,
        stages: int | None = None,
    ) -> Iterator[Frame | StreamPacket]:
        """Decoded frames and copied packets, as `frames`, in file order."""
        from lfqcodec.codec.chunks import ChunkDecoder, pick_device
        from lfqcodec.weights.loading import load_tokenizer

        header = self.header
        if stages is not None and stages < 1:
            raise LfqError(f"--stages must be at least 1, not {stages}")
        device = pick_device(self._device)
        tokenizer = load_tokenizer(self.model(), device)
        if header.max_stages > tokenizer.config.stages:
            raise LfqError(f"the file has {header.max_stages} stages, its model {tokenizer.config.stages}")
        decoder = ChunkDecoder(tokenizer, header.height, header.width, device)
        cut = _Cut(header, start, duration)
        for unit in self.units(cut.start):
            if isinstance(unit, Packets):
                for packet in unit.packets:
                    moved = cut.packet(packet)
                    if moved is not None:
                        yield moved
            elif cut.is_over(unit.head):
                break
            else:
                yield from self._decode(unit, decoder, cut, stages)
        if not cut.any:
            raise LfqError(f"{self.name}: no frames in the time asked for")

    def _decode(self, chunk: Chunk, decoder: ChunkDecoder, cut: _Cut, stages: int | None) -> Iterator[Frame]:
        head = chunk.head
        tokens = decode_payload(chunk, self.header, stages)
        pictures = decoder.decode(tokens, head.valid, gop_start=head.gop_start)
        for pts, picture in zip(head.pts, pictures, strict=True):
            moved = cut.frame(pts)
            if moved is not None:
                yield Frame(moved, picture)

    def model(self) -> Model:
        """The model that the file needs. Raises `WeightsError`."""
        return find_model(self.header.tokenizer_sha256, self._wanted_model)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> LfqFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Cut:
    """The part of the time line that is wanted, and the shift that brings its first frame to time 0."""

    # Frame times are ticks, but users give decimal seconds: allow what rounding loses.
    TOLERANCE = Fraction(1, 1000)

    def __init__(
        self, header: FileHeader, start: float | Fraction | None, duration: float | Fraction | None
    ) -> None:
        self.header = header
        self.start = None if start is None else Fraction(str(start) if isinstance(start, float) else start)
        length = Fraction(str(duration) if isinstance(duration, float) else duration) if duration else None
        if (self.start is not None and self.start < 0) or (length is not None and length <= 0):
            raise LfqError("--start must be at least 0 and --duration over 0 seconds")
        self.end = None if length is None else (self.start or Fraction(0)) + length
        self.zero: int | None = 0 if self.start is None else None
        self.any = False

    def _seconds(self, pts: int) -> Fraction:
        return pts * self.header.time_base

    def is_over(self, head: ChunkHead) -> bool:
        """True for a chunk that begins behind the end."""
        return self.end is not None and self._seconds(head.pts[0]) >= self.end - self.TOLERANCE

    def frame(self, pts: int) -> int | None:
        """The shifted time of a frame, None where it lies outside."""
        time = self._seconds(pts)
        if self.start is not None and time < self.start - self.TOLERANCE:
            return None
        if self.end is not None and time >= self.end - self.TOLERANCE:
            return None
        if self.zero is None:
            self.zero = pts
        self.any = True
        return pts - self.zero

    def packet(self, packet: StreamPacket) -> StreamPacket | None:
        """The shifted packet, None where it is not heard in the part that is wanted."""
        base = self.header.streams[packet.stream].time_base
        begins, ends = packet.pts * base, (packet.pts + packet.duration) * base
        if self.start is not None and ends <= self.start:
            return None
        if self.end is not None and begins >= self.end:
            return None
        zero = self._seconds(self.zero) if self.zero is not None else cast(Fraction, self.start)
        shift = round(zero / base)
        return replace(packet, pts=packet.pts - shift, dts=packet.dts - shift)


def open_file(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    limits: Limits = DEFAULT_LIMITS,
) -> LfqFile:
    """Open a .lfq file (path, or binary file object) and check its header.

    `model` names a model file to use instead of looking one up by its SHA-256. Raises `InputVideoError` for
    a file that cannot be opened and `BitstreamError` for one that is not .lfq.
    """
    return LfqFile(source, model=model, device=device, limits=limits)
