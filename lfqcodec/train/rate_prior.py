"""The prior itself as the estimate of the rate in the tokenizer's loss (D + lambda R), trained along with it.

It starts from a trained prior, so that its gradient says from the first step what the files will pay for a
sign, and it follows the tokens as they change. A step looks at the tokens of one stage.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.errors import LfqError
from lfqcodec.prior.config import LOGIT_BITS, PriorConfig
from lfqcodec.prior.weights import PriorWeights, load_prior
from lfqcodec.tokenizer.lfq.binary import Quantized, pack_signs
from lfqcodec.train.checkpoint import copy_into, load_checkpoint
from lfqcodec.train.prior_net import PriorNet, begin_gop
from lfqcodec.weights.store import resolve_prior

_MOST_BITS = 8.0
"""What a sign is thought to cost at most: rare tokens must not drown the others."""


class PriorRate(nn.Module):
    """A prior, and what the signs of a tokenizer's clips cost by it."""

    def __init__(self, weights: PriorWeights) -> None:
        super().__init__()
        self.net = PriorNet(weights.config)
        self.net.load_integers(weights)

    def forward(self, quantized: Quantized, clips: int, stage: int) -> tuple[Tensor, Tensor]:
        """Mean bits of a token of `stage` in every latent frame, twice, float32 [clips, T'].

        Both have the same value. Gradients of the first reach the signs, those of the second the prior. A
        sign counts as if its cost were linear between its two values, all others as they are; what it does
        to tokens that are coded after it is left out.
        """
        frames = quantized.signs.shape[1] // clips
        with torch.autocast(quantized.signs.device.type, enabled=False):
            tokens = tokens_of(quantized.signs.detach(), clips)
            start = torch.zeros(clips, dtype=torch.int64, device=tokens.device)
            pair = self.net(tokens, start, stage)
            target = tokens[:, stage, 2:].flatten(2)
            bits, savings = [], []
            for logits, symbol in zip(pair, (target % SYMBOLS, target // SYMBOLS), strict=True):
                costs = torch.log_softmax(logits / (1 << LOGIT_BITS), -1) / -math.log(2)
                bits.append(costs.gather(-1, symbol.unsqueeze(-1)).squeeze(-1))
                flips = symbol.unsqueeze(-1) ^ (1 << torch.arange(SUBTOKEN_BITS, device=symbol.device))
                savings.append(bits[-1].detach().unsqueeze(-1) - costs.detach().gather(-1, flips))
            total = bits[0] + bits[1]
            # From [clips, T', h * w, bits] to the layout of the signs.
            saving = torch.cat(savings, -1).clamp(-_MOST_BITS, _MOST_BITS).flatten(0, 1).mT
            signs = quantized.signs[stage].float().flatten(2)
            change = ((1 - signs * signs.detach()) / 2 * -saving).sum(1).view_as(total)
        by_frame = (total.detach() + change).mean(2), total.mean(2)
        assert by_frame[0].shape == (clips, frames)
        return by_frame


def tokens_of(signs: Tensor, clips: int) -> Tensor:
    """Signs float [stages, clips * T', bits, h, w] to what `PriorNet` takes of clips that start a GOP.

    int64 [clips, stages, 2 + T', h, w]: the two latent frames before are unknown, -1.
    """
    tokens = pack_signs(signs > 0)
    return begin_gop(tokens.view(len(tokens), clips, -1, *tokens.shape[2:]).transpose(0, 1))


def prior_from(wanted: str | os.PathLike[str]) -> PriorWeights:
    """A prior to start from, by name or file, or of a tokenizer's run that trained one along.

    Raises `LfqError`.
    """
    path = Path(wanted)
    return _prior_of_run(path) if path.is_dir() else load_prior(resolve_prior(wanted).path)


def _prior_of_run(run: Path) -> PriorWeights:
    loaded = load_checkpoint(run / "checkpoint.safetensors")
    if "rate_prior" not in loaded.progress:
        raise LfqError(f"{run}: the run trained no prior along")
    net = PriorNet(PriorConfig.from_json(loaded.progress["rate_prior"]))
    prefix = "net."
    tensors = {name.removeprefix(prefix): each for name, each in loaded.groups["rate"].items()}
    copy_into(net.state_dict(), tensors, "the checkpoint")
    return net.export()
