"""Rate-distortion optimised quantization: the tokens that are worth their bits (docs/rate_control.md).

Layer by layer, subtoken by subtoken, while the prior's frequency rows are in view: of the 512 values s the
one that makes D(s) + lambda * bits(s) least. D is what the bits that differ from the plain quantization cost
in squared error of the decoded samples: each in proportion to what the tokenizer says that it gains.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import PRECISION_BITS, SUBTOKEN_BITS
from lfqcodec.codec.gop import plain_choice
from lfqcodec.entropy import SYMBOLS, Batch, Chooser
from lfqcodec.tokenizer.interface import Options

_MOST_BITS = 1000.0


@torch.inference_mode()
def choose_tokens(options: Options, lambda_: float) -> Chooser:
    """What picks the subtokens of a layer (`lfqcodec.codec.gop.ChooseLayer`)."""
    if lambda_ == 0 or options.gains is None:
        return plain_choice(options, lambda_)
    return TernaryChoice(options.gains / lambda_)


class TernaryChoice:
    """Picks the subtokens of a layer, batch by batch: a sign only where there is a value.

    `gains` float32 [2 n, 9] is in bits.
    """

    def __init__(self, gains: Tensor) -> None:
        # What cannot be chosen gains beyond measure; in a sum of floats it must leave room for the others.
        self._gains = gains.clamp(-_MOST_BITS, _MOST_BITS)
        # A value that is coded costs the bit of its sign besides.
        self._gains[::2] -= 1
        self._bits = torch.arange(SUBTOKEN_BITS, device=gains.device)
        # A set bit saves half its gain and a clear one costs it, up to a constant: [9, 512].
        symbols = torch.arange(SYMBOLS, device=gains.device)
        self._values = ((symbols[:, None] >> self._bits & 1).float() - 0.5).T.neg()
        self._significant = torch.zeros(len(gains) // 2, dtype=torch.int64, device=gains.device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> NDArray[np.int64]:
        """The values of the subtokens of a batch, which are all subtokens 0 or all subtokens 1."""
        if not len(batch.positions):
            return np.zeros(0, np.int64)
        positions = torch.from_numpy(np.asarray(batch.positions, np.int64)).to(self._gains.device)
        tokens, second = positions >> 1, positions & 1
        gains = self._gains[positions]
        if bool(second[0]):
            # Each sign by itself: rows hold no more than that.
            wanted = ((gains > 0).long() << self._bits).sum(1)
            return (wanted & self._significant[tokens]).cpu().numpy()
        # Frequencies are at most 2^24: exact in float32.
        frequencies = torch.from_numpy(batch.weights.astype(np.float32)).add_(1)
        bits = PRECISION_BITS - frequencies.log2_().to(self._gains.device)
        chosen = torch.addmm(bits, gains, self._values).argmin(-1)
        self._significant[tokens] = chosen
        return chosen.cpu().numpy()
