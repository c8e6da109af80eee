"""Tokens of a chunk to payload and back, by the profile of the file. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, FileHeader, Profile, check_tokens, token_crc
from lfqcodec.entropy import RowSource, StaticModel, Words, decode_tokens, encode_tokens
from lfqcodec.errors import UnsupportedVersion


@dataclass(frozen=True)
class Payload:
    """What entropy coding makes of a chunk: the rANS words of each stage and the checksums of its tokens."""

    streams: list[Words]
    token_crcs: list[int]


def _rows(profile: Profile, tokens: int) -> RowSource:
    if profile != Profile.STATIC:
        raise UnsupportedVersion(f"profile {profile.name.lower()} needs a newer lfqcodec")
    return StaticModel().rows(tokens)


def encode_payload(tokens: NDArray[np.int32], profile: Profile) -> Payload:
    """Code the tokens of a chunk, int32 [stages, T, h, w] in [0, 2^18)."""
    return Payload(
        [encode_tokens(_rows(profile, stage.size), stage) for stage in tokens],
        [token_crc(stage) for stage in tokens],
    )


def decode_payload(chunk: Chunk, header: FileHeader, stages: int | None = None) -> NDArray[np.int32]:
    """Decode and check the tokens of a chunk, int32 [stages, T, h, w]; at most `stages` of them.

    Raises `CorruptPayload`, `ChecksumMismatch`, `NumericsMismatch`, `UnsupportedVersion`.
    """
    head = chunk.head
    shape = head.shape(header)
    kept = head.stages if stages is None else min(stages, head.stages)
    out = np.empty((kept, *shape), np.int32)
    for stage in range(kept):
        source = _rows(header.profile, int(np.prod(shape)))
        out[stage] = decode_tokens(source, chunk.streams[stage], shape, offset=head.offset, chunk=head.number)
        check_tokens(out[stage], head, stage, header.profile)
    return out
