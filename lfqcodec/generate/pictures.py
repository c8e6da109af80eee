"""Between pictures and the grids of tokens that generators know, through a `magvit2` tokenizer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer


def magvit2_config(config: TokenizerConfig, name: object) -> Magvit2Config:
    """The configuration of a tokenizer that generators can work with. Raises `LfqError` for another kind."""
    if not isinstance(config, Magvit2Config):
        raise LfqError(
            f"{name}: has tokens in many layers ({config.architecture}); "
            "generators need a tokenizer of `train tokenizer`"
        )
    return config


def grid_of(config: Magvit2Config, frames: int, size: int) -> tuple[int, int, int]:
    """Latent frames, rows and columns of clips of `frames` x `size` x `size`.

    Raises `LfqError` where the tokenizer cannot have such clips.
    """
    factor, time = config.spatial_factor, config.temporal_factor
    if size < 1 or size % factor:
        raise LfqError(f"size is {size}; it must be a multiple of the tokenizer's {factor}")
    if frames < 1 or (frames - 1) % time:
        raise LfqError(f"frames are {frames}; the tokenizer has clips of 1 + {time}k")
    return (1 + (frames - 1) // time, size // factor, size // factor)


def frames_of(config: Magvit2Config, latent_frames: int) -> int:
    """How many pictures so many latent frames are."""
    return 1 + (latent_frames - 1) * config.temporal_factor


@torch.no_grad()
def to_tokens(tokenizer: Magvit2Tokenizer, video: Tensor) -> Tensor:
    """Clips float32 [B, 3, T, H, W] in [-1, 1] to tokens of the first stage, int64 [B, T', h, w]."""
    latents, _ = tokenizer.analyse(video)
    return tokenizer.quantize(latents, 1)[:, 0]


@torch.no_grad()
def to_pictures(tokenizer: Magvit2Tokenizer, tokens: Tensor) -> NDArray[np.uint8]:
    """Tokens int64 [B, T', h, w] to pictures uint8 [B, T, H, W, 3]."""
    video, _ = tokenizer.synthesise(tokenizer.dequantize(tokens[:, None]))
    samples = ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(samples.permute(0, 2, 3, 4, 1).cpu().numpy())


def scaled(pictures: NDArray[np.uint8], shorter: int) -> Tensor:
    """Pictures uint8 [T, H, W, 3], scaled so that the shorter side is `shorter`.

    float32 [T, 3, H', W'] of whole numbers in 0..255; bicubic, with the low-pass that shrinking needs.
    """
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    height, width = x.shape[2:]
    ratio = shorter / min(height, width)
    size = [max(shorter, round(side * ratio)) for side in (height, width)]
    if size != [height, width]:
        x = F.interpolate(x, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return x


def middle(x: Tensor, size: int) -> Tensor:
    """The square in the middle: [..., H, W] -> [..., size, size]."""
    top, left = ((side - size) // 2 for side in x.shape[-2:])
    return x[..., top : top + size, left : left + size]


def to_video(pictures: Tensor) -> Tensor:
    """Pictures float32 [T, 3, H, W] in 0..255 to a clip float32 [3, T, H, W] in [-1, 1]."""
    return (pictures / 127.5 - 1).transpose(0, 1)
