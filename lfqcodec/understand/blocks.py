"""Parts that both encoders are made of: tubelets, and blocks that are left out at random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lfqcodec.generate.model.transformer import Block
from lfqcodec.understand.config import EncoderConfig


class Tubelets(nn.Module):
    """Clips cut into tubelets, each as a vector by one linear layer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.tubelet = config.tubelet
        time, rows, columns = config.tubelet
        self.project = nn.Linear(3 * time * rows * columns, config.width)

    def forward(self, video: Tensor) -> Tensor:
        """float [B, 3, T, H, W] -> [B, t, h, w, D]."""
        time, rows, columns = self.tubelet
        batch, _, frames, height, width = video.shape
        x = video.reshape(batch, 3, frames // time, time, height // rows, rows, width // columns, columns)
        return self.project(x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4))  # type: ignore[no-any-return]


class DropPath(nn.Module):
    """In training leaves a branch out, for each sample by itself; what is kept is divided by its chance."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        """float [B, ...] -> the same shape."""
        if not self.training or not self.chance:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.chance
        return x * keep / (1 - self.chance)


def droppath_chances(layers: int, most: float) -> list[float]:
    """Chances of each layer, from 0 in a line to `most`."""
    return [most * layer / max(1, layers - 1) for layer in range(layers)]


class Blocks(nn.Module):
    """`layers` pre-norm blocks. With `checkpoints` the backward pass makes their insides again."""

    def __init__(self, config: EncoderConfig, layers: int) -> None:
        super().__init__()
        self.each = nn.ModuleList()
        self.checkpoints = False
        for chance in droppath_chances(layers, config.droppath):
            block = Block(config.block)
            if chance:
                block.drop = nn.Sequential(nn.Dropout(config.dropout), DropPath(chance))  # type: ignore[assignment]
            self.each.append(block)

    def of_layers(self) -> list[Any]:
        """The blocks, from the first on."""
        return [*self.each]

    def forward(self, x: Tensor) -> Tensor:
        """float [B, S, D] -> [B, S, D]."""
        for block in self.each:
            if self.checkpoints and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x
