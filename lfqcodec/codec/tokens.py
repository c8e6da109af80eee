"""Tokens of chunks to payload and back, without a tokenizer. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from lfqcodec.bitstream import Chunk, ChunkHead, Layer, Profile, check_tokens
from lfqcodec.bitstream.geometry import CHUNK_LAYERS, GROUP_SIZES, chunk_layers
from lfqcodec.entropy import RateModel, RowSource, StreamDecoder, StreamEncoder, Words, as_given
from lfqcodec.errors import CorruptPayload, NumericsMismatch
from lfqcodec.tokenizer.layout import Layout

if TYPE_CHECKING:
    from lfqcodec.tokenizer.interface import Tokens

GroupTokens = tuple["Tokens", ...]
"""Tokens of the layers of a group, in order."""


def put_chunk_layers(
    stream: StreamEncoder,
    rates: RateModel,
    groups: Sequence[Sequence[Layer]],
    tokens: Mapping[str, Sequence[Tokens]],
) -> None:
    """Code those layers that all groups of a chunk share, by name, of each group that has them."""
    for number, layer in enumerate(chunk_layers(groups)):
        stream.put(rates.chunk_rows(number), layer.shape, as_given(np.concatenate(tokens[layer.name])))


class TokenEncoder:
    """Codes given tokens as they are, chunk by chunk; `size` (H, W) is that of the pictures."""

    def __init__(self, layout: Layout, rates: RateModel, size: tuple[int, int]) -> None:
        self._layout, self._rates, self._size = layout, rates, size

    def encode(
        self,
        groups: Sequence[GroupTokens],
        count: int,
        *,
        gop_start: bool,
        group_size: int = GROUP_SIZES[0],
    ) -> list[Words]:
        """The words of each stream of a chunk of `count` pictures, whose tokens are given by group."""
        layers = self._layout.chunk(count, self._size, gop_start=gop_start, group_size=group_size)
        given: dict[str, list[Tokens]] = {name: [] for name in CHUNK_LAYERS}
        for layer, own in chain(*(zip(*pair, strict=False) for pair in zip(layers, groups, strict=True))):
            if layer.name in given:
                given[layer.name].append(own)
        streams = {0: StreamEncoder()}
        self._rates.begin_chunk(layers, gop_start=gop_start)
        put_chunk_layers(streams[0], self._rates, layers, given)
        for group, tokens in zip(layers, groups, strict=True):
            self._rates.begin_group()
            for number, (layer, own) in enumerate(zip(group, tokens, strict=False)):
                if layer.name not in CHUNK_LAYERS:
                    stream = streams.setdefault(layer.stream, StreamEncoder())
                    stream.put(self._rates.rows(number), layer.shape, as_given(own))
        return [stream.words() for _, stream in sorted(streams.items())]


class TokenDecoder:
    """Decodes and checks the tokens of the chunks of a file in order; needs no tokenizer.

    `size` is (H, W). Chunks of a GOP depend on the ones before them: after an error go on at the start of a
    GOP, or where `rates` stood before.
    """

    def __init__(self, layout: Layout, rates: RateModel, profile: Profile, size: tuple[int, int]) -> None:
        self.layout, self.rates, self.profile, self._size = layout, rates, profile, size

    def decode(self, chunk: Chunk, streams: int | None = None) -> list[GroupTokens]:
        """The tokens of the next chunk by group and layer, those of at most `streams` streams.

        Raises what `groups` does.
        """
        return list(self.groups(chunk, streams))

    def groups(self, chunk: Chunk, streams: int | None = None) -> Generator[GroupTokens, None, None]:
        """The same, group by group. They can be trusted once all have come: checksums are those of chunks.

        Raises `CorruptPayload`, `ChecksumMismatch`, and `NumericsMismatch` in profile exact, where an intact
        payload that does not decode means that the prior computed other numbers.
        """
        head = chunk.head
        kept = head.stream_count if streams is None else min(streams, head.stream_count)
        layers = self._layers(head)
        last = {layer.stream: (number, layer) for number, group in enumerate(layers) for layer in group}
        decoders: dict[int, StreamDecoder] = {}

        def get(layer: Layer, source: RowSource) -> Tokens:
            with self._faults(head, f"stream {layer.stream}"):
                if layer.stream not in decoders:
                    decoders[layer.stream] = StreamDecoder(chunk.streams[layer.stream])
                return decoders[layer.stream].get(source, layer.shape)

        self.rates.begin_chunk(layers, gop_start=head.gop_start)
        known = {
            layer.name: iter(get(layer, self.rates.chunk_rows(number))[:, None])
            for number, layer in enumerate(chunk_layers(layers))
        }
        out: list[GroupTokens] = []
        for number, group in enumerate(layers):
            self.rates.begin_group()
            tokens: list[Tokens] = []
            for which, layer in enumerate(group):
                if layer.name in known:
                    tokens.append(next(known[layer.name]))
                elif layer.stream < kept:
                    tokens.append(get(layer, self.rates.rows(which)))
                    if last[layer.stream] == (number, layer):
                        with self._faults(head, f"stream {layer.stream}"):
                            whole = decoders[layer.stream].finish()
                        check_tokens(whole, head, layer.stream, self.profile)
            out.append(tuple(tokens))
            if number < len(layers) - 1:
                yield out[-1]
        with self._faults(head, "the payload"):
            for group, own in zip(layers, out, strict=True):
                self.layout.check(group, own)
        yield out[-1]

    def names(self, head: ChunkHead) -> list[tuple[str, ...]]:
        """The names of the layers of each group of a chunk."""
        return [tuple(layer.name for layer in group) for group in self._layers(head)]

    def _layers(self, head: ChunkHead) -> list[tuple[Layer, ...]]:
        """The layers of each group of a chunk, in coding order."""
        size = head.group_size
        return self.layout.chunk(head.valid, self._size, gop_start=head.gop_start, group_size=size)

    @contextmanager
    def _faults(self, head: ChunkHead, what: str) -> Iterator[None]:
        """Gives errors of a payload the name that they have in this profile."""
        try:
            yield
        except CorruptPayload as error:
            raise self._fault(error, what, head) from error

    def _fault(self, error: CorruptPayload, what: str, head: ChunkHead) -> Exception:
        if self.profile == Profile.STATIC:
            return CorruptPayload(error.message, offset=head.offset, chunk=head.number)
        return NumericsMismatch(
            f"{what} of chunk {head.number} does not decode although it is intact: "
            "the prior computed other numbers here than where the file was made"
        )
