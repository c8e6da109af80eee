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
from lfqcodec.codec.gop import OperatingPoint, plain_choice
from lfqcodec.entropy import SYMBOLS, Batch, Chooser
from lfqcodec.tokenizer.interface import Options


@dataclass(frozen=True)
class Rdo:
    """Chooses the tokens of a layer (`lfqcodec.codec.gop.ChooseLayer`).

    `bit_costs`, by layer: squared error of a wrong bit over the gain that the tokenizer gives it.
    """

    bit_costs: Sequence[float]

    @torch.inference_mode()
    def __call__(self, options: Options, number: int, point: OperatingPoint) -> Chooser:
        """What picks the subtokens of the layer, at that point."""
        if point.lambda_ == 0 or options.gains is None:
            return plain_choice(options, number, point)
        return _Choice(options.gains * (self.bit_costs[number] / point.lambda_))


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
