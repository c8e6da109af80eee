"""What the embeddings are linear in: small integers from the tokens that are known (spec section 21)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.prior.config import (
    AGES,
    KNOWN_BUCKETS,
    NEIGHBOURS,
    PER_STAGE,
    SLOTS,
    TOKEN_BITS,
    PriorConfig,
    common_features,
)


def signs(tokens: Tensor) -> Tensor:
    """Tokens int64 [...] in 0..2^18-1, or -1 where unknown, to float32 [..., 18]: -1, +1, or 0 if unknown."""
    bits = torch.arange(TOKEN_BITS, device=tokens.device)
    known = (tokens >= 0).unsqueeze(-1)
    return ((tokens.unsqueeze(-1) >> bits & 1) * 2 - 1).mul(known).to(torch.float32)


def stage_features(now: Tensor, before: Tensor, earlier: Tensor) -> Tensor:
    """The features of one stage, values -1, 0, 1, float32 [..., 92].

    From its signs in this frame and the two before, float32 [..., 18], 0 where unknown: now, before,
    earlier, before * earlier, now * before, then whether whole tokens agree: before = earlier, now = before.
    """
    still, same = before * earlier, now * before
    flags = torch.stack((_all_agree(still), _all_agree(same)), -1)
    return torch.cat((now, before, earlier, still, same, flags), -1)


def _all_agree(products: Tensor) -> Tensor:
    return (products.sum(-1) == TOKEN_BITS).to(torch.float32)


def pad_grid(lower: Tensor) -> Tensor:
    """A ring of zeros around [N, h, w, 18]: [N, h + 2, w + 2, 18]."""
    return F.pad(lower, (0, 0, 1, 1, 1, 1))


def neighbour_features(padded: Tensor) -> Tensor:
    """Signs of the stage below, [N, h + 2, w + 2, 18], to those around each inner token, [N, h, w, 144]."""
    h, w = padded.shape[1] - 2, padded.shape[2] - 2
    return torch.cat([padded[:, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w] for dy, dx in NEIGHBOURS], -1)


Part = tuple[int, Tensor]
"""Some features: the number of the first one, and values float32 [..., k]. All others are 0."""


def history_parts(
    config: PriorConfig, stage: int, now: Tensor | None, before: Tensor | None, earlier: Tensor | None
) -> list[Part]:
    """`stage_features` of a stage whose unknown frames are None, without those that are 0 for that reason."""
    column = common_features(config) + PER_STAGE * stage
    parts = [
        (column + number * TOKEN_BITS, values)
        for number, values in enumerate((now, before, earlier))
        if values is not None
    ]
    for number, (one, other) in enumerate(((before, earlier), (now, before))):
        if one is not None and other is not None:
            products = one * other
            parts.append((column + (3 + number) * TOKEN_BITS, products))
            parts.append((column + 5 * TOKEN_BITS + number, _all_agree(products).unsqueeze(-1)))
    return parts


def fresh_parts(config: PriorConfig, stage: int, now: Tensor, before: Tensor | None) -> list[Part]:
    """Those of `history_parts` that the tokens themselves bring in, once they are known."""
    column = common_features(config) + PER_STAGE * stage
    known = column + TOKEN_BITS  # `before` itself
    return [part for part in history_parts(config, stage, now, before, None) if part[0] != known]


def flag_features(config: PriorConfig, stage: int, age: int, begin: int | None) -> Tensor:
    """One-hot stage, age and eighths of a window that are known where a step begins at rank `begin`.

    float32 [stages + 3 + 8]; the eighths are 0 for context, whose `begin` is None.
    """
    flags = torch.zeros(config.stages + AGES + KNOWN_BUCKETS)
    flags[stage] = 1
    flags[config.stages + age] = 1
    if begin is not None:
        flags[config.stages + AGES + KNOWN_BUCKETS * begin // SLOTS] = 1
    return flags
