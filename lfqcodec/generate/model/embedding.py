"""Tokens as two subtokens of 9 bits (MAGVIT-v2 section 3.2), their embeddings, and logits tied to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS
from lfqcodec.generate.model.transformer import truncated_normal

VALUES = 1 << SUBTOKEN_BITS
"""Values of a subtoken: 512."""
MASK = VALUES
"""What stands for an unknown subtoken."""


def split(tokens: Tensor) -> Tensor:
    """Tokens int64 [...] in [0, 2^18) to subtokens [..., 2] in [0, 512): bits 0 to 8, bits 9 to 17."""
    return torch.stack((tokens & (VALUES - 1), tokens >> SUBTOKEN_BITS), -1)


def join(subtokens: Tensor) -> Tensor:
    """The inverse: int64 [..., 2] in [0, 512) to tokens [...]."""
    return subtokens[..., 0] | subtokens[..., 1] << SUBTOKEN_BITS


class SubtokenEmbedding(nn.Module):
    """Vectors of the subtokens, which serve as weights of the last layer, too.

    `kind` "table": a row for each value, and one for the mask (the paper's). "bits" adds to the row of a
    value, which starts at 0, a vector for each of its bits, plus or minus (ours): values that share bits
    share what is learned.
    """

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(SUBTOKENS, VALUES + 1, width))
        truncated_normal(self.table)
        self.bits: nn.Parameter | None = None
        if kind == "bits":
            self.bits = nn.Parameter(torch.empty(SUBTOKENS, SUBTOKEN_BITS, width))
            nn.init.normal_(self.bits, std=0.02)
            with torch.no_grad():
                self.table[:, :MASK] = 0
        self.bias = nn.Parameter(torch.zeros(SUBTOKENS, VALUES))

    def rows(self) -> Tensor:
        """Vectors of all values, that of the mask last: float [2, 513, D]."""
        if self.bits is None:
            return self.table
        values, places = (torch.arange(n, device=self.bits.device) for n in (VALUES, SUBTOKEN_BITS))
        signs = (2 * (values[:, None] >> places & 1) - 1).to(self.bits.dtype)
        shared = signs @ self.bits
        rows: Tensor = torch.cat((self.table[:, :MASK] + shared, self.table[:, MASK:]), 1)
        return rows

    def forward(self, subtokens: Tensor) -> Tensor:
        """int64 [..., 2] in [0, 512] -> the sum of both vectors, float [..., D]."""
        low, high = self.rows()
        vectors: Tensor = low[subtokens[..., 0]] + high[subtokens[..., 1]]
        return vectors

    def logits(self, z: Tensor) -> Tensor:
        """float [..., D] -> logits of the values of both subtokens, [..., 2, 512]; the mask is none."""
        rows = self.rows()[:, :MASK]
        return torch.einsum("...d,kvd->...kv", z, rows.to(z.dtype)) + self.bias
