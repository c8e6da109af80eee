"""The autoregressive model of MAGVIT-v2 (Table 8): token after token, without factorization or tying."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfqcodec.bitstream.limits import BITS_PER_TOKEN
from lfqcodec.errors import WeightsError
from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.model.transformer import Cache, Stack, initialise


class CausalModel(nn.Module):
    """What follows a class and the tokens so far, in raster order (time, rows, columns).

    `words` are the tokens that it knows, by number; the rows of the embedding behind them are the classes, or
    one that stands for none. The output is a matrix of its own.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        words, width = config.words, config.width
        self.rows = nn.Parameter(torch.empty(words + max(1, config.classes), width))
        self.places = nn.Parameter(torch.empty(config.positions, width))
        self.drop = nn.Dropout(config.dropout)
        self.stack = Stack(config)
        self.out = nn.Linear(width, words)
        initialise(self)
        for weight, deviation in (
            (self.rows, width**-0.5),
            (self.out.weight, width**-0.5),
            (self.places, 0.02),
        ):
            nn.init.normal_(weight, std=deviation)
        known = None if words == 1 << BITS_PER_TOKEN else torch.arange(words, dtype=torch.int32)
        self.words: Tensor | None
        self.register_buffer("words", known)

    def know(self, words: Tensor) -> None:
        """Take the tokens of the vocabulary, integers [W], strictly ascending. Raises `WeightsError`."""
        if self.words is None:
            return
        ascending = bool((words[1:] > words[:-1]).all())
        if (
            words.shape != self.words.shape
            or not ascending
            or not 0 <= int(words[0]) <= int(words[-1]) < 1 << 18
        ):
            raise WeightsError(
                "the vocabulary must be ascending tokens of 18 bits, as many as there are words"
            )
        self.words.copy_(words)

    def numbers(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [...] to their numbers in the vocabulary; -1 where it lacks them."""
        if self.words is None:
            return tokens
        words = self.words.long()
        found = torch.searchsorted(words, tokens).clamp(max=len(words) - 1)
        return torch.where(words[found] == tokens, found, -1)

    def tokens(self, numbers: Tensor) -> Tensor:
        """The inverse: int64 [...] to int64 [...]."""
        return numbers if self.words is None else self.words.long()[numbers]

    def hidden(self, numbers: Tensor, labels: Tensor) -> Tensor:
        """What the output is made of: numbers int64 [B, n], n < N, and labels [B] -> float [B, n + 1, D].

        Place j knows the class and the first j tokens.
        """
        x = torch.cat((self._label(labels)[:, None], self.rows[numbers]), 1)
        return self.stack(self.drop(x + self.places[: x.shape[1]]))  # type: ignore[no-any-return]

    def forward(self, numbers: Tensor, labels: Tensor) -> Tensor:
        """Logits of the next token at each place: float [B, n + 1, W]."""
        return self.out(self.hidden(numbers, labels))  # type: ignore[no-any-return]

    def caches(self, batch: int) -> list[Cache]:
        """Empty caches for `following`, one a block."""
        return [Cache(self.rows, batch, self.config) for _ in self.stack.blocks]

    def following(self, last: Tensor, place: int, caches: list[Cache], *, first: bool) -> Tensor:
        """Logits float [B, W] at `place`, with what `caches` hold of the places before.

        `last` int64 [B] are the labels at the `first` place, else the numbers of the tokens before it.
        """
        x = self._label(last) if first else self.rows[last]
        hidden = self.stack((x + self.places[place])[:, None], caches)
        return self.out(hidden[:, 0])  # type: ignore[no-any-return]

    def _label(self, labels: Tensor) -> Tensor:
        return self.rows[self.config.words + labels]
