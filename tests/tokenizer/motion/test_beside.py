"""Pictures that are worked on beside each other: the same results, and errors of any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from lfqcodec.tokenizer.motion.beside import together


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_calls_inside_of_calls() -> None:
    def outer(number: int) -> list[int]:
        inner: list[Callable[[], int]] = [partial(pow, number, power) for power in range(4)]
        return together(inner)

    assert together([partial(outer, number) for number in range(6)]) == [
        [number**power for power in range(4)] for number in range(6)
    ]


def test_gradients_are_off_where_they_are_off() -> None:
    with torch.no_grad():
        assert together([torch.is_grad_enabled] * 3) == [False] * 3


@pytest.mark.parametrize("bad", [0, 2])
def test_an_error_of_any_call_is_raised(bad: int) -> None:
    with pytest.raises(ZeroDivisionError):
        together([partial(divmod, 1, abs(number - bad)) for number in range(3)])
