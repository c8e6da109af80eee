"""Frozen configurations. They travel as JSON inside weight files, so every field is a plain value."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from lfqcodec.bitstream.limits import BITS_PER_TOKEN, TEMPORAL_FACTOR
from lfqcodec.errors import WeightsError


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
        if not 1 <= self.stages <= 8:
            raise WeightsError(f"{self.stages} stages are not supported (1 to 8)")
        levels = (self.widths, self.encoder_blocks, self.decoder_blocks)
        if any(len(level) != 3 or min(level) < 1 or max(level) > 4096 for level in levels):
            raise WeightsError("widths and block counts must be three positive numbers each")
        if self.widths[0] * 2 < self.latent_channels or self.latent_channels < self.bits:
            raise WeightsError("latent_channels must lie between the bits and twice the first width")
        if min(self.expansion, self.refine_channels) < 1:
            raise WeightsError("expansion and refine_channels must be positive")

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TokenizerConfig:
        """Parse what `to_json` wrote. Raises `WeightsError` on anything else."""
        try:
            values: dict[str, Any] = json.loads(text)
            values = {
                key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
            }
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"not a tokenizer configuration: {error}") from error


def padded_frames(frames: int, *, gop_start: bool) -> int:
    """`frames` rounded up to a number that fills its latent frames: 1 + 4k at a GOP start, else 4k."""
    if gop_start:
        return 1 + -(-(frames - 1) // TEMPORAL_FACTOR) * TEMPORAL_FACTOR
    return -(-frames // TEMPORAL_FACTOR) * TEMPORAL_FACTOR
