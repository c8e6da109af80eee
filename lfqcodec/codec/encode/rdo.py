"""Rate-distortion optimised quantization: the tokens that are worth their bits (docs/rate_control.md).

Layer by layer, subtoken by subtoken, while the prior's frequency rows are in view: of the 512 values s the
one that makes D(s) + lambda * bits(s) least. D is what the bits that differ from the plain quantization cost
in squared error of the decoded samples: each in proportion to what the tokenizer says that it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKEN_BITS
from lfqcodec.codec.gop import plain_choice
from lfqcodec.entropy import SYMBOLS, Batch, Chooser
from lfqcodec.tokenizer.interface import Options

_MOST_BITS = 1000.0


@dataclass(frozen=True)
class Rdo:
    """Chooses the tokens of a layer (`lfqcodec.codec.gop.ChooseLayer`).

    `bit_costs`, by layer: squared error over what the tokenizer calls a gain; None: it is in squared error.
    """

    bit_costs: Sequence[float] | None = None

    @torch.inference_mode()
    def __call__(self, options: Options, number: int, lambda_: float) -> Chooser:
        """What picks the subtokens of the layer."""
        if lambda_ == 0 or options.gains is None:
            return plain_choice(options, number, lambda_)
        cost = 1.0 if self.bit_costs is None else self.bit_costs[number]
        gains = options.gains * (cost / lambda_)
        return TernaryChoice(gains) if options.ternary else _Choice(gains)


class _Choice:
    """Picks the subtokens of a layer, batch by batch. `gains` float32 [n, 9] is in bits."""

    def __init__(self, gains: Tensor) -> None:
        self._gains = gains
        # A set bit saves half its gain and a clear one costs it, up to a constant: [9, 512].
        symbols = torch.arange(SYMBOLS, device=gains.device)
        bits = torch.arange(SUBTOKEN_BITS, device=gains.device)
        self._values = ((symbols[:, None] >> bits & 1).float() - 0.5).T.neg()

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> NDArray[np.int64]:
        positions = torch.from_numpy(np.asarray(batch.positions, np.int64)).to(self._gains.device)
        # Frequencies are at most 2^24: exact in float32.
        frequencies = torch.from_numpy(batch.weights.astype(np.float32)).add_(1)
        bits = PRECISION_BITS - frequencies.log2_().to(self._gains.device)
        return torch.addmm(bits, self._gains[positions], self._values).argmin(-1).cpu().numpy()


class TernaryChoice(_Choice):
    """As `_Choice`, for subtokens 0 and 1 of ternary tokens: a sign only where there is a value."""

    def __init__(self, gains: Tensor) -> None:
        # What cannot be chosen gains beyond measure; in a sum of floats it must leave room for the others.
        gains = gains.clamp(-_MOST_BITS, _MOST_BITS)
        # A value that is coded costs the bit of its sign besides.
        gains[::2] -= 1
        super().__init__(gains)
        self._significant = torch.zeros(len(gains) // 2, dtype=torch.int64, device=gains.device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> NDArray[np.int64]:
        if not len(batch.positions):
            return np.zeros(0, np.int64)
        positions = torch.from_numpy(np.asarray(batch.positions, np.int64)).to(self._gains.device)
        tokens, second = positions >> 1, positions & 1
        gains = self._gains[positions]
        if bool(second[0]):
            # Each sign by itself: rows hold no more than that.
            bits = torch.arange(SUBTOKEN_BITS, device=gains.device)
            wanted = ((gains > 0).long() << bits).sum(1)
            return (wanted & self._significant[tokens]).cpu().numpy()
        chosen = super().__call__(batch)
        self._significant[tokens] = torch.from_numpy(chosen).to(gains.device)
        return chosen
