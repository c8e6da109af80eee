"""18-bit tokens and their two 9-bit subtokens (spec section 10).

Bit k of a token is the sign of latent channel k: 1 where the channel is above zero. Subtoken 0 holds bits
0..8, subtoken 1 bits 9..17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS
from lfqcodec.bitstream.limits import BITS_PER_TOKEN

SYMBOLS = 1 << SUBTOKEN_BITS
"""Values that a subtoken can take: 512."""

Subtokens = NDArray[np.int32]


def tokens_to_subtokens(tokens: NDArray[Any]) -> Subtokens:
    """Tokens, integers [...] in 0..2^18-1, to a flat int32 [2 * tokens.size].

    The subtokens of the token at raster position i are at 2i and 2i + 1. `ValueError` where out of range.
    """
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens must be integers, not {tokens.dtype}")
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < 1 << BITS_PER_TOKEN):
        raise ValueError(f"tokens must be in 0..2^{BITS_PER_TOKEN}-1")
    flat = tokens.astype(np.int32).reshape(-1)
    return np.stack((flat & (SYMBOLS - 1), flat >> SUBTOKEN_BITS), axis=-1).reshape(-1)


def subtokens_to_tokens(subtokens: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The inverse: flat subtokens [2 * n] in 0..511 to int32 tokens of `shape`, n in all."""
    pairs = subtokens.astype(np.int32).reshape(-1, SUBTOKENS)
    return (pairs[:, 0] | pairs[:, 1] << SUBTOKEN_BITS).reshape(shape)
