"""Configuration of the tokenizer of MAGVIT-v2."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lfqcodec.bitstream.limits import BITS_PER_TOKEN, TEMPORAL_FACTOR
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.config import MAX_WIDTH, TokenizerConfig

_MAX_STAGES = 8
_MAX_LEVELS = 7
_MAX_BLOCKS = 16


@dataclass(frozen=True)
class Magvit2Config(TokenizerConfig):
    """Shape of the tokenizer of MAGVIT-v2; the defaults are the video model of appendix A.2.

    `multipliers` times `base_channels` are the widths, from full resolution down; each level but the last
    ends in a convolution of spatial stride 2 and of the temporal stride in `temporal_strides`. Those are
    1, 2, 2 for the video model, which keeps the full frame rate longest. All 1, with a `temporal_kernel`
    of 1, make a model of single images, in which frames do not know each other.
    There are `stages` of residual quantization; the paper has one. `latent_channels` is the size of the
    vector that the quantizer works on: in the paper, one of a sign each. `groups` are those of group
    normalisation.
    """

    architecture: str = "magvit2"
    stages: int = 1
    base_channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    residual_blocks: int = 4
    temporal_strides: tuple[int, ...] = (1, 2, 2)
    temporal_kernel: int = 3
    latent_channels: int = BITS_PER_TOKEN
    groups: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stages <= _MAX_STAGES:
            raise WeightsError(f"{self.stages} stages are not supported (1 to {_MAX_STAGES})")
        if not 2 <= len(self.multipliers) <= _MAX_LEVELS:
            raise WeightsError(f"there must be 2 to {_MAX_LEVELS} multipliers")
        if min(self.base_channels, *self.multipliers) < 1 or max(self.widths) > MAX_WIDTH:
            raise WeightsError(f"base_channels times a multiplier must be 1 to {MAX_WIDTH}")
        if not 1 <= self.residual_blocks <= _MAX_BLOCKS:
            raise WeightsError(f"residual_blocks must be 1 to {_MAX_BLOCKS}")
        if len(self.temporal_strides) != len(self.multipliers) - 1:
            raise WeightsError("there must be one temporal stride less than multipliers")
        if not set(self.temporal_strides) <= {1, 2} or self.temporal_factor not in (1, TEMPORAL_FACTOR):
            raise WeightsError(f"temporal strides must be 1 or 2 and come to 1 or {TEMPORAL_FACTOR} together")
        if self.temporal_kernel != (1 if self.temporal_factor == 1 else 3):
            raise WeightsError("temporal_kernel must be 3, or 1 in a model of images")
        if not BITS_PER_TOKEN <= self.latent_channels <= MAX_WIDTH:
            raise WeightsError(f"latent_channels must lie between the bits and {MAX_WIDTH}")
        # A group of one channel would hold a single number where a frame has one latent position.
        if not 1 <= self.groups <= self.base_channels // 2 or self.base_channels % self.groups:
            raise WeightsError("groups must divide base_channels into parts of at least two")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level, from full resolution down."""
        return tuple(self.base_channels * multiplier for multiplier in self.multipliers)

    @property
    def spatial_factor(self) -> int:
        """Pixels of a frame to a latent position, in each direction."""
        return 1 << (len(self.multipliers) - 1)

    @property
    def temporal_factor(self) -> int:
        """Frames to a latent frame, after the first of a GOP; 1 in a model of images."""
        return math.prod(self.temporal_strides)


# The image tokenizers of appendix A.2, 256x256 and 512x512 to 16x16. The paper gives the multipliers of the
# video model only; these are ours: a level more at full width, where most of the detail is, and for 32x one
# more at the end.
IMAGE_16X = Magvit2Config(multipliers=(1, 1, 2, 2, 4), temporal_strides=(1,) * 4, temporal_kernel=1)
IMAGE_32X = Magvit2Config(multipliers=(1, 1, 2, 2, 4, 4), temporal_strides=(1,) * 5, temporal_kernel=1)
