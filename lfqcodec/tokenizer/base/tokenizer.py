"""The `base` tokenizer: everything at 1/8 resolution and below, so that ordinary CPUs can run it.

Frames are cut into 8x8 blocks of 192 numbers. Encoder and decoder are stacks of causal residual blocks at
full, half and quarter frame rate. `initialise_from` sets the layers to a whitened principal component
transform, so that training starts from a working transform codec and learns what is better than it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.bitstream.limits import SPATIAL_FACTOR
from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.tokenizer.layers import (
    Block,
    State,
    TemporalDown,
    TemporalUp,
    TimeContext,
    channels_last,
    conv1x1,
)
from lfqcodec.tokenizer.lfq.binary import Quantized, ResidualLFQ
from lfqcodec.tokenizer.open_loop import OpenLoopTokenizer

_PATCH = 3 * SPATIAL_FACTOR**2


def to_patches(frames: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 192, H/8, W/8]; unshuffled by 4 and then by 2, as `from_patches` undoes it."""
    return F.pixel_unshuffle(F.pixel_unshuffle(frames, 4), 2)


class Level(nn.Module):
    """Blocks at one frame rate."""

    def __init__(self, name: str, width: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(f"{name}.{i}", width, expansion) for i in range(blocks)])

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B*T, width, h, w] -> the same shape."""
        for block in self.blocks:
            x = block(x, time)
        return x


class Encoder(nn.Module):
    """Frames to latent vectors."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        w0, w1, w2 = config.widths
        b0, b1, b2 = config.encoder_blocks
        self.stem = conv1x1(_PATCH, w0)
        self.at_full = Level("encoder.full", w0, b0, config.expansion)
        self.down1 = TemporalDown("encoder.down1", w0, w1)
        self.at_half = Level("encoder.half", w1, b1, config.expansion)
        self.down2 = TemporalDown("encoder.down2", w1, w2)
        self.at_quarter = Level("encoder.quarter", w2, b2, config.expansion)
        self.head = conv1x1(w2, config.latent_channels)

    def forward(self, frames: Tensor, time: TimeContext) -> Tensor:
        """[B*T, 3, H, W] -> [B*T', D, H/8, W/8]."""
        x = self.at_full(self.stem(channels_last(to_patches(frames))), time)
        x = self.at_half(self.down1(x, time), time)
        x = self.at_quarter(self.down2(x, time), time)
        return self.head(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Latent vectors to frames."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        w0, w1, w2 = config.widths
        b0, b1, b2 = config.decoder_blocks
        refine = config.refine_channels
        self.stem = conv1x1(config.latent_channels, w2)
        self.at_quarter = Level("decoder.quarter", w2, b2, config.expansion)
        self.up1 = TemporalUp(w2, w1)
        self.at_half = Level("decoder.half", w1, b1, config.expansion)
        self.up2 = TemporalUp(w1, w0)
        self.at_full = Level("decoder.full", w0, b0, config.expansion)
        self.head = conv1x1(w0, _PATCH)
        # At quarter resolution: takes the block borders out.
        self.features = conv1x1(w0, 4 * refine)
        self.deblock = nn.Conv2d(_PATCH // 4, refine, 3, padding=1)
        self.refine = nn.Conv2d(refine, _PATCH // 4, 3, padding=1)
        nn.init.zeros_(self.refine.weight)
        nn.init.zeros_(self.refine.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, time: TimeContext) -> Tensor:
        """[B*T', D, h, w] -> [B*T, 3, 8h, 8w]."""
        x = self.at_quarter(self.stem(latents), time)
        x = self.at_half(self.up1(x, time), time)
        x = self.at_full(self.up2(x, time), time)
        coarse = channels_last(F.pixel_shuffle(self.head(x), 2))
        features = channels_last(F.pixel_shuffle(self.features(x), 2))
        fine = self.refine(F.leaky_relu(features + self.deblock(coarse), 0.1))
        return F.pixel_shuffle(coarse + fine, 4)


class BaseTokenizer(OpenLoopTokenizer):
    """The tokenizer of this file; its methods are those of `OpenLoopTokenizer`."""

    config: BaseConfig

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = ResidualLFQ(config.latent_channels, config.bits, config.stages)
        self.decoder = Decoder(config)
        # A position for each depthwise 3x3; the two 3x3 at quarter resolution reach half a position each.
        self.encoder_reach = sum(config.encoder_blocks)
        self.decoder_reach = sum(config.decoder_blocks) + 1
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def analyse(self, video: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Video to latents: float32 [B, 3, T, H, W] in [-1, 1] -> [B, D, T', H/8, W/8] and the next state.

        H and W are multiples of 8. Without `state` the clip starts a GOP: T = 1 + 4k, T' = 1 + k. With the
        state that the chunk before returned, T = 4k and T' = k.
        """
        time = TimeContext(video.shape[0], state)
        latents = self.encoder(video.transpose(1, 2).flatten(0, 1), time)
        return time.split(latents).transpose(1, 2), time.after

    def synthesise(self, latents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Latents to video: float32 [B, D, T', h, w] -> [B, 3, T, 8h, 8w] near [-1, 1], and next state."""
        time = TimeContext(latents.shape[0], state)
        frames = self.decoder(channels_last(latents.transpose(1, 2).flatten(0, 1)), time)
        return time.split(frames).transpose(1, 2), time.after

    def forward(self, video: Tensor, kept: Tensor) -> tuple[Tensor, Quantized]:
        """As in `OpenLoopTokenizer`."""
        batch = video.shape[0]
        latents = self.encoder(video.transpose(1, 2).flatten(0, 1), TimeContext(batch, None))
        quantized = self.quantizer(latents, kept.repeat_interleave(latents.shape[0] // batch))
        time = TimeContext(batch, None)
        return time.split(self.decoder(quantized.latents, time)).transpose(1, 2), quantized

    def inflate(self) -> None:
        """Turn image weights into video weights (central inflation, MAGVIT-v2 section 3.1).

        The 2D weights are the temporally last taps already; frames that images do not have start as copies.
        """
        self.decoder.up1.inflate()
        self.decoder.up2.inflate()

    @torch.no_grad()
    def initialise_from(self, frames: Tensor) -> None:
        """Set the linear layers to a whitened PCA of `frames` (float32 [N, 3, H, W] in [-1, 1]).

        Stages take, in turn, the 18 components with the largest error left, as a 1-bit quantizer would.
        """
        config = self.config
        patches = to_patches(frames).movedim(1, -1).flatten(0, -2).double()
        mean = patches.mean(0)
        variance, basis = torch.linalg.eigh(torch.cov((patches - mean).T))
        variance, basis = variance.flip(0).clamp_min(1e-8), basis.flip(1)
        width = config.widths[0]
        # Components below 1/30 of the pixel range are left small rather than blown up to unit variance.
        scale = (variance + 1e-2).sqrt()[:width]
        analysis = basis[:, :width].T / scale[:, None]
        synthesis = basis[:, :width] * scale
        _assign(self.encoder.stem, analysis, -analysis @ mean)
        _assign(self.decoder.head, synthesis, mean)
        for layer in (self.encoder.head, self.decoder.stem):
            identity = torch.eye(layer.weight.shape[0], layer.weight.shape[1], dtype=torch.float64)
            _assign(layer, identity, torch.zeros(len(identity), dtype=torch.float64))
        channels = config.latent_channels
        left = variance[:channels].clone()
        for stage in range(config.stages):
            chosen = left.topk(config.bits).indices
            deviation = left[chosen].sqrt() / scale[chosen]
            project = torch.zeros(config.bits, channels, dtype=torch.float64)
            project[range(config.bits), chosen] = 1 / deviation
            expand = torch.zeros(channels, config.bits, dtype=torch.float64)
            # 0.8 is the mean magnitude of a unit Gaussian, the best level of a 1-bit quantizer;
            # 0.36 is the share of the variance that it leaves.
            expand[chosen, range(config.bits)] = 0.8 * deviation
            left[chosen] *= 0.36
            _assign(self.quantizer.project[stage], project, project.new_zeros(config.bits))
            _assign(self.quantizer.expand[stage], expand, expand.new_zeros(channels))


def _assign(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    layer.weight.copy_(weight[:, :, None, None])
    layer.bias.copy_(bias)
