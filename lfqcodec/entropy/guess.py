"""Tokens that were lost, as far as a model is sure of them: concealment, and no part of the format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKENS
from lfqcodec.entropy.coder import drive
from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.entropy.subtokens import subtokens_to_tokens

UNKNOWN = -1
"""In the place of a token that nobody knows."""


def guess_tokens(source: RowSource, shape: tuple[int, int, int], most_bits: float) -> NDArray[np.int32]:
    """Unmask the tokens of a stage that is lost, int32 of `shape` (T, h, w).

    In the order of coding, every token gets the value that `source` holds to be the most likely, and goes on
    as if it had been decoded. Where the entropy of a token's rows is over `most_bits`, `UNKNOWN` comes out.
    """
    entropy = np.zeros(SUBTOKENS * int(np.prod(shape)))

    def most_likely(batch: Batch) -> NDArray[np.int32]:
        share = np.atleast_2d(batch.weights) + 1
        share = share / share.sum(-1, keepdims=True)
        entropy[batch.positions] = -(share * np.log2(share)).sum(-1)
        return np.broadcast_to(share.argmax(-1).astype(np.int32), batch.positions.shape)

    tokens = subtokens_to_tokens(drive(source, len(entropy), most_likely), shape)
    sure = entropy.reshape(-1, SUBTOKENS).sum(-1).reshape(shape) <= most_bits
    return np.where(sure, tokens, np.int32(UNKNOWN))
