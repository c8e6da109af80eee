"""What every tokenizer can do, whatever its architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.layers import State, channels_last
from lfqcodec.tokenizer.lfq.binary import Choose, Quantized, ResidualLFQ


class Tokenizer(nn.Module, ABC):
    """Causal tokenizer with residual LFQ. The public methods take whole clips, chunk by chunk.

    s is `config.spatial_factor`, D `config.latent_channels`. Frames come 1 + 4k to 1 + k latent frames at a
    GOP start, else 4k to k. (A model of images, with a temporal factor of 1, has a latent frame each.)
    """

    config: TokenizerConfig
    quantizer: ResidualLFQ
    encoder_reach: int | None = None
    """Positions of the latent grid from a latent to the last pixel that matters to it; None: all matter."""
    decoder_reach: int | None = None
    """Positions from a pixel's own to the last latent that matters to it; None: all matter."""

    @abstractmethod
    def encode(self, video: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Video to latents: float32 [B, 3, T, H, W] in [-1, 1] -> [B, D, T', H/s, W/s] and the next state.

        H and W are multiples of s. Without `state` the clip starts a GOP; with the state that the chunk
        before returned it goes on with it.
        """

    @abstractmethod
    def decode(self, latents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Latents to video: float32 [B, D, T', h, w] -> [B, 3, T, s*h, s*w] near [-1, 1], and next state."""

    @abstractmethod
    def forward(self, video: Tensor, kept: Tensor, choose: Choose | None = None) -> tuple[Tensor, Quantized]:
        """One training pass over clips that start a GOP: video [B, 3, T, H, W] -> (reconstruction, losses).

        `kept` int [B] is the number of stages that each clip keeps. The tokens are the plain ones, or those
        that `choose` gives.
        """

    @abstractmethod
    def inflate(self) -> None:
        """Turn image weights into video weights (central inflation, MAGVIT-v2 section 3.1)."""

    @abstractmethod
    def initialise_from(self, frames: Tensor) -> None:
        """Prepare an untrained model for pictures like `frames` (float32 [N, 3, H, W] in [-1, 1])."""

    def quantize(self, latents: Tensor, stages: int) -> Tensor:
        """float32 [B, D, T', h, w] -> tokens int64 [B, stages, T', h, w] in [0, 2^18)."""
        flat = channels_last(latents.transpose(1, 2).flatten(0, 1))
        tokens = self.quantizer.quantize(flat, stages)
        return tokens.reshape(stages, latents.shape[0], -1, *tokens.shape[2:]).transpose(0, 1)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [B, stages, T', h, w] -> float32 [B, D, T', h, w]. Any number of stages from 1.

        Tokens below 0 are not known, and add nothing.
        """
        flat = tokens.transpose(0, 1).flatten(1, 2)
        latents = self.quantizer.dequantize(flat)
        return latents.reshape(tokens.shape[0], -1, *latents.shape[1:]).transpose(1, 2)
