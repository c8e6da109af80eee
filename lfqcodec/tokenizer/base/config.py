"""Configuration of the `base` tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.limits import SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.config import MAX_WIDTH, TokenizerConfig


@dataclass(frozen=True)
class BaseConfig(TokenizerConfig):
    """Shape of a tokenizer.

    `widths` are the channels at full, half and quarter frame rate, all at 1/8 resolution;
    `encoder_blocks` and `decoder_blocks` count residual blocks at those three levels.
    `latent_channels` is the size of the vector that the residual quantizer works on.
    """

    architecture: str = "base"
    stages: int = 4
    widths: tuple[int, int, int] = (96, 144, 192)
    encoder_blocks: tuple[int, int, int] = (3, 3, 5)
    decoder_blocks: tuple[int, int, int] = (4, 4, 5)
    latent_channels: int = 64
    expansion: int = 2
    refine_channels: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = (self.widths, self.encoder_blocks, self.decoder_blocks)
        if any(len(level) != 3 or min(level) < 1 or max(level) > MAX_WIDTH for level in levels):
            raise WeightsError("widths and block counts must be three positive numbers each")
        if self.widths[0] * 2 < self.latent_channels or self.latent_channels < self.bits:
            raise WeightsError("latent_channels must lie between the bits and twice the first width")
        if min(self.expansion, self.refine_channels) < 1:
            raise WeightsError("expansion and refine_channels must be positive")

    @property
    def spatial_factor(self) -> int:
        """Pixels of a frame to a latent position, in each direction."""
        return SPATIAL_FACTOR

    @property
    def temporal_factor(self) -> int:
        """Frames to a latent frame, after the first of a GOP."""
        return TEMPORAL_FACTOR
