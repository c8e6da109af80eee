"""The transformer of generators: BERT's blocks, or those that normalise before each sublayer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.generate.config import GeneratorConfig

_EPS = {"post": 1e-12, "pre": 1e-6}


def layer_norm(width: int, norm: str) -> nn.LayerNorm:
    """LayerNorm with the epsilon of the kind of block."""
    return nn.LayerNorm(width, eps=_EPS[norm])


class Attention(nn.Module):
    """Self-attention of all places, with biases and dropout on its weights."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, S, D] -> [B, S, D]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a perceptron of two layers, each added to what goes in; places of LayerNorm by `norm`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.width
        self.post = config.norm == "post"
        self.attention = Attention(width, config.heads, config.attention_dropout)
        self.mlp = nn.Sequential(nn.Linear(width, config.mlp), nn.GELU(), nn.Linear(config.mlp, width))
        self.norm1, self.norm2 = layer_norm(width, config.norm), layer_norm(width, config.norm)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, S, D] -> [B, S, D]."""
        if self.post:
            x = self.norm1(x + self.drop(self.attention(x)))
            return self.norm2(x + self.drop(self.mlp(x)))  # type: ignore[no-any-return]
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class Stack(nn.Module):
    """`layers` blocks; with "pre" a last LayerNorm."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.last = layer_norm(config.width, config.norm) if config.norm == "pre" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """float [B, S, D] -> [B, S, D]."""
        for block in self.blocks:
            x = block(x)
        return self.last(x)  # type: ignore[no-any-return]


def initialise(module: nn.Module) -> None:
    """Start of BERT: weights of linear layers from a normal of 0.02 cut at two sigma, biases 0."""
    for each in module.modules():
        if isinstance(each, nn.Linear):
            truncated_normal(each.weight)
            nn.init.zeros_(each.bias)


def truncated_normal(weight: Tensor) -> None:
    """Fill with normal numbers of deviation 0.02, cut at two sigma."""
    with torch.no_grad():
        nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)
