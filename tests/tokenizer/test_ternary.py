"""Ternary LFQ: whole numbers to ternary values to tokens and back, and what its gradients do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.lfq.ternary import (
    TernaryQuantizer,
    tokens_to_values,
    tokens_valid,
    values_to_tokens,
)


def quantizer(dim: int = 8, layers: int = 2, levels: int = 3, digits: int = 4) -> TernaryQuantizer:
    made = TernaryQuantizer(dim, layers, levels, digits)
    made.initialise_slots(torch.logspace(3, -2, dim), 0.3)
    return made


def test_all_valid_tokens_come_back() -> None:
    every = torch.arange(1 << 18, dtype=torch.int32)
    valid = every[tokens_valid(every)]
    assert len(valid) == 3**9
    values = tokens_to_values(valid[:, None, None])
    assert values.shape == (3**9, 9, 1, 1)
    assert torch.equal(values_to_tokens(values)[:, 0, 0], valid)


def test_bits_of_a_token() -> None:
    values = torch.tensor([1.0, -1, 0, 0, 0, 0, 0, 0, 1]).view(9, 1, 1)
    assert values_to_tokens(values).item() == 0b100000001_100000011
    assert values_to_tokens(torch.zeros(9, 1, 1)).item() == 0


@pytest.mark.parametrize("token", [1 << 9, -1, 1 << 18, 0b000000011_000000001])
def test_tokens_that_mean_nothing(token: int) -> None:
    assert not tokens_valid(np.array([token], np.int32)).any()
    assert not tokens_valid(torch.tensor([token])).any()


@pytest.mark.parametrize(("digits", "layers"), [(4, 2), (5, 3), (1, 1)])
def test_every_number_within_the_limits_comes_back(digits: int, layers: int) -> None:
    made = quantizer(dim=10, layers=layers, digits=digits)
    assert made.limit.max() == (3**digits - 1) / 2
    span = torch.arange(-121.0, 122.0)
    numbers = span.expand(10, 1, -1).clamp(-made.limit[:, None, None], made.limit[:, None, None])[None]
    values = made.values(numbers)
    assert values.abs().max() <= 1
    assert torch.equal(made.numbers(values), numbers)


def test_slots_go_to_the_digits_that_are_used_most() -> None:
    made = quantizer()
    strongest = (made.channel == 0).nonzero()[:, 0]
    assert made.digit[strongest].tolist() == sorted(made.digit[strongest].tolist())
    assert (made.channel == 0).sum() >= (made.channel == 7).sum()
    assert len({*zip(made.channel.tolist(), made.digit.tolist(), strict=True)}) == 18


def test_gains_between_levels_are_geometric_means() -> None:
    made = quantizer()
    gains = made.gains(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(gains[0], torch.ones(8, 1, 1))
    torch.testing.assert_close(gains[1] ** 2, gains[0] * gains[2])
    assert (gains[2] > gains[0]).all()


def test_dead_zone() -> None:
    made = quantizer()
    scaled = torch.zeros(1, 8, 1, 4)
    scaled[0, 0, 0] = torch.tensor([0.59, 0.61, -1.59, -1.61])
    assert made.numbers(made.plain(scaled))[0, 0, 0].tolist() == [0, 1, -1, -2]


def test_forward_is_what_a_decoder_makes_of_the_values() -> None:
    torch.manual_seed(0)
    made = quantizer()
    q = torch.tensor([0.3, 1.7])
    quantized = made(torch.randn(2, 8, 3, 4) * 4, q)
    torch.testing.assert_close(made.numbers(quantized.values) / made.gains(q), quantized.decoded)
    assert torch.equal(made.plain(quantized.scaled), quantized.values)
    assert quantized.stray.shape == (2,)


def test_gradients_pass_but_never_push_further_out() -> None:
    made = quantizer(dim=9, layers=1, digits=1)
    latents = torch.tensor([0.3, 9.0, -9.0]).expand(1, 9, 1, 3).clone().requires_grad_()
    made(latents, torch.zeros(1)).decoded.sum().backward()
    assert latents.grad is not None
    # A gradient of +1 moves numbers down: away from the limit for +9, further out for -9.
    assert latents.grad[0, 0, 0].tolist() == [1, 1, 0]


def test_pressure_has_no_value_and_shrinks() -> None:
    made = quantizer()
    scaled = torch.tensor([0.4, -0.4, 2.0]).expand(1, 8, 1, 3).clone().requires_grad_()
    pressure = made.pressure(scaled, torch.ones(1, 18, 1, 3))
    assert pressure.item() == 0
    pressure.sum().backward()
    assert scaled.grad is not None
    assert torch.equal(scaled.grad[0, 0, 0].sign(), torch.tensor([1.0, -1.0, 1.0]))
    towards = made.towards(scaled)
    first = int(((made.channel == 0) & (made.digit == 0)).nonzero())
    assert towards[0, first, 0].tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("name", "place", "value"), [("channel", 0, 8), ("channel", 0, -1), ("digit", 0, 4), ("limit", 0, 5)]
)
def test_weights_with_slots_that_cannot_be_are_refused(name: str, place: int, value: int) -> None:
    state = quantizer().state_dict()
    state[name] = state[name].clone()
    state[name][place] = value
    with pytest.raises(WeightsError, match="ternary"):
        quantizer().load_state_dict(state)


@pytest.mark.parametrize("swap", [True, False])
def test_slots_given_twice_or_out_of_order_are_refused(swap: bool) -> None:
    state = {name: each.clone() for name, each in quantizer().state_dict().items()}
    own = (state["channel"] == 0).nonzero()[:2, 0]
    state["digit"][own] = state["digit"][own.flip(0)] if swap else 0
    with pytest.raises(WeightsError, match="order"):
        quantizer().load_state_dict(state)
