"""The coding loop: pictures to tokens to payload and back, one group after another, one layer after another.

Sessions, workers, measurements and the makers of training data all code through here. For each layer the
tokenizer offers what may be chosen, the rate model gives the frequency rows, the choice is made with the rows
in view and coded, and the tokenizer goes on with what was chosen. The decoder drives the same rate model.
Importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, Profile, check_tokens, token_crc
from lfqcodec.entropy import Chooser, RateModel, Words, choose_tokens, decode_tokens, tokens_to_subtokens
from lfqcodec.errors import CorruptPayload, NumericsMismatch

if TYPE_CHECKING:
    from lfqcodec.tokenizer.interface import Options, Pictures, Reference, Tokenizer, Tokens


@dataclass(frozen=True)
class OperatingPoint:
    """How much is spent: at most so many `layers`, and `lambda_`, what a bit is worth.

    `lambda_` is in squared error, in 8-bit units summed over all samples; 0 takes the tokens as they are.
    """

    layers: int
    lambda_: float = 0.0


@dataclass(frozen=True)
class CodedChunk:
    """What coding makes of a chunk, by layer: tokens int32 [T, h, w], rANS words, checksums of the tokens.

    `pictures` uint8 [n, H, W, 3] are those of the decoder, None where nobody asked for them.
    """

    tokens: tuple[Tokens, ...]
    streams: list[Words]
    token_crcs: list[int]
    pictures: Pictures | None

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(stream.nbytes for stream in self.streams)


ChooseLayer = Callable[["Options", int, OperatingPoint], Chooser]
"""What picks the subtokens of a layer (number) at an operating point: `lfqcodec.codec.encode.rdo`."""


def as_given(tokens: Tokens) -> Chooser:
    """Picks these tokens, int32 [T, h, w]."""
    subtokens = tokens_to_subtokens(tokens)
    return lambda batch: subtokens[batch.positions]


def plain_choice(options: Options, layer: int, point: OperatingPoint) -> Chooser:
    """Takes the tokens of a layer as quantization gives them."""
    return as_given(options.plain)


class GopEncoder:
    """Codes the chunks of a file in order. With `decoded` it gives the decoder's pictures, too."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        rates: RateModel,
        choose: ChooseLayer = plain_choice,
        *,
        decoded: bool = False,
    ) -> None:
        self._tokenizer, self._rates, self._choose, self._decoded = tokenizer, rates, choose, decoded
        self._reference: Reference = None

    def encode(
        self, pictures: Sequence[NDArray[np.uint8]], point: OperatingPoint, *, gop_start: bool
    ) -> CodedChunk:
        """Code the next chunk: 1 to 17 pictures uint8 [H, W, 3] at a GOP start, else 1 to 16."""
        group = self._tokenizer.encode(pictures, None if gop_start else self._reference)
        self._rates.begin_chunk(group.shape[0], gop_start=gop_start)
        coded, streams = [], []
        for layer in range(point.layers):
            choose = self._choose(group.options(layer), layer, point)
            words, tokens = choose_tokens(self._rates.rows(layer), group.shape, choose)
            group = group.take(layer, tokens)
            coded.append(tokens)
            streams.append(words)
        made, self._reference = group.close(decoded=self._decoded)
        return CodedChunk(tuple(coded), streams, [token_crc(tokens) for tokens in coded], made)

    def snapshot(self) -> Any:
        """The state between two chunks, for `restore`."""
        return self._reference, self._rates.snapshot()

    def restore(self, state: Any) -> None:
        """Go back to where `snapshot` was called."""
        self._reference, rates = state
        self._rates.restore(rates)


class TokenEncoder:
    """Codes given tokens, chunk by chunk, as they are."""

    def __init__(self, rates: RateModel) -> None:
        self._rates = rates

    def encode(self, tokens: NDArray[np.int32], *, gop_start: bool) -> list[Words]:
        """The words of each layer of a chunk, int32 [layers, T, h, w]."""
        self._rates.begin_chunk(tokens.shape[1], gop_start=gop_start)
        streams = []
        for layer, given in enumerate(tokens):
            words, _ = choose_tokens(self._rates.rows(layer), given.shape, as_given(given))
            streams.append(words)
        return streams


class TokenDecoder:
    """Decodes and checks the tokens of the chunks of a file in order; needs no tokenizer.

    Chunks of a GOP depend on the ones before them: after an error go on at the start of a GOP.
    """

    def __init__(self, rates: RateModel, profile: Profile) -> None:
        self.rates, self.profile = rates, profile

    def decode(
        self, chunk: Chunk, shape: tuple[int, int, int], layers: int | None = None
    ) -> tuple[Tokens, ...]:
        """The tokens of the next chunk, int32 (T, h, w) = `shape` for each layer; at most `layers` of them.

        Raises `CorruptPayload`, `ChecksumMismatch`, and `NumericsMismatch` in profile exact, where an intact
        payload that does not decode means that the prior computed other numbers.
        """
        self.rates.begin_chunk(shape[0], gop_start=chunk.head.gop_start)
        kept = chunk.head.stages if layers is None else min(layers, chunk.head.stages)
        return tuple(self.decode_layer(chunk, shape, layer) for layer in range(kept))

    def decode_layer(self, chunk: Chunk, shape: tuple[int, int, int], layer: int) -> Tokens:
        """The tokens of a layer of the chunk that is open, once those before it are decoded."""
        head = chunk.head
        rows = self.rates.rows(layer)
        try:
            tokens = decode_tokens(rows, chunk.streams[layer], shape, offset=head.offset, chunk=head.number)
        except CorruptPayload as error:
            if self.profile == Profile.STATIC:
                raise
            raise NumericsMismatch(
                f"stage {layer} of chunk {head.number} does not decode although its payload is intact: "
                "the prior computed other numbers here than where the file was made"
            ) from error
        check_tokens(tokens, head, layer, self.profile)
        return tokens


class GopDecoder:
    """Turns the tokens of the chunks of a file, in order, into pictures of `size` (H, W)."""

    def __init__(self, tokenizer: Tokenizer, size: tuple[int, int]) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._reference: Reference = None

    def decode(self, tokens: Sequence[Tokens], count: int, *, gop_start: bool) -> Pictures:
        """The `count` new pictures of a chunk, uint8 [count, H, W, 3]."""
        reference = None if gop_start else self._reference
        pictures, self._reference = self._tokenizer.decode(tokens, count, self._size, reference)
        return pictures
