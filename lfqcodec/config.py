"""Frozen configurations. They travel as JSON inside weight files, so every field is a plain value."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from lfqcodec.bitstream.limits import BITS_PER_TOKEN, SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.errors import WeightsError

# Weights files are untrusted: no configuration may ask for more than this.
_MAX_STAGES = 8
_MAX_WIDTH = 4096
_MAX_LEVELS = 7
_MAX_BLOCKS = 16


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of a tokenizer.

    `widths` are the channels at full, half and quarter frame rate, all at 1/8 resolution;
    `encoder_blocks` and `decoder_blocks` count residual blocks at those three levels.
    `latent_channels` is the size of the vector that the residual quantizer works on.
    """

    architecture: str = "base"
    bits: int = BITS_PER_TOKEN
    stages: int = 4
    widths: tuple[int, int, int] = (96, 144, 192)
    encoder_blocks: tuple[int, int, int] = (3, 3, 5)
    decoder_blocks: tuple[int, int, int] = (4, 4, 5)
    latent_channels: int = 64
    expansion: int = 2
    refine_channels: int = 32

    def __post_init__(self) -> None:
        if self.architecture != "base":
            raise WeightsError(f"unknown tokenizer architecture {self.architecture!r}")
        if self.bits != BITS_PER_TOKEN:
            raise WeightsError(f"tokens of {self.bits} bits are not supported (only {BITS_PER_TOKEN})")
        if not 1 <= self.stages <= _MAX_STAGES:
            raise WeightsError(f"{self.stages} stages are not supported (1 to {_MAX_STAGES})")
        levels = (self.widths, self.encoder_blocks, self.decoder_blocks)
        if any(len(level) != 3 or min(level) < 1 or max(level) > _MAX_WIDTH for level in levels):
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

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TokenizerConfig:
        """Parse what `to_json` wrote. Raises `WeightsError` on anything else."""
        values = _fields(text)
        try:
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"not a tokenizer configuration: {error}") from error


@dataclass(frozen=True)
class Magvit2Config:
    """Shape of the tokenizer of MAGVIT-v2; the defaults are the video model of appendix A.2.

    `multipliers` times `base_channels` are the widths, from full resolution down; each level but the last
    ends in a convolution of spatial stride 2 and of the temporal stride in `temporal_strides`. Those are
    1, 2, 2 for the video model, which keeps the full frame rate longest. All 1, with a `temporal_kernel`
    of 1, make a model of single images, in which frames do not know each other.
    `latent_channels` is the size of the vector that the quantizer works on: in the paper, one of a sign
    each. `groups` are those of group normalisation.
    """

    architecture: str = "magvit2"
    bits: int = BITS_PER_TOKEN
    stages: int = 1
    base_channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    residual_blocks: int = 4
    temporal_strides: tuple[int, ...] = (1, 2, 2)
    temporal_kernel: int = 3
    latent_channels: int = BITS_PER_TOKEN
    groups: int = 32

    def __post_init__(self) -> None:
        if self.architecture != "magvit2":
            raise WeightsError(f"unknown tokenizer architecture {self.architecture!r}")
        self._check_types()
        if self.bits != BITS_PER_TOKEN:
            raise WeightsError(f"tokens of {self.bits} bits are not supported (only {BITS_PER_TOKEN})")
        if not 1 <= self.stages <= _MAX_STAGES:
            raise WeightsError(f"{self.stages} stages are not supported (1 to {_MAX_STAGES})")
        if not 2 <= len(self.multipliers) <= _MAX_LEVELS:
            raise WeightsError(f"there must be 2 to {_MAX_LEVELS} multipliers")
        if min(self.base_channels, *self.multipliers) < 1 or max(self.widths) > _MAX_WIDTH:
            raise WeightsError(f"base_channels times a multiplier must be 1 to {_MAX_WIDTH}")
        if not 1 <= self.residual_blocks <= _MAX_BLOCKS:
            raise WeightsError(f"residual_blocks must be 1 to {_MAX_BLOCKS}")
        if len(self.temporal_strides) != len(self.multipliers) - 1:
            raise WeightsError("there must be one temporal stride less than multipliers")
        if not set(self.temporal_strides) <= {1, 2} or self.temporal_factor not in (1, TEMPORAL_FACTOR):
            raise WeightsError(f"temporal strides must be 1 or 2 and come to 1 or {TEMPORAL_FACTOR} together")
        if self.temporal_kernel != (1 if self.temporal_factor == 1 else 3):
            raise WeightsError("temporal_kernel must be 3, or 1 in a model of images")
        if not self.bits <= self.latent_channels <= _MAX_WIDTH:
            raise WeightsError(f"latent_channels must lie between the bits and {_MAX_WIDTH}")
        # A group of one channel would hold a single number where a frame has one latent position.
        if not 1 <= self.groups <= self.base_channels // 2 or self.base_channels % self.groups:
            raise WeightsError("groups must divide base_channels into parts of at least two")

    def _check_types(self) -> None:
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            many = field.name in ("multipliers", "temporal_strides")
            if isinstance(value, tuple) != many or any(
                type(number) is not int for number in (value if many else (value,))
            ):
                raise WeightsError(f"{field.name} must be {'a list of integers' if many else 'an integer'}")

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

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Magvit2Config:
        """Parse what `to_json` wrote. Raises `WeightsError` on anything else."""
        values = _fields(text)
        try:
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"not a tokenizer configuration: {error}") from error


AnyTokenizerConfig: TypeAlias = TokenizerConfig | Magvit2Config

# The image tokenizers of appendix A.2, 256x256 and 512x512 to 16x16. The paper gives the multipliers of the
# video model only; these are ours: a level more at full width, where most of the detail is, and for 32x one
# more at the end.
IMAGE_16X = Magvit2Config(multipliers=(1, 1, 2, 2, 4), temporal_strides=(1,) * 4, temporal_kernel=1)
IMAGE_32X = Magvit2Config(multipliers=(1, 1, 2, 2, 4, 4), temporal_strides=(1,) * 5, temporal_kernel=1)


def parse_tokenizer_config(text: str) -> AnyTokenizerConfig:
    """Parse what `to_json` of either configuration wrote. Raises `WeightsError` on anything else."""
    if _fields(text).get("architecture") == "magvit2":
        return Magvit2Config.from_json(text)
    return TokenizerConfig.from_json(text)


def _fields(text: str) -> dict[str, Any]:
    """The fields of a JSON object, lists as tuples. Raises `WeightsError`."""
    try:
        values: dict[str, Any] = json.loads(text)
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"not a tokenizer configuration: {error}") from error


def padded_frames(frames: int, *, gop_start: bool) -> int:
    """`frames` rounded up to a number that fills its latent frames: 1 + 4k at a GOP start, else 4k."""
    if gop_start:
        return 1 + -(-(frames - 1) // TEMPORAL_FACTOR) * TEMPORAL_FACTOR
    return -(-frames // TEMPORAL_FACTOR) * TEMPORAL_FACTOR
