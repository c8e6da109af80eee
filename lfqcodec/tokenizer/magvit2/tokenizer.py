"""The `magvit2` tokenizer: the model of MAGVIT-v2 (arXiv 2310.05737, section 3 and appendix A.2).

Causal 3D convolutions from full resolution down: at each level residual blocks, then a strided convolution;
in the decoder depth-to-space upsampling, and at each level an adaptive group normalisation that lets the
quantized latents steer it. The last levels halve the frame rate as well. The quantizer's projection is the
last 1x1 convolution of the encoder once more, so that residual stages can follow the paper's one.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.bitstream.limits import BITS_PER_TOKEN
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.tokenizer.lfq.binary import Quantized, ResidualLFQ
from lfqcodec.tokenizer.magvit2.causal3d import (
    AdaptiveGroupNorm,
    CausalConv3d,
    DepthToSpace,
    FrameGroupNorm,
    ResidualBlock,
)
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.magvit2.context import State, TimeContext


def _blocks(inputs: int, width: int, config: Magvit2Config) -> nn.ModuleList:
    """The residual blocks of a level; the first one changes the number of channels."""
    widths = [inputs, *[width] * config.residual_blocks]
    return nn.ModuleList(
        ResidualBlock(a, b, config.groups, config.temporal_kernel) for a, b in pairwise(widths)
    )


class EncoderLevel(nn.Module):
    """Residual blocks at one resolution, then, in all but the last, a strided convolution."""

    def __init__(self, inputs: int, width: int, stride: int | None, config: Magvit2Config) -> None:
        super().__init__()
        self.blocks = _blocks(inputs, width, config)
        self.down = None
        if stride is not None:
            self.down = CausalConv3d(width, width, time=config.temporal_kernel, strides=(stride, 2))

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B, inputs, T, h, w] -> [B, width, T', h/2, w/2]; T, h and w stay in the last level."""
        for block in self.blocks:
            x = block(x, time)
        return x if self.down is None else self.down(x, time)


class DecoderLevel(nn.Module):
    """Adaptive normalisation and residual blocks at one resolution, then, in all but the last, upsampling."""

    def __init__(self, inputs: int, width: int, rate: int, stride: int | None, config: Magvit2Config) -> None:
        super().__init__()
        self.adapt = AdaptiveGroupNorm(inputs, config.latent_channels, config.groups, rate)
        self.blocks = _blocks(inputs, width, config)
        self.up = None if stride is None else DepthToSpace(width, stride, config.temporal_kernel)

    def forward(self, x: Tensor, latents: Tensor, time: TimeContext) -> Tensor:
        """x [B, inputs, T, n*h, n*w], latents [B, D, T', h, w] -> [B, width, T'', 2n*h, 2n*w]."""
        x = self.adapt(x, latents, time)
        for block in self.blocks:
            x = block(x, time)
        return x if self.up is None else self.up(x, time)


class Encoder(nn.Module):
    """Frames to latent vectors."""

    def __init__(self, config: Magvit2Config) -> None:
        super().__init__()
        self.stem = CausalConv3d(3, config.base_channels, time=config.temporal_kernel)
        self.levels = nn.ModuleList()
        inputs = config.base_channels
        for width, stride in zip(config.widths, (*config.temporal_strides, None), strict=True):
            self.levels.append(EncoderLevel(inputs, width, stride, config))
            inputs = width
        self.norm = FrameGroupNorm(inputs, config.groups)
        self.head = CausalConv3d(inputs, config.latent_channels, time=1, size=1)

    def forward(self, video: Tensor, time: TimeContext) -> Tensor:
        """[B, 3, T, H, W] -> [B, D, T', H/s, W/s]."""
        x = self.stem(video.contiguous(memory_format=torch.channels_last_3d), time)
        for level in self.levels:
            x = level(x, time)
        return self.head(F.silu(self.norm(x)), time)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Latent vectors to frames."""

    def __init__(self, config: Magvit2Config) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.stem = CausalConv3d(config.latent_channels, widths[0], time=config.temporal_kernel)
        self.levels = nn.ModuleList()
        inputs, rate = widths[0], 1
        for width, stride in zip(widths, (*config.temporal_strides[::-1], None), strict=True):
            self.levels.append(DecoderLevel(inputs, width, rate, stride, config))
            inputs, rate = width, rate * (stride or 1)
        self.norm = FrameGroupNorm(inputs, config.groups)
        self.head = CausalConv3d(inputs, 3, time=config.temporal_kernel)

    def forward(self, latents: Tensor, time: TimeContext) -> Tensor:
        """[B, D, T', h, w] -> [B, 3, T, s*h, s*w]."""
        latents = latents.contiguous(memory_format=torch.channels_last_3d)
        x = self.stem(latents, time)
        for level in self.levels:
            x = level(x, latents, time)
        return self.head(F.silu(self.norm(x)), time)  # type: ignore[no-any-return]


class Magvit2Tokenizer(Tokenizer):
    """An analysis and a synthesis transform with residual LFQ between them.

    s is `config.spatial_factor`, D the size of a latent vector. Clips are 1 + 4k frames to 1 + k latent
    frames at their start, then 4k to k; in a model of images, with a temporal factor of 1, a latent frame
    each. One class serves images and video: at T = 1 it is the 2D model that the last slices of its kernels
    make.
    """

    config: Magvit2Config

    def __init__(self, config: Magvit2Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = ResidualLFQ(config.latent_channels, BITS_PER_TOKEN, config.stages)
        self.decoder = Decoder(config)
        for name, module in self.named_modules():
            if isinstance(module, CausalConv3d):
                module.name = name
        if config.latent_channels == BITS_PER_TOKEN:
            # The paper's quantizer: the signs of the latents, as they are.
            for layer in (*self.quantizer.project, *self.quantizer.expand):
                assert isinstance(layer, nn.Conv2d)
                _initialise_identity(layer)

    def analyse(self, video: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Video to latents: float32 [B, 3, T, H, W] in [-1, 1] -> [B, D, T', H/s, W/s] and the next state.

        H and W are multiples of s. Without `state` it is the start of clips; with the state that the part
        before returned it goes on with them.
        """
        time = TimeContext(state)
        return self.encoder(video, time), time.after

    def synthesise(self, latents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Latents to video: float32 [B, D, T', h, w] -> [B, 3, T, s*h, s*w] near [-1, 1], and next state."""
        time = TimeContext(state)
        return self.decoder(latents, time), time.after

    def quantize(self, latents: Tensor, stages: int) -> Tensor:
        """float32 [B, D, T', h, w] -> tokens int64 [B, stages, T', h, w] in [0, 2^18)."""
        tokens = self.quantizer.quantize(_frames(latents), stages)
        return tokens.reshape(stages, latents.shape[0], -1, *tokens.shape[2:]).transpose(0, 1)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [B, stages, T', h, w] -> float32 [B, D, T', h, w]. Any number of stages from 1."""
        flat = tokens.transpose(0, 1).flatten(1, 2)
        latents = self.quantizer.dequantize(flat)
        return latents.reshape(tokens.shape[0], -1, *latents.shape[1:]).transpose(1, 2)

    def forward(self, video: Tensor, kept: Tensor) -> tuple[Tensor, Quantized]:
        """One training pass over the start of clips: video [B, 3, T, H, W] -> (reconstruction, losses).

        `kept` int [B] is the number of stages that each clip keeps; `Quantized.latents` is [B*T', D, h, w].
        """
        latents = self.encoder(video, TimeContext(None, keep=False))
        batch, _, count, _, _ = latents.shape
        quantized = self.quantizer(_frames(latents), kept.repeat_interleave(count))
        coded = quantized.latents.unflatten(0, (batch, count)).transpose(1, 2)
        return self.decoder(coded, TimeContext(None, keep=False)), quantized

    def inflate(self) -> None:
        """Turn image weights into video weights (central inflation, MAGVIT-v2 section 3.1).

        All that an image has no use for is set: earlier slices to zero, frames it does not have to copies.
        A single image then decodes as before, and a still clip to that picture, frame by frame.
        """
        for module in self.modules():
            if isinstance(module, CausalConv3d | DepthToSpace):
                module.inflate()


def _frames(latents: Tensor) -> Tensor:
    """Latents [B, D, T', h, w] as a batch of frames, [B*T', D, h, w], channels_last in memory."""
    return latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _initialise_identity(layer: nn.Conv2d) -> None:
    """Pass the channels through unchanged, cut off or padded with zeros."""
    with torch.no_grad():
        layer.weight.zero_()
        rows = min(layer.weight.shape[:2])
        layer.weight[range(rows), range(rows), 0, 0] = 1.0
        if layer.bias is not None:
            layer.bias.zero_()
