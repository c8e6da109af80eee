"""Refinement of first pictures: it lowers what it descends on, and bands change nothing inside of them."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encode import refine
from lfqcodec.tokenizer.motion.network.networks import Intra

Q = torch.tensor([4.0])


@pytest.fixture(scope="module")
def network() -> Intra:
    torch.manual_seed(0)
    made = Intra(MotionConfig(intra_width=16, intra_channels=24, intra_layers=4, intra_decoder_blocks=2))
    made.initialise_from(picture(1))
    return made.requires_grad_(False)


def picture(seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 18, 12, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bicubic").clamp(-0.5, 0.5)


def numbers_of(network: Intra, original: torch.Tensor) -> torch.Tensor:
    return network.analyse(original, Q) * network.quantizer.gains(Q)


def test_the_lagrangian_falls(network: Intra) -> None:
    original = picture(2)
    plain = numbers_of(network, original)
    cost = refine._cost(network.quantizer.plain(plain))

    def lagrangian(scaled: torch.Tensor) -> float:
        values = network.quantizer.plain(scaled)
        decoded = network.quantizer.numbers(values) / network.quantizer.gains(Q)
        error = (network.synthesise(decoded, Q) - original).square().sum() * 255**2
        return float(error / (15000 * 2.7 ** -Q.item()) + (cost * (values != 0)).sum())

    refined = refine.refined(network, original, plain, Q, 8)
    assert refined.shape == plain.shape
    assert lagrangian(refined) < 0.99 * lagrangian(plain)


def test_bands_see_what_lies_beyond_them(network: Intra, monkeypatch: pytest.MonkeyPatch) -> None:
    original = picture(3)
    plain = numbers_of(network, original)
    whole = refine.refined(network, original, plain, Q, 3)
    monkeypatch.setattr(refine, "_BAND", 150)
    banded = refine.refined(network, original, plain, Q, 3)
    same = (banded - whole).abs() < 1e-3
    assert same.float().mean() > 0.99
