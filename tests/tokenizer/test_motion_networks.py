"""The networks of motion: what is computed only in places is what is computed everywhere."""

from __future__ import annotations

import pytest
import torch
from motion_support import lively_motion
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.blocks import Region, enlarge, from_patches, near_tokens, to_patches
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer

Q = 1.3


@pytest.fixture(scope="module")
def model() -> MotionTokenizer:
    return lively_motion()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("name", ["anchor", "between"])
def test_decoding_where_the_gate_is_open_is_decoding(model: MotionTokenizer, name: str, share: float) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    h, w = 14, 19
    picked = torch.rand(1, 1, h, w, generator=generator) < share
    signs = torch.randint(-1, 2, (1, 9 * network.quantizer.layers, h, w), generator=generator)
    values = (signs * picked).float()
    pictures = to_patches(torch.rand(2, 3, 8 * h, 8 * w, generator=generator) - 0.5)
    q = torch.tensor([Q])
    if name == "anchor":
        context = network.context(pictures[:1], q)
    else:
        context = network.context(pictures[:1], pictures[1:], q, torch.zeros(1))
    decoded = network.quantizer.numbers(values) / network.quantizer.gains(q)
    everywhere = network.decode(decoded, values, context)
    torch.testing.assert_close(
        network.decode_open(decoded, values, context), everywhere, rtol=1e-5, atol=1e-6
    )
    closed = ~near_tokens(values)[0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert not everywhere[0][:, closed].any()


@pytest.mark.parametrize("name", ["anchor", "between"])
def test_the_encoder_looks_closer_where_tokens_are_likely(model: MotionTokenizer, name: str) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    prediction = (torch.rand(1, 3, 64, 64, generator=generator) - 0.5).round(decimals=2)
    change = torch.zeros_like(prediction)
    change[..., 24:40, 24:40] = 0.3
    patches, q = to_patches(prediction), torch.tensor([Q])
    context = (
        network.context(patches, q) if name == "anchor" else network.context(patches, 0 * patches, q, 0 * q)
    )
    latents = network.analyse_likely(prediction + change, context, network.quantizer.gains(q))
    exact = network.analyse(prediction + change, context)
    linear = network.into(to_patches(change))
    assert not torch.equal(latents[..., 3:5, 3:5], linear[..., 3:5, 3:5])
    torch.testing.assert_close(latents[..., :2, :], linear[..., :2, :])
    # All of it is likely where everything changes.
    everywhere = network.analyse_likely(
        prediction * 0 - prediction, context, network.quantizer.gains(q) * 1e4
    )
    torch.testing.assert_close(everywhere, network.analyse(-prediction, context), rtol=1e-4, atol=1e-5)
    assert exact.shape == latents.shape


def test_patches_are_those_of_pixel_unshuffle() -> None:
    pictures = torch.rand(2, 3, 16, 24)
    patches = F.pixel_unshuffle(pictures, 8)
    assert torch.equal(to_patches(pictures), patches)
    assert torch.equal(from_patches(patches), pictures)
    assert torch.equal(enlarge(patches, 4), F.pixel_shuffle(patches, 4))


def test_regions_grow_by_their_neighbours() -> None:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 0] = mask[3, 4] = True
    grown = Region(mask).grown()
    assert grown.mask.sum() == 8
    assert Region(mask).within(grown).tolist() == [0, 7]
