"""A small `motion` tokenizer and pictures for it."""

from __future__ import annotations

import numpy as np
import torch

from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encode.encoder import MotionGroupEncoder
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer

SMALL = MotionConfig(
    intra_width=16,
    intra_channels=12,
    intra_layers=3,
    intra_levels=3,
    intra_digits=3,
    intra_encoder_blocks=1,
    intra_decoder_blocks=1,
    anchor_width=16,
    anchor_channels=10,
    anchor_encoder_blocks=1,
    anchor_decoder_blocks=2,
    between_width=8,
    between_channels=8,
    between_encoder_blocks=1,
    between_decoder_blocks=1,
    mask_width=8,
    head_channels=4,
)
Q = 1.3


def lively_motion() -> MotionTokenizer:
    """A tokenizer in which every weight matters: many start at zero, which would hide mistakes."""
    torch.manual_seed(5)
    model = MotionTokenizer(SMALL).eval()
    model.intra.initialise_from(torch.rand(8, 3, 64, 64) - 0.5)
    for network in (model.anchor, model.between):
        network.initialise_from((torch.rand(8, 3, 64, 64) - 0.5) / 8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "quantizer" not in name:
                parameter.add_(0.03 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def clip(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """A moving smooth picture and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    frames = []
    for t in range(count):
        wave = np.sin((x - 2.3 * t) / 5) + np.cos((y + 1.2 * t) / 7)
        frame = 128 + 40 * wave[..., None] * np.array([1, 0.6, -0.8]) + rng.normal(0, 3, (*size, 3))
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def encode_plain(encoder: MotionGroupEncoder) -> tuple[dict[str, np.ndarray], MotionGroupEncoder]:
    """The plain tokens of all layers by name, and the encoder that took them."""
    tokens = {}
    for number, layer in enumerate(encoder.layers):
        tokens[layer.name] = encoder.options(number).plain
        encoder = encoder.take(number, tokens[layer.name])
    return tokens, encoder


def number_of(encoder: MotionGroupEncoder, name: str) -> int:
    """The number of the layer of that name."""
    return [layer.name for layer in encoder.layers].index(name)
