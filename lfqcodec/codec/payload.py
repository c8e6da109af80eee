"""Tokens of chunks to payload and back, by the profile of the file. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, Profile, check_tokens, token_crc
from lfqcodec.entropy import (
    UNKNOWN,
    Chooser,
    RowSource,
    StaticModel,
    Words,
    choose_tokens,
    decode_tokens,
    guess_tokens,
    tokens_to_subtokens,
)
from lfqcodec.errors import BitstreamError, CorruptPayload, InvalidField, NumericsMismatch

if TYPE_CHECKING:
    from lfqcodec.prior.exact import ExactNetwork
    from lfqcodec.prior.rows import GopCoder


SURE_BITS = 6.0
"""A lost token is guessed where the prior's entropy is not over this; measured in docs/damage.md."""


@dataclass(frozen=True)
class Payload:
    """What entropy coding makes of a chunk.

    `tokens` int32 [stages, T, h, w]; the rANS words of each stage; the checksums of its tokens.
    """

    tokens: NDArray[np.int32]
    streams: list[Words]
    token_crcs: list[int]

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(stream.nbytes for stream in self.streams)


class TokenSource(Protocol):
    """Where an encoder takes the tokens of a chunk from, stage by stage."""

    stages: int
    shape: tuple[int, int, int]
    """(T, h, w)."""

    def chooser(self, stage: int) -> Chooser:
        """What picks the subtokens of a stage; asked for once the stage before is complete."""

    def chosen(self, stage: int, tokens: NDArray[np.int32]) -> None:
        """The tokens [T, h, w] of a stage have been picked."""


class GivenTokens:
    """Tokens that are coded as they are, int32 [stages, T, h, w] in [0, 2^18)."""

    def __init__(self, tokens: NDArray[np.int32]) -> None:
        self.tokens = tokens
        self.stages = len(tokens)
        self.shape = (tokens.shape[1], tokens.shape[2], tokens.shape[3])

    def chooser(self, stage: int) -> Chooser:
        """Gives back the tokens of the stage."""
        subtokens = tokens_to_subtokens(self.tokens[stage])
        return lambda batch: subtokens[batch.positions]

    def chosen(self, stage: int, tokens: NDArray[np.int32]) -> None:
        """Nothing depends on it."""


class TokenCoder:
    """Codes the chunks of one file in order, in one direction.

    `network` gives the prior, which is asked for at the first chunk; None stands for profile static. `stages`
    is the most that a chunk has. Chunks of a GOP depend on the ones before them: after an error go on at the
    start of a GOP.
    """

    def __init__(self, network: Callable[[], ExactNetwork] | None, stages: int) -> None:
        self._network, self._stages = network, stages
        self._prior: GopCoder | None = None

    def _begin(self, shape: tuple[int, int, int], *, gop_start: bool) -> Callable[[int], RowSource]:
        """Go on to the next chunk. Gives the row sources of its stages, to be used in their order."""
        if self._network is None:
            tokens = int(np.prod(shape))
            return lambda stage: StaticModel().rows(tokens)
        frames, h, w = shape
        if self._prior is None:
            from lfqcodec.prior.rows import GopCoder

            network = self._network()
            if network.config.stages < self._stages:
                raise InvalidField(
                    f"the file has up to {self._stages} stages, its prior {network.config.stages}"
                )
            self._prior = GopCoder(network, h, w)
        self._prior.begin_chunk(frames, gop_start=gop_start)
        return self._prior.rows

    def encode(self, source: TokenSource, *, gop_start: bool) -> Payload:
        """Code the next chunk."""
        rows = self._begin(source.shape, gop_start=gop_start)
        coded, streams = [], []
        for stage in range(source.stages):
            words, tokens = choose_tokens(rows(stage), source.shape, source.chooser(stage))
            source.chosen(stage, tokens)
            coded.append(tokens)
            streams.append(words)
        return Payload(np.stack(coded), streams, [token_crc(tokens) for tokens in coded])

    def decode(
        self, chunk: Chunk, shape: tuple[int, int, int], stages: int | None = None
    ) -> NDArray[np.int32]:
        """Decode and check the tokens of the next chunk, int32 [stages, T, h, w]; at most `stages` of them.

        `shape` is (T, h, w). Raises `CorruptPayload`, `ChecksumMismatch`, and `NumericsMismatch` in profile
        exact, where an intact payload that does not decode means that the prior computed other numbers.
        """
        head = chunk.head
        kept = head.stages if stages is None else min(stages, head.stages)
        rows = self._begin(shape, gop_start=head.gop_start)
        return np.stack([self._stage(rows, chunk, shape, stage) for stage in range(kept)])

    def _stage(
        self, rows: Callable[[int], RowSource], chunk: Chunk, shape: tuple[int, int, int], stage: int
    ) -> NDArray[np.int32]:
        head, profile = chunk.head, Profile.STATIC if self._network is None else Profile.EXACT
        try:
            tokens = decode_tokens(
                rows(stage), chunk.streams[stage], shape, offset=head.offset, chunk=head.number
            )
        except CorruptPayload as error:
            if profile == Profile.STATIC:
                raise
            raise NumericsMismatch(
                f"stage {stage} of chunk {head.number} does not decode although its payload is intact: "
                "the prior computed other numbers here than where the file was made"
            ) from error
        check_tokens(tokens, head, stage, profile)
        return tokens

    def rescue(
        self,
        chunk: Chunk,
        shape: tuple[int, int, int],
        stages: int | None,
        *,
        trusted: int | None,
        damaged: bool,
    ) -> tuple[NDArray[np.int32], int]:
        """As `decode`, for the rest of a GOP in which a payload is damaged: also how many stages are right.

        A `damaged` chunk is right up to the first stage that does not decode to the checksum of its tokens.
        In profile exact no stage can be decoded that was not `trusted` in the chunks before (None for all).
        In place of stages that are lost come the tokens that the prior is sure of (`SURE_BITS`), `UNKNOWN`
        where it is not; nothing of it matters to the stages below. With no stage right, the tokens mean
        nothing, and the GOP cannot be gone on with.
        """
        wanted = chunk.head.stages if stages is None else min(stages, chunk.head.stages)
        rows = self._begin(shape, gop_start=chunk.head.gop_start)
        most = wanted if trusted is None or self._network is None else min(trusted, wanted)
        out = np.full((wanted, *shape), UNKNOWN, np.int32)
        right = 0
        while right < most:
            before = self.snapshot()
            try:
                out[right] = self._stage(rows, chunk, shape, right)
            except (BitstreamError, NumericsMismatch):
                if not damaged:
                    raise
                self.restore(before)
                break
            right += 1
        if right and self._network is not None:
            for stage in range(right, wanted):
                out[stage] = guess_tokens(rows(stage), shape, SURE_BITS)
        return out, right

    def snapshot(self) -> Any:
        """The state between two chunks, for `restore`."""
        return None if self._prior is None else self._prior.snapshot()

    def restore(self, state: Any) -> None:
        """Go back to where `snapshot` was called."""
        if self._prior is not None:
            if state is None:
                self._prior = None
            else:
                self._prior.restore(state)
