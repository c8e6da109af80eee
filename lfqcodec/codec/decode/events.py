"""Decoding a file: from its units to pictures and packets, of the whole or of a cut."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lfqcodec.bitstream import BitstreamReader, Chunk, ChunkHead, Index, IndexEntry
from lfqcodec.codec.decode.ahead import Ahead, DecodeGop, whole_gops
from lfqcodec.codec.decode.cut import Cut
from lfqcodec.codec.decode.playback import Decoder, Playback, use_of
from lfqcodec.codec.decode.reconstruct import Reconstruction, Reconstructor
from lfqcodec.codec.decode.source import reading
from lfqcodec.codec.gop import GopDecoder
from lfqcodec.codec.models import load_group_tokenizer, motion_config
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.salvage import Salvage
from lfqcodec.codec.workers import Workers
from lfqcodec.errors import BitstreamError, InputVideoError, InvalidField
from lfqcodec.media import Frame, StreamPacket
from lfqcodec.timespan import TOLERANCE
from lfqcodec.tokenizer.layout import Layout

if TYPE_CHECKING:
    from lfqcodec.codec.decode.file import LfqFile


def events(
    file: LfqFile, cut: Cut, streams: int | None, damage: list[Loss] | None, workers: int
) -> Generator[Frame | StreamPacket, None, None]:
    """As `LfqFile.events`."""
    header = file.header
    model = file.model()
    if motion_config(model).layout != Layout(header.layers):
        raise InvalidField(f"{file.name}: has other layers of tokens than its model")
    with reading(file.name):
        walk = _walk(file, cut, damage)
        with ExitStack() as stack:

            @cache
            def reconstructor() -> Reconstructor:
                tokenizer = load_group_tokenizer(model, file.device, file.precision)
                decoder = stack.enter_context(closing(GopDecoder(tokenizer, (header.height, header.width))))
                return Reconstructor(file.token_decoder(), decoder, streams)

            def here(chunk: Chunk, *, damaged: bool) -> Reconstruction | None:
                # Made when it is needed: where workers do all of it, this process does without torch.
                return reconstructor()(chunk, damaged=damaged)

            decode: Decoder = here
            if workers > 1 and file.seekable:
                job = DecodeGop(header, model, file.prior(), streams, file.device, file.precision)
                decode = stack.enter_context(_ahead(file, here, job, cut, walk.first, workers))
            strict = damage is None
            salvage = Salvage(
                walk.reader,
                use_of(decode),
                index=walk.index,
                begin=walk.begin,
                strict=strict,
                rescue=not strict,
            )
            noted = [] if damage is None else damage
            playback = Playback(header, cut, salvage, noted, first=walk.first, ahead=file.seekable)
            yield from playback.events()
        if salvage.first_fault is not None and not playback.decoded:
            raise salvage.first_fault
    if not cut.begun:
        raise InputVideoError(f"{file.name}: has no frame in the time asked for")


@dataclass(frozen=True)
class _Walk:
    """What to read for a cut: `reader` stands at the GOP `begin`, or at the start of the file.

    Frames from `first` on can matter. `index` is that of the file, where it was of use.
    """

    reader: BitstreamReader
    index: Index | None = None
    begin: IndexEntry | None = None
    first: int = 0


def _walk(file: LfqFile, cut: Cut, damage: list[Loss] | None) -> _Walk:
    """What to read for `cut`, which learns here when the file begins if the index is of use."""
    reader = file.reader()
    if reader.seekable and cut.span.start is not None:
        index = reader.any_index()
        cut.begin(index.entries[0].first_pts)
        gop = _first_gop(reader, index, cut.first_tick())
        # Sound that is heard across the border lies in the GOP before.
        begin = index.entries[max(0, gop - 1) if file.header.streams else gop]
        reader.seek_gop(begin)
        return _Walk(reader, index, begin, index.entries[gop].first_frame)
    if reader.seekable and damage is not None:
        # It helps to tell what is lost, and may be lost itself.
        with suppress(BitstreamError):
            index = reader.index()
            cut.begin(index.entries[0].first_pts)
            return _Walk(reader, index)
    return _Walk(reader)


def _first_gop(reader: BitstreamReader, index: Index, tick: int) -> int:
    """The GOP of the first frame at or after `tick`; may move `reader`."""
    gop = index.find_pts(tick)
    if gop + 1 == len(index.entries):
        return gop
    near = index.entries[gop + 1].first_pts - tick
    if near * reader.header.time_base <= TOLERANCE:
        # A cut that begins with a GOP: because of the tolerance the last frame before it could count too.
        last = tick
        with suppress(BitstreamError):
            reader.seek_gop(index.entries[gop])
            for head in reader.heads():
                if head.offset >= index.entries[gop + 1].offset:
                    return gop + (last < tick)
                last = head.pts[-1] if isinstance(head, ChunkHead) else last
    return gop


@contextmanager
def _ahead(
    file: LfqFile, here: Decoder, job: DecodeGop, cut: Cut, first: int, most: int
) -> Iterator[Decoder]:
    """What decodes in at most so many workers."""
    reader = file.reader()
    entries = [entry for entry in reader.any_index().entries if entry.first_frame >= first]
    count = min(most, len(entries))
    if count < 2:
        yield here
        return
    reader.seek_gop(entries[0])
    with closing(Workers(job.shared_by(count), count)) as workers:
        yield Ahead(here, whole_gops(reader, first, cut), workers)
