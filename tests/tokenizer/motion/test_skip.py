"""Blocks without tokens: where predictions are as good as their source, or bits are worth more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from motion_support import clip, encode_plain, lively_motion

from lfqcodec.tokenizer.motion.encode import encoder
from lfqcodec.tokenizer.motion.encode.skip import as_good, block_bits, moved, not_worth
from lfqcodec.tokenizer.motion.network.blocks import Part

SIZE = 48, 64


def test_bits_of_blocks() -> None:
    values = torch.zeros(1, 27, 4, 4)
    values[0, 0, 0, 0] = 1
    values[0, 5, 1, 1] = -1
    values[0, 20, 3, 0] = 1
    bits = block_bits(values)[0]
    # Two values in the first layer; one value in the third; nothing.
    assert bits[0, 0].item() == pytest.approx(2 + 2 + 2 * 3.3)
    assert bits[1, 0].item() == pytest.approx(2 + 3 * 2 + 3.3)
    assert bits[:, 1].tolist() == [2, 2]


def test_what_a_bit_must_save_falls_with_quality() -> None:
    gained, bits = torch.tensor([2900.0, 3100.0]), torch.ones(2)
    assert not_worth(gained, bits, 0.0).tolist() == [True, False]
    assert not_worth(gained, bits, 1.0).tolist() == [False, False]
    assert not_worth(gained, bits, -1.0).tolist() == [True, True]


def test_errors_come_along_with_motion() -> None:
    errors = torch.arange(12.0).reshape(3, 4)
    field = torch.tensor([64, -64]).expand(3, 4, 2)
    # A block to the right and one up, inside the picture.
    assert moved(errors, field).tolist() == [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]
    assert torch.equal(moved(errors, torch.zeros_like(field) + 31), errors)


def test_a_prediction_may_be_a_little_worse() -> None:
    assert as_good(torch.tensor([0.0, 1300.0, 1400.0]), torch.tensor([0.0, 1000.0, 1000.0])).tolist() == [
        True,
        True,
        False,
    ]


def test_tokens_that_do_not_help_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose weights mean little: most of its tokens are not worth their bits."""
    model = lively_motion()
    noise = np.random.default_rng(1).integers(0, 256, (*SIZE, 3))
    first, anchor = clip(1, SIZE), [noise.astype(np.uint8)]
    _, group = encode_plain(model.encode(first, None, 2.0))
    reference = group.close(decoded=False)[1]

    def count() -> int:
        tokens, _ = encode_plain(model.encode(anchor, reference, 1.0))
        return sum(np.count_nonzero(tokens[name]) for name in tokens if name.startswith("anchor."))

    some = count()
    monkeypatch.setattr(encoder, "not_worth", lambda gained, bits, q: torch.zeros_like(bits).bool())
    assert some < count()


def test_what_the_linear_path_gains() -> None:
    """Squared error without tokens, less that with them."""
    network, q = lively_motion().anchor, torch.tensor([1.3])
    generator = torch.Generator().manual_seed(1)
    shape = 9 * network.quantizer.layers, 4, 6
    values = torch.randint(-1, 2, shape, generator=generator).float()
    missed = torch.randn(4 * 6, 192, generator=generator)
    decoded = network.quantizer.numbers(values[None]) / network.quantizer.gains(q)
    left = missed / 64 - network.out(decoded)[0].flatten(1).T
    expected = (missed / 64).square().sum(1) - left.square().sum(1)
    found = network.linear_gain(Part(missed, 1 / 64), values, q)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_anchor_is_judged_by_its_own_picture() -> None:
    """However far off its reference is: what each anchor may lose would add up along a GOP."""
    model = lively_motion()
    first, anchor = clip(2, SIZE)
    _, group = encode_plain(model.encode([first], None, 2.0))
    reference = group.close(decoded=False)[1]
    tokens, _ = encode_plain(model.encode([anchor], reference, 2.0))
    assert reference.errors is not None
    assert any(tokens["anchor.1"].flat)
    worse = replace(reference, errors=reference.errors * 1e6)
    same, _ = encode_plain(model.encode([anchor], worse, 2.0))
    assert all(np.array_equal(tokens[name], same[name]) for name in tokens)
