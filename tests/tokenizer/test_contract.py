"""What every tokenizer promises (`lfqcodec.tokenizer.interface`), whatever its architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_support import one_thread
from video_support import moving_picture

from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.registry import build_tokenizer, parse_config

SIZE = 36, 44
SMALL = {
    "base": BaseConfig(
        stages=3,
        widths=(32, 32, 48),
        encoder_blocks=(1, 2, 1),
        decoder_blocks=(2, 1, 1),
        latent_channels=32,
        refine_channels=8,
    ),
    "magvit2": Magvit2Config(base_channels=8, groups=4, residual_blocks=1, stages=2),
}


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with one_thread():
        yield


@pytest.fixture(scope="module", params=sorted(SMALL))
def tokenizer(request):
    """A small one in which every weight matters: many start at zero, which would hide mistakes."""
    torch.manual_seed(5)
    model = build_tokenizer(SMALL[request.param]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.08 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def clip(frames: int) -> list[np.ndarray]:
    noise = np.random.default_rng(frames)
    return [
        np.clip(moving_picture(44, 36, i).astype(int) + noise.integers(-20, 21, (36, 44, 3)), 0, 255).astype(
            np.uint8
        )
        for i in range(frames)
    ]


def coded(tokenizer, pictures, reference=None, layers=None):
    """Plain tokens of the layers, the decoder's pictures, the next reference."""
    group = tokenizer.encode(pictures, reference)
    tokens = []
    for layer in range(layers or len(group.layers)):
        tokens.append(group.options(layer).plain)
        group = group.take(layer, tokens[-1])
    return tokens, *group.close(decoded=True)


def test_layers_have_names_of_their_own(tokenizer):
    names = [layer.name for layer in tokenizer.encode(clip(1)).layers]
    assert len(set(names)) == len(names) >= 2


def test_configurations_travel_as_json(tokenizer):
    assert parse_config(tokenizer.config.to_json()) == tokenizer.config


@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_the_decoder_gives_the_pictures_of_the_encoder(tokenizer, count):
    """Group after group, for every number of layers."""
    for layers in range(1, tokenizer.layout.streams + 1):
        tokens, ours, after = coded(tokenizer, clip(17), None, layers)
        theirs, reference = tokenizer.decode(tokens, 17, SIZE)
        assert np.array_equal(ours, theirs)
        tokens, ours, _ = coded(tokenizer, clip(17)[:count], after, layers)
        theirs, _ = tokenizer.decode(tokens, count, SIZE, reference)
        assert np.array_equal(ours, theirs)
        assert ours.shape == (count, *SIZE, 3)
        assert all(layer.dtype == np.int32 and 0 <= layer.min() <= layer.max() < 1 << 18 for layer in tokens)


def test_a_group_is_immutable(tokenizer):
    """Another choice for a layer can be tried from the same state, and so can another group."""
    start = tokenizer.encode(clip(5))
    plain = start.options(0).plain
    other = start.take(0, np.zeros_like(plain))
    one, again = start.take(0, plain), start.take(0, plain)
    assert np.array_equal(start.options(0).plain, plain)
    assert np.array_equal(one.options(1).plain, again.options(1).plain)
    assert not np.array_equal(one.options(1).plain, other.options(1).plain)


def test_a_reference_is_immutable_and_matters(tokenizer):
    _, _, reference = coded(tokenizer, clip(17))
    first, shown, _ = coded(tokenizer, clip(8), reference)
    second, again, _ = coded(tokenizer, clip(8), reference)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(shown, again)
    alone, _, _ = coded(tokenizer, clip(8))
    assert alone[0].shape[0] == 3  # a latent frame for the first picture, and two for the other seven
    assert first[0].shape[0] == 2


def test_what_follows_does_not_matter(tokenizer):
    """Causal in latent frames: tokens of the first five pictures are the same, whatever follows."""
    changed = clip(13)[:5] + [255 - picture for picture in clip(13)[5:]]
    one, _, _ = coded(tokenizer, clip(13))
    other, _, _ = coded(tokenizer, changed)
    assert all(np.array_equal(a[:2], b[:2]) for a, b in zip(one, other, strict=True))
    assert any(not np.array_equal(a[2:], b[2:]) for a, b in zip(one, other, strict=True))


def test_gains_agree_with_the_plain_tokens(tokenizer):
    """A bit is set where that gains."""
    options = tokenizer.encode(clip(5)).options(0)
    subtokens = np.stack((options.plain & 511, options.plain >> 9), -1).reshape(-1)
    bits = (subtokens[:, None] >> np.arange(9) & 1).astype(bool)
    assert options.gains.shape == (2 * options.plain.size, 9)
    assert np.array_equal(options.gains.numpy() > 0, bits)
