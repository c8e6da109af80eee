"""The coding loop: pictures to tokens to payload and back, chunk by chunk, group by group, layer by layer.

Sessions, workers, measurements and the makers of training data all code through here. For each layer the
tokenizer offers what may be chosen, the rate model gives the frequency rows, the choice is made with the rows
in view and coded, and the tokenizer goes on with what was chosen. The decoder drives the same rate model.

Layers `quality` and `motion.anchor` of all groups of a chunk are coded at once, in front of all others (spec
section 10.1): so the rate model computes few large batches in place of many small ones. An encoder chooses
them group by group like the others, and codes them at the end. Importing this loads no torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import ChunkHead, token_crc
from lfqcodec.bitstream.geometry import CHUNK_LAYERS, GROUP_SIZES
from lfqcodec.codec.tokens import GroupTokens, put_chunk_layers
from lfqcodec.entropy import Chooser, RateModel, StreamEncoder, Words, as_given
from lfqcodec.tokenizer.layout import Layout

if TYPE_CHECKING:
    from lfqcodec.tokenizer.interface import (
        DecodedGroup,
        GroupEncoder,
        GroupTokenizer,
        GroupValues,
        Options,
        Pictures,
        Reference,
        Tokens,
    )


@dataclass(frozen=True)
class OperatingPoint:
    """How much is spent: so many `streams`, `lambda_`, what a bit is worth, and the quality to aim at.

    `lambda_` is in squared error, in 8-bit units summed over all samples; 0 takes the tokens as they are.
    `quality` is in units of the tokenizer. First pictures of a GOP have both for themselves. Groups have
    `group_size` pictures.
    """

    streams: int
    lambda_: float = 0.0
    quality: float = 0.0
    intra_lambda: float = 0.0
    intra_quality: float = 0.0
    group_size: int = GROUP_SIZES[0]


@dataclass(frozen=True)
class CodedChunk:
    """What coding makes of a chunk: words and checksum of the tokens of each stream.

    Its groups have `group_size` pictures. `pictures` uint8 [n, H, W, 3] are those of the decoder, None where
    nobody asked for them.
    """

    streams: list[Words]
    token_crcs: list[int]
    pictures: Pictures | None
    group_size: int = GROUP_SIZES[0]

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(stream.nbytes for stream in self.streams)


ChooseLayer = Callable[["Options", float], Chooser]
"""What picks the subtokens of a layer at a lambda: `lfqcodec.codec.encode.rdo`."""


def plain_choice(options: Options, lambda_: float) -> Chooser:
    """Takes the tokens of a layer as quantization gives them."""
    return as_given(options.plain)


class GopEncoder:
    """Codes the chunks of a file in order. With `decoded` it gives the decoder's pictures, too.

    `effort` is for the tokenizer: how long it looks for what costs least.
    """

    def __init__(
        self,
        tokenizer: GroupTokenizer,
        rates: RateModel,
        choose: ChooseLayer = plain_choice,
        *,
        decoded: bool = False,
        effort: str = "medium",
    ) -> None:
        self._tokenizer, self._rates, self._choose, self._decoded = tokenizer, rates, choose, decoded
        self._effort = effort
        self._reference: Reference = None

    def encode(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        point: OperatingPoint,
        *,
        gop_start: bool,
        on_coded: Callable[[int], None] = lambda pictures: None,
    ) -> CodedChunk:
        """Code the next chunk: 1 to 17 pictures uint8 [H, W, 3] at a GOP start, else 1 to 16.

        `on_coded` is told of every group how many pictures it has. A thread begins with the next anchor while
        the pictures between this one and the one before are coded.
        """
        # Not at the top: who codes tokens alone does without torch.
        from lfqcodec.tokenizer.prepared import prepared

        ahead, streams = StreamEncoder(), [StreamEncoder() for _ in range(point.streams)]
        chosen: dict[str, list[Tokens]] = {name: [] for name in CHUNK_LAYERS}
        shown: list[Pictures | None] = []
        layout, size = self._tokenizer.layout, point.group_size
        counts = list(_groups(layout, len(pictures), size, gop_start=gop_start))
        groups = layout.chunk(len(pictures), pictures[0].shape[:2], gop_start=gop_start, group_size=size)
        if gop_start:
            self._reference = None
        self._rates.begin_chunk(groups, gop_start=gop_start)

        def begin(which: int, reference: Reference) -> GroupEncoder:
            start, count = counts[which]
            quality = point.quality if reference is not None else point.intra_quality
            own = pictures[start : start + count]
            return prepared(self._tokenizer.encode(own, reference, quality, self._effort))

        with ThreadPoolExecutor(1) as beside:
            following: Future[GroupEncoder] | None = None
            for which, (start, count) in enumerate(counts):
                first = gop_start and not start
                group = begin(which, self._reference) if following is None else following.result()
                following = None
                lambda_ = point.intra_lambda if first else point.lambda_
                self._rates.begin_group()
                for number, layer in enumerate(group.layers):
                    if layer.name in CHUNK_LAYERS:
                        # There is nothing to choose; they are coded when those of all groups are known.
                        tokens = group.options(number).plain
                        self._rates.given(number, tokens)
                        chosen[layer.name].append(tokens)
                        group = group.take(number, tokens)
                    elif layer.stream < point.streams:
                        choose = self._choose(group.options(number), lambda_)
                        rows = self._rates.rows(number)
                        group = group.take(number, streams[layer.stream].put(rows, layer.shape, choose))
                    reference = group.reference() if following is None and which + 1 < len(counts) else None
                    if reference is not None:
                        following = beside.submit(begin, which + 1, reference)
                decoded, self._reference = group.close(decoded=self._decoded)
                shown.append(decoded)
                on_coded(count)
        made = np.concatenate([each for each in shown if each is not None]) if self._decoded else None
        put_chunk_layers(ahead, self._rates, groups, chosen)
        ahead.append(streams[0])
        streams[0] = ahead
        # What is not there is 0 to a decoder.
        while len(streams) > 1 and not streams[-1].tokens().any():
            streams.pop()
        crcs = [token_crc(stream.tokens()) for stream in streams]
        return CodedChunk([stream.words() for stream in streams], crcs, made, size)

    def snapshot(self) -> Any:
        """The state between two chunks, for `restore`."""
        return self._reference, self._rates.snapshot()

    def restore(self, state: Any) -> None:
        """Go back to where `snapshot` was called."""
        self._reference, rates = state
        self._rates.restore(rates)


class GopDecoder:
    """Turns the tokens of the chunks of a file, in order, into pictures of `size` (H, W).

    One thread decodes what the next group depends on, another one the rest. They end with `close`.
    """

    def __init__(self, tokenizer: GroupTokenizer, size: tuple[int, int]) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._first, self._rest = ThreadPoolExecutor(1, "anchors"), ThreadPoolExecutor(1, "between")
        self._last: tuple[GroupValues, Future[DecodedGroup] | None] = None, None

    def decode(self, groups: Iterable[GroupTokens], head: ChunkHead) -> Future[Pictures]:
        """Begin to decode the next chunk: its new pictures, uint8 [valid, H, W, 3], from its tokens.

        Raises `BitstreamError` where these mean nothing, and what `groups` raises. An error leaves everything
        as it was before the chunk.
        """
        values, before = (None, None) if head.gop_start else self._last
        layout = self._tokenizer.layout
        counts = _groups(layout, head.valid, head.group_size, gop_start=head.gop_start)
        begun: deque[Future[DecodedGroup]] = deque()
        for (_, many), tokens in zip(counts, groups, strict=True):
            values = self._tokenizer.read(tokens, many, self._size, values)
            before = self._first.submit(self._decode, values, before)
            begun.append(before)
        self._last = values, before
        return self._rest.submit(_finish, begun)

    def _decode(self, values: GroupValues, before: Future[DecodedGroup] | None) -> DecodedGroup:
        return self._tokenizer.decode(values, None if before is None else before.result().reference)

    def close(self) -> None:
        """End the threads, which finish what they are at. Chunks that were begun are not decoded any more."""
        for each in (self._first, self._rest):
            each.shutdown(cancel_futures=True)


def _finish(begun: deque[Future[DecodedGroup]]) -> Pictures:
    shown = []
    while begun:
        # Taken out: what groups hold besides is dropped as soon as it can be.
        shown.append(begun.popleft().result().pictures())
    return np.concatenate(shown)


def _groups(layout: Layout, count: int, group_size: int, *, gop_start: bool) -> Iterator[tuple[int, int]]:
    """(first picture, number of pictures) of the groups of a chunk."""
    counts = layout.groups(count, gop_start=gop_start, group_size=group_size)
    return zip((0, *accumulate(counts)), counts, strict=False)
