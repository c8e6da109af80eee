"""The masked model of MAGVIT-v2 (appendix A.1): a transformer that fills in unknown subtokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.model.embedding import SubtokenEmbedding
from lfqcodec.generate.model.transformer import Stack, initialise, layer_norm, truncated_normal


class MaskedModel(nn.Module):
    """Logits of all subtokens, from those that are known and the class.

    Place 0 of the sequence holds the class, the others the positions of the grid in raster order (time, rows,
    columns). Class C, the number of classes, stands for none.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tokens = SubtokenEmbedding(width, config.embedding)
        self.classes = nn.Parameter(torch.empty(config.classes + 1, width))
        self.places = nn.Parameter(torch.empty(config.positions + 1, width))
        self.norm = layer_norm(width, config.norm)
        self.drop = nn.Dropout(config.dropout)
        self.stack = Stack(config)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), layer_norm(width, config.norm))
        initialise(self)
        for each in (self.classes, self.places):
            truncated_normal(each)

    def forward(self, subtokens: Tensor, labels: Tensor) -> Tensor:
        """int64 [B, N, 2] in [0, 512] (512: unknown) and [B] in [0, C] -> float [B, N, 2, 512]."""
        x = torch.cat((self.classes[labels][:, None], self.tokens(subtokens)), 1) + self.places
        hidden = self.stack(self.drop(self.norm(x)))
        return self.tokens.logits(self.head(hidden[:, 1:]))
