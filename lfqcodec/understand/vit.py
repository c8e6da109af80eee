"""ViT of clips (MAGVIT-v2, appendix A.4): pre-trained on the tokens of masked places, then a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import SUBTOKENS
from lfqcodec.generate.model.embedding import VALUES
from lfqcodec.generate.model.transformer import initialise, layer_norm, truncated_normal
from lfqcodec.understand.blocks import Blocks, Tubelets
from lfqcodec.understand.config import EncoderConfig

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], red, green, blue."""


class VideoTransformer(nn.Module):
    """The encoder: a vector for each tubelet, which attends to all others."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        time, rows, columns = config.grid
        self.tubelets = Tubelets(config)
        self.places = nn.Parameter(torch.empty(time * rows * columns, config.width))
        self.blocks = Blocks(config, config.layers)
        self.norm = layer_norm(config.width, "pre")
        initialise(self)
        truncated_normal(self.places)
        with torch.no_grad():
            for number, block in enumerate(self.blocks.of_layers(), 1):
                for layer in (block.attention.out.weight, block.mlp[-1].weight):
                    layer /= (2 * number) ** 0.5

    def forward(self, video: Tensor, masked: Tensor | None = None, unknown: Tensor | None = None) -> Tensor:
        """float [B, 3, T, H, W] in [-1, 1] -> [B, N, D] before `norm`, in raster order.

        Where `masked` bool [B, N], the vector `unknown` [D] stands in place of the tubelet.
        """
        mean, deviation = (video.new_tensor(x)[:, None, None, None] for x in (_MEAN, _DEVIATION))
        x = self.tubelets(((video + 1) / 2 - mean) / deviation).flatten(1, 3)
        if masked is not None and unknown is not None:
            x = torch.where(masked[..., None], unknown.to(x.dtype), x)
        return self.blocks(x + self.places)  # type: ignore[no-any-return]


class MaskedVideoModel(nn.Module):
    """The encoder with a linear layer that gives logits of both subtokens of each place."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = VideoTransformer(config)
        self.unknown = nn.Parameter(torch.empty(config.width))
        self.head = nn.Linear(config.width, SUBTOKENS * VALUES)
        initialise(self.head)
        truncated_normal(self.unknown)

    def forward(self, video: Tensor, masked: Tensor) -> Tensor:
        """float [B, 3, T, H, W] in [-1, 1] and bool [B, N] -> logits float [B, N, 2, 512]."""
        hidden = self.encoder.norm(self.encoder(video, masked, self.unknown))
        return self.head(hidden).unflatten(-1, (SUBTOKENS, VALUES))  # type: ignore[no-any-return]


class ViTClassifier(nn.Module):
    """The encoder, the mean over all places, and a linear layer to the classes."""

    def __init__(self, config: EncoderConfig, classes: int) -> None:
        super().__init__()
        self.encoder = VideoTransformer(config)
        self.head = nn.Linear(config.width, classes)
        initialise(self.head)
        with torch.no_grad():
            self.head.weight *= 0.001

    def forward(self, video: Tensor) -> Tensor:
        """float [B, 3, T, H, W] in [-1, 1] -> logits float [B, classes]."""
        return self.head(self.encoder.norm(self.encoder(video).mean(1)))  # type: ignore[no-any-return]
