"""Rounding that lets gradients through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Replace(torch.autograd.Function):
    """The value of one tensor, the gradient of another (straight-through estimation)."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, hard: Tensor) -> Tensor:
        return hard

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def replace(soft: Tensor, hard: Tensor) -> Tensor:
    """`hard` going forward, `soft` going backward."""
    result: Tensor = _Replace.apply(soft, hard.detach())  # type: ignore[no-untyped-call]
    return result


def times_power(x: Tensor, exponent: Tensor) -> Tensor:
    """x 2^exponent, exactly. The gradient of `torch.ldexp` itself is 0 for negative integer exponents."""
    one = torch.ones(exponent.shape, dtype=x.dtype, device=x.device)
    return x * torch.ldexp(one, exponent)
