"""Compensation: the integers of its text, whatever the vectors and the threads; and its float twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lfqcodec.tokenizer.motion.compensation import FilteredPlanes, ReferencePicture, to_samples
from lfqcodec.tokenizer.motion.interpolation import FRACTION, MIDDLE, TAPS
from lfqcodec.tokenizer.motion.network.patches import from_patch_rows
from lfqcodec.tokenizer.motion.training.compensation import compensate

HEIGHT, WIDTH = 48, 32


def picture(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)


def predicted(reference: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """The prediction as a picture, float32 [3, H, W]."""
    _, height, width = reference.shape
    return from_patch_rows(ReferencePicture(reference).predict(vectors), (height // 8, width // 8))


def field(spread: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(HEIGHT // 16, WIDTH // 16, 2, generator=generator) * spread).round().long()


def block_prediction(samples: NDArray[np.int64], y: int, x: int, dx: int, dy: int) -> int:
    """P of the module's text, for one pixel of one channel [H, W], in plain Python."""
    height, width = samples.shape

    def across(row: int) -> int:
        row = min(max(row, 0), height - 1)
        columns = [min(max((dx >> 2) + x + k - 3, 0), width - 1) for k in range(8)]
        return sum(TAPS[dx & 3][k] * (int(samples[row, columns[k]]) - 128) for k in range(8))

    return (sum(TAPS[dy & 3][m] * across((dy >> 2) + y + m - 3) for m in range(8)) + 32) >> 6


def axis_weights(place: int, blocks: int) -> dict[int, int]:
    """Weights in sixteenths of the blocks that predict a place along one axis."""
    weights = {}
    for block in range(blocks):
        at = place - 16 * block + 4
        if 0 <= at < 24:
            weight = 2 * at + 1 if at < 8 else 16 if at < 16 else 2 * (23 - at) + 1
            if (block == 0 and at < 8) or (block == blocks - 1 and at >= 16):
                weight = 16
            weights[block] = weight
    return weights


def slow_prediction(reference: torch.Tensor, vectors: torch.Tensor) -> NDArray[np.int64]:
    samples = reference.numpy().astype(np.int64)
    rows, columns, _ = vectors.shape
    out = np.zeros(samples.shape, np.int64)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            for channel in range(3):
                total = 0
                for by, wy in axis_weights(y, rows).items():
                    for bx, wx in axis_weights(x, columns).items():
                        dx, dy = vectors[by, bx].tolist()
                        total += wy * wx * block_prediction(samples[channel], y, x, dx, dy)
                out[channel, y, x] = (total + 128) >> 8
    return out


@pytest.mark.parametrize("spread", [2.0, 30.0, 5000.0])
def test_prediction_is_that_of_the_specification(spread: float) -> None:
    vectors = field(spread)
    assert np.array_equal(predicted(picture(), vectors).numpy(), slow_prediction(picture(), vectors))


def test_extreme_samples_stay_within_16_bits() -> None:
    # Samples that give every tap of the half-pel filters its own extreme, in both directions.
    signs = torch.tensor([tap > 0 for tap in TAPS[2]]).repeat(WIDTH)
    pattern = signs[:HEIGHT, None] == signs[:WIDTH]
    reference = (pattern * 255).to(torch.uint8).repeat(3, 1, 1)
    vectors = torch.full((HEIGHT // 16, WIDTH // 16, 2), 2)
    for samples in (reference, 255 - reference):
        made = predicted(samples, vectors)
        assert np.array_equal(made.numpy(), slow_prediction(samples, vectors))
        assert made.abs().max() > 128 * FRACTION


def test_threads_change_nothing() -> None:
    threads = torch.get_num_threads()
    generator = torch.Generator().manual_seed(1)
    reference = torch.randint(0, 256, (3, 256, 320), generator=generator, dtype=torch.uint8)
    vectors = torch.randint(-300, 300, (16, 20, 2), generator=generator)
    try:
        made = []
        for count in (1, 3):
            torch.set_num_threads(count)
            made.append(ReferencePicture(reference).predict(vectors))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*made)


def test_no_motion_gives_the_reference_itself() -> None:
    vectors = torch.zeros(HEIGHT // 16, WIDTH // 16, 2, dtype=torch.int64)
    assert torch.equal(to_samples(predicted(picture(), vectors)), picture())


def test_equal_vectors_move_the_picture_as_a_whole() -> None:
    vectors = torch.tensor([12, -8]).expand(HEIGHT // 16, WIDTH // 16, 2)
    moved = to_samples(predicted(picture(), vectors))
    assert torch.equal(moved[:, 2:, :-3], picture()[:, :-2, 3:])


@pytest.mark.parametrize("spread", [0.0, 3.0, 40.0, 5000.0])
def test_float_compensation_agrees_to_rounding(spread: float) -> None:
    vectors = field(spread)
    exact = predicted(picture(), vectors) / (FRACTION * 255) + (MIDDLE / 255 - 0.5)
    made = compensate(picture()[None].float() / 255 - 0.5, vectors[None])[0]
    assert (made - exact).abs().max() * 255 * FRACTION < 1.1


def test_float_compensation_passes_gradients_to_the_reference() -> None:
    reference = (picture()[None].double() / 255).requires_grad_()
    compensate(reference, field(10)[None]).sum().backward()
    assert reference.grad is not None
    # Every sample of the prediction is an average of samples with weights of sum one.
    torch.testing.assert_close(reference.grad.sum(), torch.tensor(3.0 * HEIGHT * WIDTH, dtype=torch.float64))


@pytest.mark.parametrize("spread", [2.0, 5000.0])
def test_planes_of_gpus_give_the_same(spread: float) -> None:
    vectors = field(spread)
    alike = FilteredPlanes(picture()).predict(vectors)
    assert torch.equal(alike, ReferencePicture(picture()).predict(vectors))
