"""Motion fields survive their tokens, and the predictor is that of the text."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.tokenizer.motion.fields import anchor_field, anchor_tokens, between_field, between_tokens, half

SIZES = [(1, 1), (1, 7), (6, 1), (2, 2), (5, 9), (12, 3)]


def vectors(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-256, 256, (*size, 2), generator=generator)


@pytest.mark.parametrize("size", SIZES)
def test_anchor_fields_come_back(size: tuple[int, int]) -> None:
    field = vectors(size)
    for prior in (None, vectors(size, 1), field):
        tokens = anchor_tokens(field, prior)
        assert tokens.dtype == torch.int32
        assert tokens.shape == size
        assert tokens.min() >= 0
        assert tokens.max() < 1 << 18
        assert torch.equal(anchor_field(tokens, prior), field)


@pytest.mark.parametrize("size", SIZES)
def test_all_anchor_tokens_mean_something(size: tuple[int, int]) -> None:
    tokens = torch.randint(0, 1 << 18, size, dtype=torch.int32)
    field = anchor_field(tokens, None)
    assert field.min() >= -256
    assert field.max() < 256
    assert torch.equal(anchor_tokens(field, None), tokens)


def slow_anchor_tokens(field: torch.Tensor, prior: torch.Tensor) -> list[list[int]]:
    rows, columns, _ = field.shape
    made = []
    for y in range(rows):
        made.append([])
        for x in range(columns):
            token = 0
            for axis, shift in ((1, 0), (0, 9)):
                before = int(prior[y, x, axis])
                left = int(field[y, x - 1, axis]) if x else before
                above = int(field[y - 1, x, axis]) if y else before
                corner = int(field[y - 1, x + 1, axis]) if y and x < columns - 1 else before
                inner = sorted([left, above, corner])[1]
                predictor = sorted([inner, before, left])[1]
                token |= (int(field[y, x, axis]) - predictor) % 512 << shift
            made[-1].append(token)
    return made


def test_anchor_tokens_are_those_of_the_text() -> None:
    field, prior = vectors((7, 5)), vectors((7, 5), 1)
    assert anchor_tokens(field, prior).tolist() == slow_anchor_tokens(field, prior)


def test_even_motion_costs_one_token() -> None:
    field = torch.tensor([9, -4]).expand(4, 6, 2)
    tokens = anchor_tokens(field, None)
    # At the left border the field before stands in for what lies to the left.
    assert (tokens[1:, 1:] == 0).all()
    assert (anchor_tokens(field, field) == 0).all()


def test_subtoken_0_is_vertical() -> None:
    assert anchor_tokens(torch.tensor([[[0, 3]]]), None).tolist() == [[3]]
    assert anchor_tokens(torch.tensor([[[-1, 0]]]), None).tolist() == [[511 << 9]]


@pytest.mark.parametrize("size", SIZES)
def test_fields_between_come_back(size: tuple[int, int]) -> None:
    base = half(vectors(size, 1)) * 3
    field = base + vectors(size)
    tokens = between_tokens(field, base)
    assert torch.equal(between_field(tokens, base), field)
    assert not between_tokens(base, base).any()


def test_half_rounds_down() -> None:
    assert half(torch.tensor([-3, -2, -1, 0, 1, 2, 3])).tolist() == [-2, -1, -1, 0, 0, 1, 1]
