"""Tokens that are worth their bits, while the tokenizer is trained: the decoder then sees what files hold.

`encode` does not take the plain tokens at most rates (`lfqcodec.codec.choice`): the higher lambda, the more
of them are those that the prior expects. Here the same choice is made for the crops of a step, all tokens of
a stage at once instead of one after the other: each sees the others as they were in the round before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.codec.choice import pull_values
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.errors import LfqError
from lfqcodec.prior.config import LOGIT_BITS
from lfqcodec.tokenizer.lfq.binary import pack_signs, unpack_signs
from lfqcodec.train.prior_net import PriorNet, begin_gop


@dataclass(frozen=True)
class ChoiceConfig:
    """Which clips have their tokens chosen, and how eagerly bits are saved.

    A clip in `share` that keeps k stages has a lambda between `lambdas[k]` and `lambdas[k - 1]`, any of their
    powers with the same chance; the last number holds for all after it. Lambda is a bit's worth in squared
    error, and `flip_costs` that of a flipped sign over the magnitude of its number, by stage, as in a table
    of rates (docs/rate_control.md): the defaults are those of `base-2`. A choice is made in `rounds`.
    """

    share: float = 0.0
    lambdas: tuple[float, ...] = (16000.0, 4400.0, 1030.0, 355.0, 20.0)
    flip_costs: tuple[float, ...] = (100e3, 25e3, 5.8e3, 2.4e3)
    rounds: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise LfqError("choice.share must lie between 0 and 1")
        if not all(0 < each < math.inf for each in (*self.lambdas, *self.flip_costs)) or self.rounds < 1:
            raise LfqError("choice.lambdas, flip_costs and rounds must be positive")

    def range_for(self, kept: int) -> tuple[float, float]:
        """Smallest and largest lambda of clips that keep `kept` stages."""
        last = len(self.lambdas) - 1
        return self.lambdas[min(kept, last)], self.lambdas[min(kept - 1, last)]

    def middle(self, kept: int) -> float:
        """The lambda in the middle of that range."""
        return math.prod(self.range_for(kept)) ** 0.5

    def flip_cost(self, stage: int) -> float:
        """That of a stage, from 0."""
        return self.flip_costs[min(stage, len(self.flip_costs) - 1)]

    def draw(self, kept: Tensor, generator: torch.Generator) -> Tensor:
        """Lambdas of clips that keep `kept` stages, int64 [B] -> float32 [B]; 0 keeps the plain tokens."""
        low, high = torch.tensor([self.range_for(stages) for stages in kept.tolist()]).log().T
        drawn = (low + torch.rand(len(kept), generator=generator) * (high - low)).exp()
        lambdas: Tensor = drawn * (torch.rand(len(kept), generator=generator) < self.share)
        return lambdas


class TokenChoice:
    """Chooses the tokens of a batch of clips that start a GOP: a `lfqcodec.tokenizer.lfq.binary.Choose`.

    `lambdas` float32 [B] and `kept` int64 [B]: the tokens of stages that a clip does not keep stay plain.
    """

    def __init__(self, prior: PriorNet, config: ChoiceConfig, lambdas: Tensor, kept: Tensor) -> None:
        self._prior, self._config, self._lambdas, self._kept = prior, config, lambdas, kept
        self._stages: list[Tensor] = []
        self._values = pull_values(lambdas.device)

    @torch.no_grad()
    def __call__(self, stage: int, scores: Tensor) -> Tensor:
        """Signs, float32 like `scores` [B * T', 18, h, w]. Stages come in their order."""
        clips = len(self._kept)
        tokens = pack_signs(scores > 0).view(clips, -1, *scores.shape[2:])  # [B, T', h, w]
        picked = ((self._lambdas > 0) & (self._kept > stage)).nonzero().squeeze(1)
        if len(picked):
            pull = scores.float().reshape(clips, -1, *scores.shape[1:])[picked].flatten(3).transpose(2, 3)
            pull = pull * (self._config.flip_cost(stage) / self._lambdas[picked]).view(-1, 1, 1, 1)
            tokens[picked] = self._choose(stage, tokens[picked], picked, pull)
        self._stages.append(tokens)
        return unpack_signs(tokens.flatten(0, 1), scores.shape[1])

    def _choose(self, stage: int, tokens: Tensor, picked: Tensor, pull: Tensor) -> Tensor:
        """Tokens [b, T', h, w] of the clips `picked`; `pull` [b, T', h * w, 18] in bits."""
        start = torch.zeros(len(picked), dtype=torch.int64, device=tokens.device)
        for _ in range(self._config.rounds):
            known = begin_gop(torch.stack([*(below[picked] for below in self._stages), tokens], 1))
            with torch.autocast(tokens.device.type, enabled=False):
                pair = self._prior(known, start, stage)
            first = self._cheapest(pair[0], pull[..., :SUBTOKEN_BITS])
            second = self._cheapest(pair[1], pull[..., SUBTOKEN_BITS:])
            tokens = (first + SYMBOLS * second).view_as(tokens)
        return tokens

    def _cheapest(self, logits: Tensor, pull: Tensor) -> Tensor:
        bits = torch.log_softmax(logits / (1 << LOGIT_BITS), -1) / -math.log(2)
        return (bits + pull @ self._values).argmin(-1)
