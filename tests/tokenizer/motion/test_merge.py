"""Merging makes fields cheaper, never dearer, and by the neighbours that the prior knows."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.tokenizer.motion.encode.merge import merge, vector_bits

ROWS, COLUMNS = 7, 9


def vectors(*each: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(each)


@pytest.mark.parametrize(
    ("vector", "candidates", "bits"),
    [
        ((4, 0), [(4, 0), (4, 0), (4, 0), (4, 0)], 0.1),
        ((4, 0), [(4, 0), (0, 0), (4, 0), (4, 0)], 0.6),
        ((4, 0), [(0, 0), (0, 0), (9, 9), (4, 0)], 2.8),
        # The median of the first three is (2, 2), and so is that of it, (4, 4) and (0, 0): 3 + 4 steps away.
        ((5, 6), [(0, 0), (8, 2), (2, 8), (4, 4)], 4.0 + 1.55 * 3),
    ],
)
def test_bits_of_a_vector(vector: tuple[int, int], candidates: list[tuple[int, int]], bits: float) -> None:
    found = vector_bits(vectors(vector), vectors(*candidates)[:, None])
    assert found.item() == pytest.approx(bits)


def bits_of(field: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """What a field costs in all, in plain loops."""
    total = torch.zeros(())
    for y in range(ROWS):
        for x in range(COLUMNS):
            own = before[y, x]
            left = field[y, x - 1] if x else own
            above = field[y - 1, x] if y else own
            corner = field[y - 1, x + 1] if y and x + 1 < COLUMNS else own
            around = torch.stack([left, above, corner, own])[:, None]
            total = total + vector_bits(field[y, x][None], around)[0]
    return total


def random_field(seed: int, spread: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(ROWS, COLUMNS, 2, generator=generator) * spread).round().long()


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_never_rises(seed: int) -> None:
    """Of SAD + lambda * bits, which the loops above count; with more rounds it falls further."""
    field, before, wanted = (
        random_field(seed),
        random_field(seed + 10),
        random_field(seed + 20).reshape(-1, 2),
    )
    lam = torch.full((ROWS * COLUMNS,), 3.0)

    def sad(tried: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        return (tried - wanted[chosen]).abs().sum(-1).float() * 4

    def cost(found: torch.Tensor) -> float:
        errors = sad(found.reshape(1, -1, 2), torch.arange(ROWS * COLUMNS)).sum()
        return float(errors + 3.0 * bits_of(found, before))

    costs = [cost(merge(sad, field, before, lam, rounds)) for rounds in (0, 1, 2, 8)]
    assert costs[0] == pytest.approx(cost(field))
    assert costs[0] > costs[1]
    assert costs[1] >= costs[2] >= costs[3]


def test_a_block_that_strays_comes_back() -> None:
    """Where it hardly matters for the error, and stays where it does."""
    field = torch.tensor([12, -4]).expand(ROWS, COLUMNS, 2).clone()
    field[3, 4] = torch.tensor([13, -4])
    before = torch.zeros_like(field)
    lam = torch.full((ROWS * COLUMNS,), 10.0)
    stray = 3 * COLUMNS + 4
    for error, expected in ((20.0, 12), (1000.0, 13)):

        def sad(tried: torch.Tensor, chosen: torch.Tensor, error: float = error) -> torch.Tensor:
            return ((tried[..., 0] != torch.where(chosen == stray, 13, 12)) * error).float()

        found = merge(sad, field, before, lam, 3)
        assert found[3, 4, 0] == expected
        assert (found != field).sum() == (expected == 12)
