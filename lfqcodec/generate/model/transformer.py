"""The transformer of generators: BERT's blocks, or those that normalise before each sublayer.

That of an autoregressive model sees only what came before, and has no biases in its attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lfqcodec.generate.model.config import GeneratorConfig

_EPS = {"post": 1e-12, "pre": 1e-6}


def layer_norm(width: int, norm: str) -> nn.LayerNorm:
    """LayerNorm with the epsilon of the kind of block."""
    return nn.LayerNorm(width, eps=_EPS[norm])


class Cache:
    """Keys and values of the places so far, float [B, H, most, D/H] each, for one layer of attention."""

    def __init__(self, like: Tensor, batch: int, config: GeneratorConfig) -> None:
        """Room for all positions, of the type and on the device of `like`."""
        shape = (2, batch, config.heads, config.positions, config.width // config.heads)
        self._both = like.new_empty(shape)
        self._length = 0

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of one more place, [B, H, 1, D/H]; gives all, [B, H, n, D/H]."""
        self._both[0, :, :, self._length] = k[:, :, 0]
        self._both[1, :, :, self._length] = v[:, :, 0]
        self._length += 1
        return self._both[0, :, :, : self._length], self._both[1, :, :, : self._length]


class Attention(nn.Module):
    """Self-attention, with dropout on its weights: of all places, or `causal` of those so far."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout, self.causal = config.heads, config.attention_dropout, config.causal
        self.qkv = nn.Linear(width, 3 * width, bias=not self.causal)
        self.out = nn.Linear(width, width, bias=not self.causal)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """float [B, S, D] -> [B, S, D]. With a cache S is 1, the place behind those that it holds."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extended(k, v)
        dropout = self.dropout if self.training else 0.0
        causal = self.causal and cache is None
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a perceptron of two layers, each added to what goes in; places of LayerNorm by `norm`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.width
        self.post = config.norm == "post"
        self.attention = Attention(config)
        self.mlp = nn.Sequential(nn.Linear(width, config.mlp), nn.GELU(), nn.Linear(config.mlp, width))
        self.norm1, self.norm2 = layer_norm(width, config.norm), layer_norm(width, config.norm)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """float [B, S, D] -> [B, S, D]."""
        if self.post:
            x = self.norm1(x + self.drop(self.attention(x, cache)))
            return self.norm2(x + self.drop(self.mlp(x)))  # type: ignore[no-any-return]
        x = x + self.drop(self.attention(self.norm1(x), cache))
        return x + self.drop(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class Stack(nn.Module):
    """`layers` blocks; with "pre" a last LayerNorm.

    With `checkpointed` training keeps what goes into a block alone, and computes the rest again for the
    gradients.
    """

    checkpointed = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.last = layer_norm(config.width, config.norm) if config.norm == "pre" else nn.Identity()

    def forward(self, x: Tensor, caches: Sequence[Cache] | None = None) -> Tensor:
        """float [B, S, D] -> [B, S, D]; a cache for each block, or none."""
        for number, block in enumerate(self.blocks):
            if self.checkpointed and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x, None if caches is None else caches[number])
        return self.last(x)  # type: ignore[no-any-return]


def initialise(module: nn.Module) -> None:
    """Start of BERT: weights of linear layers from a normal of 0.02 cut at two sigma, biases 0."""
    for each in module.modules():
        if isinstance(each, nn.Linear):
            truncated_normal(each.weight)
            if each.bias is not None:
                nn.init.zeros_(each.bias)


def truncated_normal(weight: Tensor) -> None:
    """Fill with normal numbers of deviation 0.02, cut at two sigma."""
    with torch.no_grad():
        nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)
