"""ViViT, model 2 (Arnab et al. 2021): a transformer inside each time step, then one between the steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfqcodec.generate.model.transformer import layer_norm
from lfqcodec.understand.blocks import Blocks, Tubelets
from lfqcodec.understand.config import EncoderConfig

_CUT = 0.87962566
"""Deviation of a standard normal that is cut at two sigma."""


class ViViTClassifier(nn.Module):
    """A class token for each time step, and one for the clip. The last layer starts at zero."""

    def __init__(self, config: EncoderConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        time, rows, columns = config.grid
        width = config.width
        self.tubelets = Tubelets(config)
        self.step_class = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.empty(1 + rows * columns, width))
        self.blocks = Blocks(config, config.layers)
        self.norm = layer_norm(width, "pre")
        self.clip_class = nn.Parameter(torch.zeros(width))
        self.times = nn.Parameter(torch.empty(1 + time, width))
        self.temporal_blocks = Blocks(config, config.temporal_layers)
        self.temporal_norm = layer_norm(width, "pre")
        self.head = nn.Linear(width, classes)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for each in (self.places, self.times):
            nn.init.normal_(each, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                # Queries, keys and values are three layers in one.
                three = layer.out_features == 3 * layer.in_features
                for part in layer.weight.chunk(3 if three else 1):
                    nn.init.xavier_uniform_(part)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.head.weight)
        # As if the clip were its central frames: the kernel sees one frame of a tubelet at the start.
        kernel = self.tubelets.project.weight
        central = torch.zeros_like(kernel).view(-1, 3, *self.config.tubelet)
        sigma = kernel.shape[1] ** -0.5 / _CUT
        frame = central[:, :, self.config.tubelet[0] // 2]
        nn.init.trunc_normal_(frame, std=sigma, a=-2 * sigma, b=2 * sigma)
        kernel.copy_(central.flatten(1))

    def of_steps(self, video: Tensor) -> Tensor:
        """float [B, 3, T, H, W] in [-1, 1] -> a vector for each time step, [B, t, D]."""
        x = self.tubelets(video).flatten(2, 3)
        first = self.step_class.expand(*x.shape[:2], 1, -1)
        x = torch.cat((first.to(x.dtype), x), 2) + self.places
        return self.norm(self.blocks(x.flatten(0, 1)))[:, 0].unflatten(0, x.shape[:2])  # type: ignore[no-any-return]

    def forward(self, video: Tensor) -> Tensor:
        """float [B, 3, T, H, W] in [-1, 1] -> logits float [B, classes]."""
        x = self.of_steps(video)
        x = torch.cat((self.clip_class.expand(len(x), 1, -1).to(x.dtype), x), 1) + self.times
        return self.head(self.temporal_norm(self.temporal_blocks(x))[:, 0])  # type: ignore[no-any-return]
