"""What is fuzzed: each target takes bytes and may raise nothing but what it says of a bad file.

An error of another kind, an answer that breaks a promise (`Broken`), too much time (`Slow`) or too much
memory (`Hungry`) is a finding.
"""

from __future__ import annotations

import io
import itertools
import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / name) for name in ("support", "conformance")]

import independent_decoder  # noqa: E402
from token_support import by_stream, size_of, token_decoder  # noqa: E402

from lfqcodec.bitstream import (  # noqa: E402
    BitstreamReader,
    Chunk,
    ChunkHead,
    FileHeader,
    Profile,
    latent_grid,
)
from lfqcodec.codec.decode.cut import Cut  # noqa: E402
from lfqcodec.codec.decode.playback import Playback, use_of  # noqa: E402
from lfqcodec.codec.decode.reconstruct import Reconstructor  # noqa: E402
from lfqcodec.codec.gop import GopDecoder  # noqa: E402
from lfqcodec.codec.repair.damage import Loss  # noqa: E402
from lfqcodec.codec.repair.repair import repair  # noqa: E402
from lfqcodec.codec.repair.salvage import Salvage  # noqa: E402
from lfqcodec.codec.tokens import GroupTokens, TokenDecoder  # noqa: E402
from lfqcodec.errors import BitstreamError, NumericsMismatch  # noqa: E402
from lfqcodec.media import Frame  # noqa: E402

if TYPE_CHECKING:
    from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer

SECONDS = 10.0
"""For one input; most take a thousandth of that."""
MEMORY = 64 << 20
"""Bytes for one input of a few kilobytes."""
MOST_TOKENS = 20_000
"""Of an input, so that one claim of a large picture does not cost seconds."""
MOST_UNITS = 2000
MOST_FRAMES = 2000
"""That are shown of an input: a lost chunk may speak of many times as many."""
MOST_PIXELS = 1 << 14
"""Of a picture that is shown."""


class Broken(Exception):
    """An answer that must not be."""


class Slow(Broken):
    """An input that took too long."""


class Hungry(Broken):
    """An input that took too much memory."""


class Pipe(io.BytesIO):
    """A stream that cannot seek."""

    def seekable(self) -> bool:
        return False


def read_all(data: bytes, *, pipe: bool = False) -> bool:
    """Read a file to its end, past all damage, and decode its tokens. True where nothing was wrong."""
    reader = BitstreamReader(Pipe(data) if pipe else io.BytesIO(data))
    left, good, decoder = MOST_TOKENS, True, token_decoder(reader.header)
    usable = False  # chunks of the open GOP can be decoded: all before them were
    for _ in range(MOST_UNITS + len(data)):
        try:
            unit = reader.next_unit()
            if isinstance(unit, Chunk):
                start = unit.head.gop_start
                usable, due = False, usable or start
                count = sum(unit.head.tokens(reader.header))
                if due and count <= left and reader.header.profile == Profile.STATIC:
                    left -= count
                    _decode(decoder, reader.header, unit)
                    usable = True
        except BitstreamError:
            good = False
            continue
        if unit is None:
            if good and not reader.complete:
                raise Broken("the end was reached without an index and without an error")
            return good
    raise Broken("reading does not end")


def _decode(decoder: TokenDecoder, header: FileHeader, chunk: Chunk) -> None:
    groups = decoder.decode(chunk)
    head = chunk.head
    for tokens in by_stream(header, head.valid, head.gop_start, groups, head.group_size):
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < 1 << 18):
            raise Broken("a token is out of range")


def in_order(data: bytes) -> None:
    """A file and the same bytes through a pipe are the same."""
    found = []
    for pipe in (False, True):
        try:
            found.append(str(read_all(data, pipe=pipe)))
        except BitstreamError as error:
            found.append(repr(error))
    if found[0] != found[1]:
        raise Broken(f"as a file {found[0]}, through a pipe {found[1]}")


def heads(data: bytes) -> None:
    """Heads alone, and the index that comes of them."""
    reader = BitstreamReader(io.BytesIO(data))
    for _ in range(MOST_UNITS + len(data)):
        try:
            if reader.next_head() is None:
                break
        except BitstreamError:
            continue
    else:
        raise Broken("reading does not end")
    reader.scan_index()


def by_index(data: bytes) -> None:
    """Seek to every GOP that the index names."""
    reader = BitstreamReader(io.BytesIO(data))
    for entry in reader.index().entries[:16]:
        reader.seek_gop(entry)
        unit = reader.next_wanted(lambda head: head.valid > 1)
        head = unit.head if isinstance(unit, Chunk) else unit
        if isinstance(head, ChunkHead) and head.first_frame != entry.first_frame:
            raise Broken("another GOP than the index says, and not a word")


def repaired(data: bytes) -> None:
    """What `repair` makes is a whole file, and repairing it once more changes nothing."""
    out = io.BytesIO()
    try:
        report = repair(io.BytesIO(data), out)
    except BitstreamError:
        return
    whole = out.getvalue()
    try:
        reader = BitstreamReader(io.BytesIO(whole))
        chunks = sum(isinstance(unit, Chunk) for unit in reader)
    except BitstreamError as error:
        raise Broken(f"what was repaired is damaged: {error}") from error
    if not reader.complete or chunks != report.chunks:
        raise Broken("what was repaired is not whole")
    again = io.BytesIO()
    repair(io.BytesIO(whole), again)
    if again.getvalue() != whole:
        raise Broken("a second repair changes something")


class Grey:
    """Pictures without a network: all of a chunk is as grey as its tokens and those before in the GOP say."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size, self._state = size, 0

    def decode(self, groups: Iterable[GroupTokens], head: ChunkHead) -> Future[NDArray[np.uint8]]:
        """As `lfqcodec.codec.gop.GopDecoder` does it."""
        total = sum(int(layer.astype(np.int64).sum()) for tokens in groups for layer in tokens)
        self._state = (0 if head.gop_start else self._state) + total
        pictures: Future[NDArray[np.uint8]] = Future()
        pictures.set_result(np.full((head.valid, *self._size, 3), self._state % 256, np.uint8))
        return pictures


def shown(data: bytes) -> None:
    """What `decode` shows of a file: times grow, and where nothing is said to be lost, nothing is wrong."""
    reader = BitstreamReader(io.BytesIO(data))
    header = reader.header
    size = (header.height, header.width)
    if math.prod(size) > MOST_PIXELS or header.profile != Profile.STATIC:
        return
    losses: list[Loss] = []
    decode = Reconstructor(token_decoder(header), Grey(size), None)  # type: ignore[arg-type]
    salvage = Salvage(reader, use_of(decode), rescue=True)
    playback = Playback(header, Cut(header, None, None), salvage, losses)
    last = -1
    for event in itertools.islice(playback.events(), MOST_FRAMES):
        if isinstance(event, Frame):
            if event.pts <= last or event.rgb.shape != (*size, 3):
                raise Broken("a picture out of its place")
            last = event.pts
    if salvage.whole and not losses and not read_all(data):
        raise Broken("a damaged file was shown without a word")


def like_the_other(data: bytes) -> None:
    """The independent decoder finds a fault exactly where ours does."""
    try:
        reader = BitstreamReader(io.BytesIO(data))
        rows, columns = latent_grid(reader.header.width, reader.header.height)
        if reader.header.profile != Profile.STATIC or rows * columns > 256:
            return
    except BitstreamError:
        pass
    try:
        ours: str | None = None if read_all(data) else "some"
    except BitstreamError as error:
        ours = repr(error)
    try:
        independent_decoder.decode(data)
        other = None
    except independent_decoder.Fault as fault:
        other = str(fault)
    if (ours is None) != (other is None):
        raise Broken(f"ours says {ours}, the independent decoder {other}")


@cache
def tokenizer() -> MotionTokenizer:
    """A small one with random weights."""
    from motion_support import lively_motion

    return lively_motion()


def pictures(data: bytes) -> None:
    """What the tokenizer makes of the tokens of a file: pictures, or a word on what is wrong with them."""
    reader = BitstreamReader(io.BytesIO(data))
    header = reader.header
    size = size_of(header)
    if header.layers != tokenizer().config.layout.counts or math.prod(size) > MOST_PIXELS:
        return
    with closing(GopDecoder(tokenizer(), size)) as decoder:
        _check_pictures(reader, token_decoder(header), decoder, size)


def _check_pictures(
    reader: BitstreamReader, tokens: TokenDecoder, decoder: GopDecoder, size: tuple[int, int]
) -> None:
    for unit in itertools.islice(reader, MOST_UNITS):
        if isinstance(unit, Chunk):
            head = unit.head
            shown = decoder.decode(tokens.decode(unit), head).result()
            if shown.shape != (head.valid, *size, 3) or shown.dtype != np.uint8:
                raise Broken("these are not the pictures of the chunk")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "in_order": in_order,
    "heads": heads,
    "by_index": by_index,
    "repaired": repaired,
    "shown": shown,
    "like_the_other": like_the_other,
    "pictures": pictures,
}


def attempt(name: str, data: bytes, *, memory: bool = False) -> None:
    """Run a target. Raises what is a finding; errors that say that the file is bad are none.

    With `memory` allocations are counted, which takes several times as long.
    """
    began = time.perf_counter()
    if memory:
        tracemalloc.start()
    try:
        TARGETS[name](data)
    except (BitstreamError, NumericsMismatch):
        pass
    finally:
        if memory:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    if memory and peak > MEMORY:
        raise Hungry(f"{peak >> 20} MiB for {len(data)} bytes")
    if (passed := time.perf_counter() - began) > SECONDS:
        raise Slow(f"{passed:.1f} s for {len(data)} bytes")
