"""Layers that compute with integers going forward and with real numbers going backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior.config import LIMIT, SCORE_LIMIT, SCORE_SHIFT, SCORE_TABLE, SCORE_UNITS
from lfqcodec.prior.features import signs
from lfqcodec.prior.weights import LinearSpec

_MOST_EXPONENT = 14
_SCALE = 1 / (1 << SCORE_SHIFT)
NAT = SCORE_UNITS << SCORE_SHIFT
"""Units of attention scores in a nat."""


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


class QuantLinear(nn.Module):
    """A matrix product with real weights that rounds as its `LinearSpec` says."""

    def __init__(self, spec: LinearSpec, gain: float) -> None:
        super().__init__()
        self.spec = spec
        weight = torch.randn(spec.outputs, spec.inputs) * gain
        # Four dimensions mark the inner matrices for Muon (lfqcodec.train.optim).
        self.weight = nn.Parameter(weight[:, :, None, None] if spec.inner else weight)
        # Logits start as functions of the single bits of a symbol; what they lack is learned on top.
        self.bitwise = nn.Parameter(torch.zeros(SUBTOKEN_BITS, spec.inputs)) if spec.biased else None
        self.bias = nn.Parameter(torch.zeros(spec.outputs)) if spec.biased else None
        out_bits = torch.tensor(spec.out_bits)
        self.register_buffer("out_bits", out_bits, persistent=False)
        symbol_signs = signs(torch.arange(SYMBOLS))[:, :SUBTOKEN_BITS]
        self.register_buffer("symbol_signs", symbol_signs, persistent=False)

    def real_weight(self) -> Tensor:
        """float32 [out, in]."""
        weight = self.weight.flatten(1)
        if self.bitwise is not None:
            assert isinstance(self.symbol_signs, Tensor)
            weight = weight + self.symbol_signs @ self.bitwise
        return weight

    def integers(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Integer weights float32 [out, in], exponents int64 [out], integer bias float32 [out].

        The exponent is the largest at which the row fits into +-127.
        """
        weight = self.real_weight()
        largest = weight.detach().abs().amax(1).clamp_min(1e-30)
        _, exponent = torch.frexp(LIMIT / largest)
        exponent = (exponent - 1).clamp(self.spec.least, _MOST_EXPONENT).long()
        scaled = times_power(weight, exponent[:, None]).clamp(-LIMIT, LIMIT)
        bias = None
        if self.bias is not None:
            real = times_power(self.bias, exponent + self.spec.in_bits)
            bias = replace(real, real.round())
        return replace(scaled, scaled.round()), exponent, bias

    def forward(self, x: Tensor, rounded: bool) -> Tensor:
        """[n, in] -> [n, out]; x may have only the first inputs."""
        assert isinstance(self.out_bits, Tensor)
        if not rounded:
            y = torch.nn.functional.linear(x, self.real_weight()[:, : x.shape[1]])
            y = times_power(y, self.out_bits - self.spec.in_bits)
            return y if self.bias is None else y + times_power(self.bias, self.out_bits)
        weight, exponent, bias = self.integers()
        product = torch.nn.functional.linear(x, weight[:, : x.shape[1]], bias)
        y = times_power(product, self.out_bits - self.spec.in_bits - exponent)
        return replace(y, y.round())

    def export(self) -> dict[str, NDArray[np.int64]]:
        """Integer arrays `weight`, `shift` and, for logits, `bias`."""
        assert isinstance(self.out_bits, Tensor)
        weight, exponent, bias = (None if t is None else t.detach().cpu() for t in self.integers())
        assert weight is not None
        assert exponent is not None
        shift = exponent + self.spec.in_bits - self.out_bits.cpu()
        arrays = {"weight": weight.long().numpy(), "shift": shift.numpy()}
        if bias is not None:
            arrays["bias"] = bias.long().numpy()
        return arrays


class _Attention(torch.autograd.Function):
    """`lfqcodec.prior.arithmetic.attend` for all windows at once; the gradient is that of a softmax.

    Written by hand because the weights alone are kept for the way back, not every step to them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        place: Tensor,
        none: Tensor,
        unseen: Tensor,
        table: Tensor,
        rounded: bool,
    ) -> Tensor:
        score = (query @ key.mT).add_(place).mul_(_SCALE).masked_fill_(unseen, -4 * SCORE_LIMIT * _SCALE)
        none = none * _SCALE
        top = torch.maximum(score.amax(-1, keepdim=True), none)
        weight, empty = _weigh(score.neg_().add_(top), table, rounded), _weigh(top - none, table, rounded)
        total = weight.sum(-1, keepdim=True) + empty
        mixed = weight @ value
        ctx.save_for_backward(query, key, value, weight.div_(total), empty / total, mixed / total)
        return (2 * mixed + total).div_(2 * total).floor_() if rounded else mixed / total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, share, empty, mean = ctx.saved_tensors
        grad = grads[0]
        inner = (grad * mean).sum(-1, keepdim=True)
        to_score = (grad @ value.mT).sub_(inner).mul_(share).mul_(1 / NAT)
        to_none = (empty * inner).sum((0, 1, 3, 4)).view(-1, 1, 1) * (-1 / NAT)
        return (
            to_score @ key,
            to_score.mT @ query,
            share.mT @ grad,
            to_score.sum((0, 1)),
            to_none,
            None,
            None,
            None,
        )


def _weigh(distance: Tensor, table: Tensor, rounded: bool) -> Tensor:
    if not rounded:
        return 255 * torch.exp(distance * (-1 / SCORE_UNITS))
    index = distance.clamp_(max=SCORE_TABLE - 1).to(torch.int32)
    return table.index_select(0, index.view(-1)).view(index.shape)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    place: Tensor,
    none: Tensor,
    unseen: Tensor,
    table: Tensor,
    rounded: bool,
) -> Tensor:
    """Attention in windows: [N, windows, heads, 64, c] looks at [N, windows, heads, k, c] -> like `query`.

    `place` [heads, 64, k] and `none` [heads, 1, 1] in score units; `unseen` bool [N, windows, 1, 64, k] is
    True where a query does not look at a key; `table` float32 [256].
    """
    result: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, place, none, unseen, table, rounded
    )
    return result
