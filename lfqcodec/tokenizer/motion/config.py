"""Configuration of the `motion` tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.geometry import LayerCounts
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.config import MAX_WIDTH, TokenizerConfig
from lfqcodec.tokenizer.layout import Layout

VALUES = 9
MAX_BLOCKS = 64
MAX_LAYERS = 24
MAX_LEVELS = 6
MAX_DIGITS = 6


@dataclass(frozen=True)
class MotionConfig(TokenizerConfig):
    """Shape of the three networks: of first pictures (intra), anchors, and pictures between anchors.

    `width`: channels of the networks at 1/8 of the size. `channels`: latent numbers of a block. `layers`:
    tokens of a block. `levels`: qualities with steps of their own, q going from 0 to levels - 1. `digits`:
    most ternary digits of a number. `rounding`: what is added to a number's magnitude before it is rounded
    down. `encoder_blocks`, `decoder_blocks`: residual blocks. `head_channels`: channels of the last layers at
    1/4 of the size, `mask_width`: of the network that mixes the two predictions of a picture between.
    """

    architecture: str = "motion"
    intra_width: int = 192
    intra_channels: int = 88
    intra_layers: int = 18
    intra_levels: int = 6
    intra_digits: int = 5
    intra_rounding: float = 0.4
    intra_encoder_blocks: int = 4
    intra_decoder_blocks: int = 6
    anchor_width: int = 192
    anchor_channels: int = 32
    anchor_layers: int = 4
    anchor_levels: int = 4
    anchor_digits: int = 4
    anchor_rounding: float = 0.4
    anchor_encoder_blocks: int = 4
    anchor_decoder_blocks: int = 5
    between_width: int = 128
    between_channels: int = 16
    between_layers: int = 2
    between_levels: int = 4
    between_digits: int = 4
    between_rounding: float = 0.4
    between_encoder_blocks: int = 3
    between_decoder_blocks: int = 3
    mask_width: int = 48
    head_channels: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (
            ("width", MAX_WIDTH),
            ("channels", MAX_WIDTH),
            ("layers", MAX_LAYERS),
            ("levels", MAX_LEVELS),
            ("digits", MAX_DIGITS),
            ("encoder_blocks", MAX_BLOCKS),
            ("decoder_blocks", MAX_BLOCKS),
        ):
            for part in ("intra", "anchor", "between"):
                _check_count(f"{part}_{name}", getattr(self, f"{part}_{name}"), most)
        _check_count("mask_width", self.mask_width, MAX_WIDTH)
        _check_count("head_channels", self.head_channels, MAX_WIDTH)
        for part in ("intra", "anchor", "between"):
            slots = VALUES * getattr(self, f"{part}_layers")
            if slots > getattr(self, f"{part}_channels") * getattr(self, f"{part}_digits"):
                raise WeightsError(f"{part}: more slots for digits ({slots}) than digits")
            if not 0 <= getattr(self, f"{part}_rounding") <= 0.5:
                raise WeightsError(f"{part}_rounding must lie between 0 and 0.5")

    @property
    def layout(self) -> Layout:
        """The layers of tokens in coding order."""
        return Layout(LayerCounts(self.intra_layers, self.anchor_layers, self.between_layers))


def _check_count(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise WeightsError(f"{name} must be a whole number from 1 to {most}")
