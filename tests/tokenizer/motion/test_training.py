"""What only training needs: networks with gradients, and rate networks that see no more than the prior."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Intra
from lfqcodec.tokenizer.motion.network.patches import plane, to_patches
from lfqcodec.tokenizer.motion.training.rate import (
    Rate,
    Rates,
    anchor_rates,
    between_rates,
    fetch_values,
    field_features,
    intra_rates,
)

SMALL = MotionConfig(
    intra_width=16,
    intra_channels=10,
    intra_layers=4,
    intra_encoder_blocks=1,
    intra_decoder_blocks=1,
    anchor_width=16,
    anchor_channels=10,
    anchor_layers=2,
    anchor_encoder_blocks=1,
    anchor_decoder_blocks=1,
    between_width=16,
    between_channels=8,
    between_encoder_blocks=1,
    between_decoder_blocks=1,
    mask_width=8,
    head_channels=4,
)
Q = torch.tensor([0.5, 2.0])


def pictures(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(2, 3, 8, 12, generator=generator) - 0.5
    return torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic").clamp(-0.5, 0.5)


def test_intra_starts_as_a_transform_codec_and_learns() -> None:
    torch.manual_seed(0)
    network = Intra(SMALL)
    network.initialise_from(pictures())
    with torch.no_grad():
        # The linear path alone: what these networks say by chance is large beside so small a picture.
        for layer in (network.head.h, network.encoder[-1]):
            layer.weight.zero_()
    same = pictures()[:1].repeat(2, 1, 1, 1)
    decoded, quantized = network(same, torch.tensor([0.0, 3.0]))
    error = (decoded - same).square().mean((1, 2, 3))
    # Finer steps, less error; and better than one grey.
    assert error[1] < error[0]
    assert error[1] < same.var()
    assert quantized.values.shape == (2, 36, 4, 6)
    error.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_anchor_adds_to_its_prediction() -> None:
    torch.manual_seed(0)
    network = Anchor(SMALL)
    missed = 0.2 * pictures(1)
    network.initialise_from(missed)
    decoded, quantized = network(pictures() + missed, pictures(), Q)
    error = (decoded - pictures() - missed).square().mean()
    assert error < missed.square().mean()
    assert torch.equal(quantized.values, network.quantizer.plain(quantized.scaled))
    (error + quantized.stray.mean()).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_between_mixes_two_predictions() -> None:
    torch.manual_seed(0)
    network = Between(SMALL)
    first, second = to_patches(pictures()), to_patches(pictures(1))
    weight = network.weigh(first, second)
    assert weight.shape == (2, 1, 32, 48)
    assert weight.min() >= 0
    assert weight.max() <= 1
    with torch.no_grad():
        network.quantizer.gain.fill_(-20.0)
    # Nothing is worth a token: the mixture itself.
    decoded, quantized = network(pictures(2), pictures(), pictures(1), Q, torch.zeros(2))
    assert not quantized.values.any()
    torch.testing.assert_close(decoded, pictures() * weight + pictures(1) * (1 - weight))


def test_rates_of_all_parts_have_the_context_that_they_say() -> None:
    values = torch.zeros(1, 18, 4, 6)
    first = torch.zeros(1, 36, 4, 6)
    field = torch.zeros(1, 2, 3, 2, dtype=torch.int64)
    q = plane(torch.ones(1), values)
    features = field_features(field, 4, 6)
    contexts = {
        intra_rates: q,
        anchor_rates: torch.cat([fetch_values(values, field), features, q], 1),
        between_rates: torch.cat([values, features, q, q], 1),
    }
    for make, context in contexts.items():
        own = first if make is intra_rates else values
        bits, excess = make(SMALL)(own, context, own)
        assert bits.shape == (1, own.shape[1] // 9)
        assert bool((bits > 0).all())
        assert excess.shape == own.shape


def test_bits_are_those_of_a_distribution() -> None:
    """Over the three values of one slot the probabilities sum to one, whatever is around."""
    torch.manual_seed(0)
    rate = Rate(3)
    context, around = torch.randn(1, 3, 4, 4), torch.randint(-1, 2, (1, 9, 4, 4)).float()
    total = torch.zeros(())
    for value in (-1.0, 0.0, 1.0):
        values = around.clone()
        values[0, 4, 1, 2] = value
        bits, _ = rate(values, context, torch.zeros_like(values))
        total = total + 2 ** -bits[0, 4, 1, 2]
    torch.testing.assert_close(total, torch.tensor(1.0))


def test_positions_of_the_first_step_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    rate = Rate(3)
    context, values = torch.randn(1, 3, 4, 4), torch.randint(-1, 2, (1, 9, 4, 4)).float()
    other = values.clone()
    other[0, :, 0, 1] = -other[0, :, 0, 1]
    for seen, place in ((False, (0, 3)), (False, (1, 2)), (True, (0, 0))):
        first, _ = rate(values, context, torch.zeros_like(values))
        second, _ = rate(other, context, torch.zeros_like(values))
        assert torch.equal(first[0, :, *place], second[0, :, *place]) != seen


def test_excess_is_what_a_value_costs_above_zero() -> None:
    torch.manual_seed(0)
    rate = Rate(3)
    context = torch.randn(1, 3, 1, 1)
    values, zero = torch.zeros(1, 9, 1, 1), torch.zeros(1, 9, 1, 1)
    values[0, 2] = -1
    bits, excess = rate(values, context, zero)
    nothing, would = rate(zero, context, values)
    torch.testing.assert_close(excess[0, 2], bits[0, 2] - nothing[0, 2])
    torch.testing.assert_close(would, excess)
    assert not excess[0, 3].any()


def test_layers_see_those_below() -> None:
    torch.manual_seed(0)
    rates = Rates(1, 2)
    values = torch.randint(-1, 2, (1, 18, 2, 2)).float()
    context = torch.zeros(1, 1, 2, 2)
    before, _ = rates(values, context, values * 0)
    above, below = values.clone(), values.clone()
    above[:, 9:] *= -1
    below[:, :9] *= -1
    assert rates(above, context, values * 0)[0][0, 0] == before[0, 0]
    assert rates(below, context, values * 0)[0][0, 1] != before[0, 1]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (32, 0), (15, -15), (-33, 64), (-4000, 4000)])
def test_values_are_fetched_from_the_nearest_block(dx: int, dy: int) -> None:
    values = torch.arange(24.0).view(1, 1, 4, 6)
    field = torch.tensor([dx, dy]).expand(1, 2, 3, 2)
    found = fetch_values(values, field)
    # A block of 8 pixels is 32 quarter-pels wide.
    columns = (torch.arange(6) + round(dx / 32)).clamp(0, 5)
    rows = (torch.arange(4) + round(dy / 32)).clamp(0, 3)
    assert torch.equal(found[0, 0], values[0, 0][rows][:, columns])


def test_field_features_are_vectors_and_how_they_change() -> None:
    field = torch.zeros(1, 2, 3, 2, dtype=torch.int64)
    field[0, :, 1:, 0] = 64
    features = field_features(field, 4, 6)[0]
    assert features.shape == (6, 4, 6)
    assert features[0, 0].tolist() == [0, 0, 1, 1, 1, 1]
    assert features[2, 0].tolist() == [0, 0, 16, 0, 0, 0]
    assert not features[[1, 3, 4, 5]].any()
