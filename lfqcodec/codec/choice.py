"""Rate-distortion optimised quantization: the tokens that are worth their bits (docs/rate_control.md).

Stage by stage, subtoken by subtoken, while the prior's frequency rows are in view: of the 512 values s the
one that makes D(s) + lambda * bits(s) least. D is what the bits that differ from the plain quantization cost
in squared error of the decoded samples: each in proportion to the magnitude of the number whose sign it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKEN_BITS
from lfqcodec.entropy import SYMBOLS, Batch, Chooser, tokens_to_subtokens
from lfqcodec.tokenizer.lfq.binary import ResidualLFQ

FlipCosts = Sequence[float]
"""By stage: squared error of a flipped sign over the magnitude of its number."""


class WorthyTokens:
    """A source of tokens (`lfqcodec.codec.payload.TokenSource`) for a chunk's latents.

    `latents` float32 [D, T, h, w]. `lambdas`, one per stage: the squared error, in 8-bit units summed over
    all samples, that a bit is worth; 0 takes the tokens as they are.
    """

    def __init__(
        self,
        quantizer: ResidualLFQ,
        costs: FlipCosts,
        latents: Tensor,
        lambdas: Sequence[float],
    ) -> None:
        self.stages = len(lambdas)
        self.shape = (latents.shape[1], latents.shape[2], latents.shape[3])
        self._quantizer, self._costs, self._lambdas = quantizer, costs, lambdas
        self._residual = latents.transpose(0, 1).contiguous(memory_format=torch.channels_last)  # [T, D, h, w]

    @torch.inference_mode()
    def chooser(self, stage: int) -> Chooser:
        """What picks the subtokens of a stage."""
        weight = self._lambdas[stage]
        scores = self._quantizer.scores(self._residual, stage)  # [T, 18, h, w]
        if weight > 0:
            pull = scores.movedim(1, -1).reshape(-1, SUBTOKEN_BITS)
            return _Worth(pull * (self._costs[stage] / weight))
        plain = tokens_to_subtokens(self._quantizer.signs_to_tokens(scores > 0).cpu().numpy())
        return lambda batch: plain[batch.positions]

    @torch.inference_mode()
    def chosen(self, stage: int, tokens: NDArray[np.int32]) -> None:
        """Take the decoded stage off what is left."""
        if stage + 1 < self.stages:
            picked = torch.from_numpy(tokens.astype(np.int64)).to(self._residual.device)
            self._residual = self._residual - self._quantizer.part(picked, stage)


def pull_values(device: torch.device) -> Tensor:
    """What turns pulls [n, 9] into what each symbol costs by them, up to a constant: float32 [9, 512].

    A sign s that differs from that of a pull p costs |p|: (|p| - s p) / 2, of which -s p / 2 counts.
    """
    symbols = torch.arange(SYMBOLS, device=device)
    bits = torch.arange(SUBTOKEN_BITS, device=device)
    return ((symbols[:, None] >> bits & 1).float() - 0.5).T.neg()


class _Worth:
    """Picks the subtokens of a stage, batch by batch.

    `pull` float32 [n, 9]: what the wrong sign costs, in bits, itself with the right sign.
    """

    def __init__(self, pull: Tensor) -> None:
        self._pull = pull
        self._values = pull_values(pull.device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> NDArray[np.int64]:
        positions = torch.from_numpy(np.asarray(batch.positions, np.int64)).to(self._pull.device)
        # Frequencies are at most 2^24: exact in float32.
        frequencies = torch.from_numpy(batch.weights.astype(np.float32)).add_(1)
        bits = PRECISION_BITS - frequencies.log2_().to(self._pull.device)
        return torch.addmm(bits, self._pull[positions], self._values).argmin(-1).cpu().numpy()
