"""What a tokenizer promises that codes files (`lfqcodec.tokenizer.interface`)."""

from __future__ import annotations

import numpy as np
import pytest
from motion_support import lively_motion
from video_support import moving_picture

from lfqcodec.tokenizer.registry import parse_config

SIZE = 36, 44


@pytest.fixture(scope="module")
def tokenizer():
    """A small one in which every weight matters: many start at zero, which would hide mistakes."""
    return lively_motion()


def clip(frames: int) -> list[np.ndarray]:
    noise = np.random.default_rng(frames)
    return [
        np.clip(moving_picture(44, 36, i).astype(int) + noise.integers(-20, 21, (36, 44, 3)), 0, 255).astype(
            np.uint8
        )
        for i in range(frames)
    ]


def parts(tokenizer, pictures, reference):
    """The pictures of each group of a chunk."""
    for count in tokenizer.layout.groups(len(pictures), gop_start=reference is None):
        yield pictures[:count]
        pictures = pictures[count:]


def coded(tokenizer, pictures, reference=None, streams=None):
    """Plain tokens of the layers of each group of a chunk, the decoder's pictures, the next reference."""
    tokens, shown = [], []
    for part in parts(tokenizer, pictures, reference):
        group = tokenizer.encode(part, reference, 1.3)
        tokens.append([])
        for number, layer in enumerate(group.layers):
            if layer.stream < (streams or tokenizer.layout.streams):
                tokens[-1].append(group.options(number).plain)
                group = group.take(number, tokens[-1][-1])
        decoded, reference = group.close(decoded=True)
        shown.append(decoded)
    return tokens, np.concatenate(shown), reference


def decoded(tokenizer, tokens, pictures, before=(None, None)):
    """Pictures of a chunk with as many as `pictures`, and what is known behind it: values, a reference."""
    shown = []
    values, reference = before
    for part, own in zip(parts(tokenizer, pictures, reference), tokens, strict=True):
        values = tokenizer.read(own, len(part), SIZE, values)
        group = tokenizer.decode(values, reference)
        reference = group.reference
        shown.append(group.pictures())
    return np.concatenate(shown), (values, reference)


def same(left, right):
    """Equal tokens of all layers of equally many groups."""
    return [len(group) for group in left] == [len(group) for group in right] and all(
        np.array_equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)
    )


def first_choice(tokenizer):
    """A group on its way to the first layer in which there is something to choose, and its number."""
    group = tokenizer.encode(clip(1), None, 1.3)
    number = 0
    while (options := group.options(number)).gains is None:
        group = group.take(number, options.plain)
        number += 1
    return group, number


def test_layers_are_those_of_the_layout(tokenizer):
    _, _, reference = coded(tokenizer, clip(1))
    for pictures, before in ((clip(1), None), (clip(4), reference)):
        layers = tokenizer.encode(pictures, before).layers
        assert layers == tokenizer.layout.layers(len(pictures), SIZE, first=before is None)
        names = [layer.name for layer in layers]
        assert len(set(names)) == len(names) >= 2
        assert {layer.stream for layer in layers} <= set(range(tokenizer.layout.streams))


def test_configurations_travel_as_json(tokenizer):
    assert parse_config(tokenizer.config.to_json()) == tokenizer.config


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_the_decoder_gives_the_pictures_of_the_encoder(tokenizer, count):
    """Group after group, for every number of streams."""
    for streams in range(1, tokenizer.layout.streams + 1):
        tokens, ours, after = coded(tokenizer, clip(17), None, streams)
        theirs, behind = decoded(tokenizer, tokens, clip(17))
        assert np.array_equal(ours, theirs)
        tokens, ours, _ = coded(tokenizer, clip(17)[:count], after, streams)
        theirs, _ = decoded(tokenizer, tokens, clip(17)[:count], behind)
        assert np.array_equal(ours, theirs)
        assert ours.shape == (count, *SIZE, 3)
        layers = [layer for group in tokens for layer in group]
        assert all(layer.dtype == np.int32 and 0 <= layer.min() <= layer.max() < 1 << 18 for layer in layers)


def test_a_group_is_immutable(tokenizer):
    """Another choice for a layer can be tried from the same state, and so can another group."""
    start, number = first_choice(tokenizer)
    plain = start.options(number).plain
    other = start.take(number, np.zeros_like(plain))
    one, again = start.take(number, plain), start.take(number, plain)
    assert np.array_equal(start.options(number).plain, plain)
    assert np.array_equal(one.options(number + 1).plain, again.options(number + 1).plain)
    assert not np.array_equal(one.close(decoded=True)[0], other.close(decoded=True)[0])


def test_a_reference_is_immutable_and_matters(tokenizer):
    _, _, reference = coded(tokenizer, clip(17))
    first, shown, _ = coded(tokenizer, clip(8), reference)
    second, again, _ = coded(tokenizer, clip(8), reference)
    assert same(first, second)
    assert np.array_equal(shown, again)
    alone, _, _ = coded(tokenizer, clip(8))
    assert not same(first, alone)


def test_what_follows_does_not_matter(tokenizer):
    """Causal: what comes behind a group changes none of its tokens."""
    changed = clip(13)[:5] + [255 - picture for picture in clip(13)[5:]]
    one, _, _ = coded(tokenizer, clip(13))
    other, _, _ = coded(tokenizer, changed)
    assert same(one[:2], other[:2])
    assert not same(one, other)


def test_gains_agree_with_the_plain_tokens(tokenizer):
    """A bit is set where that gains; ternary values are rounded down where it gains little."""
    group, number = first_choice(tokenizer)
    options = group.options(number)
    subtokens = np.stack((options.plain & 511, options.plain >> 9), -1).reshape(-1)
    bits = (subtokens[:, None] >> np.arange(9) & 1).astype(bool)
    gains = options.gains.numpy() > 0
    assert options.gains.shape == (2 * options.plain.size, 9)
    assert bits[::2].any()
    assert not (bits[::2] & ~gains[::2]).any()
    assert (bits[1::2] == gains[1::2])[bits[::2]].mean() > 0.8
