"""Latent numbers to layers of tokens: plain choices, depth, and what bits gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lfqcodec.tokenizer.lfq.ternary import VALUES, TernaryQuantizer
from lfqcodec.tokenizer.motion.encode import numbers as numbers_module
from lfqcodec.tokenizer.motion.encode.numbers import Numbers
from lfqcodec.tokenizer.motion.layout import coded_layers, depth_choices, pack_depth
from lfqcodec.tokenizer.motion.network.blocks import Pointwise

DIM, LAYERS, H, W = 14, 4, 6, 4
Q = torch.tensor([0.7])


@pytest.fixture
def numbers() -> Numbers:
    """Of two pictures, with most energy in the first channels."""
    torch.manual_seed(0)
    quantizer = TernaryQuantizer(DIM, LAYERS, levels=3, digits=4)
    quantizer.initialise_slots(torch.logspace(2, -2, DIM), 0.5)
    out = Pointwise(DIM, 192, bias=False)
    latents = torch.randn(2, DIM, H, W) * torch.logspace(1, -1, DIM)[:, None, None]
    # Blocks at the left have nothing, those beside them little.
    latents[..., :2] = 0
    latents[..., 2:, :] *= 0.2
    return Numbers.of(quantizer, out, latents, Q)


def with_depth(numbers: Numbers, choice: int) -> Numbers:
    return numbers.with_depth(pack_depth(np.full((2, H // 2, W // 2), choice, np.int32)))


def take_plain(numbers: Numbers) -> Numbers:
    for _ in range(LAYERS):
        numbers = numbers.take(numbers.options().plain)
    return numbers


def decoded(numbers: Numbers) -> torch.Tensor:
    return numbers.quantizer.numbers(numbers.values)


def test_plain_tokens_are_the_digits_of_the_rounded_numbers(numbers: Numbers) -> None:
    full = take_plain(with_depth(numbers, len(depth_choices(LAYERS)) - 1))
    assert torch.equal(full.values, numbers.quantizer.plain(numbers.scaled))


def test_depth_that_plain_tokens_need_loses_nothing(numbers: Numbers) -> None:
    options = numbers.depth()
    counts = coded_layers(options.plain, H // 2, W // 2, LAYERS)
    assert set(np.unique(counts)) > {0}
    shallow = numbers.with_depth(options.plain)
    assert torch.equal(take_plain(shallow).values, numbers.quantizer.plain(numbers.scaled))
    # And one choice less would lose something, in every block that has any.
    each = numbers.quantizer.plain(numbers.scaled).reshape(2, LAYERS, VALUES, H, W).any(2)
    last = torch.where(each, torch.arange(1, LAYERS + 1)[:, None, None], 0).amax(1)
    needed = torch.nn.functional.max_pool2d(last[:, None].float(), 2)[:, 0].repeat_interleave(2, 1)
    needed = needed.repeat_interleave(2, 2).numpy()
    choices = np.array(depth_choices(LAYERS))
    below = np.array([max([0, *choices[choices < count]]) for count in counts.flat]).reshape(counts.shape)
    assert (counts >= needed).all()
    assert ((below < needed) | (counts == 0)).all()


@pytest.mark.parametrize("choice", range(len(depth_choices(LAYERS))))
def test_shallow_blocks_take_the_nearest_numbers_that_fit(numbers: Numbers, choice: int) -> None:
    layers = depth_choices(LAYERS)[choice]
    quantizer = numbers.quantizer
    made = take_plain(with_depth(numbers, choice))
    assert not made.values[:, VALUES * layers :].any()
    slots = torch.bincount(quantizer.channel[: VALUES * layers], minlength=DIM)
    limit = ((3.0**slots - 1) / 2)[:, None, None]
    expected = torch.minimum((numbers.scaled.abs() + 0.4).floor(), limit) * numbers.scaled.sign()
    assert torch.equal(decoded(made), expected)


def test_weights_are_squared_8_bit_steps_of_the_linear_path() -> None:
    torch.manual_seed(0)
    quantizer, out = TernaryQuantizer(DIM, LAYERS, levels=3, digits=4), Pointwise(DIM, 192, bias=False)
    made = Numbers.of(quantizer, out, torch.zeros(1, DIM, 2, 2), Q)
    one = torch.zeros(1, DIM, 1, 1)
    one[0, 3] = 1
    samples = out(one / quantizer.gains(Q)) * 255
    torch.testing.assert_close(made.weight[3], samples.square().sum())


def test_later_layers_make_the_best_of_what_was_chosen(numbers: Numbers) -> None:
    """Whatever the first layer says, the others come as near as their digits can."""
    full = with_depth(numbers, 3)
    generator = torch.Generator().manual_seed(1)
    shape = full.options().plain.shape
    significance = torch.randint(0, 512, shape, generator=generator, dtype=torch.int32)
    signs = torch.randint(0, 512, shape, generator=generator, dtype=torch.int32) & significance
    made = take_rest(full.take((significance | signs << 9).numpy()))
    quantizer = numbers.quantizer
    first = {*zip(quantizer.channel[:VALUES].tolist(), quantizer.digit[:VALUES].tolist(), strict=True)}
    target = quantizer.numbers(quantizer.plain(numbers.scaled))
    for channel in range(DIM):
        limit = int(quantizer.limit[channel])
        fixed = sum(1 for c, _ in first if c == channel)
        got, wanted = decoded(made)[:, channel], target[:, channel]
        # Within the limits the numbers with these last digits are 3^fixed apart.
        inside = (wanted.abs() + 3**fixed) <= limit
        assert ((got - wanted).abs()[inside] <= 3**fixed / 2).all()
        assert got.abs().max() <= limit


def take_rest(numbers: Numbers) -> Numbers:
    while numbers.values.shape[1] < VALUES * LAYERS:
        numbers = numbers.take(numbers.options().plain)
    return numbers


def test_what_is_not_coded_is_zero(numbers: Numbers) -> None:
    options = numbers.with_depth(numbers.depth().plain).options()
    counts = coded_layers(numbers.depth().plain, H // 2, W // 2, LAYERS)
    assert not options.plain[counts == 0].any()
    assert options.plain[counts > 0].any()


def test_gains_are_differences_of_squared_error(numbers: Numbers) -> None:
    """In the last layer no digit stands above another: a bit changes one number by its step."""
    made = with_depth(numbers, 3)
    for _ in range(LAYERS - 1):
        made = made.take(made.options().plain)
    options, slots = made.options(), slice(VALUES * (LAYERS - 1), VALUES * LAYERS)
    assert options.gains is not None
    gains = options.gains.reshape(2, H, W, 2, VALUES)
    quantizer = made.quantizer
    channel, digit = quantizer.channel[slots], quantizer.digit[slots]
    rest = torch.cat([made.values, torch.zeros(2, VALUES, H, W)], 1)
    missed = (made.scaled - quantizer.numbers(rest))[:, channel]
    weight, step = made.weight[channel, None, None], (3.0**digit)[:, None, None]
    errors = {v: (missed - v * step).square() * weight for v in (-1, 0, 1)}
    alone = (channel[:, None] == channel).sum(1) == 1
    significant = (errors[0] - torch.minimum(errors[-1], errors[1])).permute(0, 2, 3, 1)
    sign = (errors[-1] - errors[1]).permute(0, 2, 3, 1)
    assert alone.any()
    torch.testing.assert_close(gains[:, :, :, 0][..., alone], significant[..., alone], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(gains[:, :, :, 1][..., alone], sign[..., alone], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("choice", [None, 1, 3])
def test_gpus_are_offered_the_same(
    numbers: Numbers, choice: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = numbers.with_depth(numbers.depth().plain) if choice is None else with_depth(numbers, choice)
    generator = torch.Generator().manual_seed(2)
    for _ in range(LAYERS):
        monkeypatch.setattr(numbers_module, "compiled", lambda tensor: True)
        found = made.options()
        monkeypatch.setattr(numbers_module, "compiled", lambda tensor: False)
        expected = made.options()
        assert np.array_equal(found.plain, expected.plain)
        assert torch.equal(found.gains, expected.gains)
        # Now and then something else is taken.
        other = torch.rand(found.plain.shape, generator=generator).numpy() < 0.2
        made = made.take(np.where(other, 0, found.plain))
