"""The networks of the rate model of `motion` as they are trained: integers going forward, real gradients.

Every product, table and rounding gives the very integers of `lfqcodec.prior.motion.network` (a test holds the
logits of both together). With `rounded` off, the same weights run as ordinary float networks: the difference
is the cost of exactness.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.errors import WeightsError
from lfqcodec.prior.motion.config import (
    HALVES,
    LIMIT,
    LOGIT_BITS,
    MOTION_CLASSES,
    VALUES,
    MotionPriorConfig,
    network_shapes,
)
from lfqcodec.prior.motion.network import classes
from lfqcodec.prior.motion.weights import TABLE, LinearSpec, MotionPriorWeights, linear_specs, logit_table
from lfqcodec.train.prior.arithmetic import replace, times_power

_MOST_EXPONENT = 14
_PARTS = "first", "second", "logits"
_UPPER, _LOWER = HALVES


class _Linear(nn.Module):
    """A matrix product with real weights that rounds as its `LinearSpec` says."""

    def __init__(self, spec: LinearSpec, gain: float) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.randn(spec.outputs, spec.inputs) * gain)
        self.bias = nn.Parameter(torch.zeros(spec.outputs))

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights [out, in], exponents int64 [out], bias [out]; the largest exponents that fit into +-127."""
        largest = self.weight.detach().abs().amax(1).clamp_min(1e-30)
        _, exponent = torch.frexp(LIMIT / largest)
        exponent = (exponent - 1).clamp(self.spec.least, _MOST_EXPONENT).long()
        scaled = times_power(self.weight, exponent[:, None]).clamp(-LIMIT, LIMIT)
        bias = times_power(self.bias, exponent + self.spec.in_bits)
        return replace(scaled, scaled.round()), exponent, replace(bias, bias.round())

    def forward(self, x: Tensor, rounded: bool) -> Tensor:
        """[n, in] -> [n, out], in units of 2^-out_bits."""
        out_bits, in_bits = self.spec.out_bits, self.spec.in_bits
        if not rounded:
            y = F.linear(x, self.weight) * 2.0 ** (out_bits - in_bits)
            return y + self.bias * 2.0**out_bits
        weight, exponent, bias = self.integers()
        y = times_power(F.linear(x, weight, bias), out_bits - in_bits - exponent)
        return replace(y, y.round())

    def load_integers(self, weight: Tensor, shift: Tensor, bias: Tensor) -> None:
        """Take what `export` gave."""
        exponent = shift + self.spec.out_bits - self.spec.in_bits
        self.weight.data = times_power(weight.float(), -exponent[:, None])
        self.bias.data = times_power(bias.float(), -exponent - self.spec.in_bits)

    def export(self) -> dict[str, NDArray[np.int64]]:
        """Integer arrays `weight`, `shift` and `bias`."""
        weight, exponent, bias = (each.detach().long().numpy() for each in self.integers())
        shift = exponent + self.spec.in_bits - self.spec.out_bits
        return {"weight": weight, "shift": shift, "bias": bias}


class _Network(nn.Module):
    """Two hidden layers and logits."""

    def __init__(self, first: LinearSpec, second: LinearSpec, logits: LinearSpec) -> None:
        super().__init__()
        # Few features are not 0.
        self.first = _Linear(first, (first.inputs / 4) ** -0.5)
        self.second = _Linear(second, second.inputs**-0.5)
        self.logits = _Linear(logits, 0.0)

    def forward(self, features: Tensor, rounded: bool) -> Tensor:
        """Logits in nats, float32 [n, logits]."""
        x = self.first(features, rounded).clamp(0, LIMIT)
        x = self.second(x, rounded).clamp(0, LIMIT)
        out: Tensor = self.logits(x, rounded) * 0.5**LOGIT_BITS
        return out


class MotionPriorNetwork(nn.Module):
    """All networks of a rate model."""

    def __init__(self, config: MotionPriorConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(network_shapes(config))
        specs = linear_specs(config)
        self.networks = nn.ModuleDict(
            {
                _key(name): _Network(specs[f"{name}.first"], specs[f"{name}.second"], specs[f"{name}.logits"])
                for name in self.names
            }
        )

    def bits(self, name: str, features: Tensor, subtokens: Tensor, *, rounded: bool = True) -> Tensor:
        """What a network's part of tokens costs: features [n, inputs], subtokens int64 [n, 2] -> [n] bits."""
        logits = self.networks[_key(name)](features, rounded)
        return code_length(name, logits, subtokens) / math.log(2)

    def load(self, weights: MotionPriorWeights) -> set[str]:
        """Begin with the integers of another rate model, and return the names of networks that it lacks.

        Raises `WeightsError` where a network has another shape there.
        """
        own, given = network_shapes(self.config), network_shapes(weights.config)
        for name in sorted(own.keys() & given.keys()):
            if own[name] != given[name]:
                raise WeightsError(f"the prior to start from has another shape of {name}")
            for part in _PARTS:
                linear = getattr(self.networks[_key(name)], part)
                kinds = ("weight", "shift", "bias")
                linear.load_integers(
                    *(torch.from_numpy(weights.arrays[f"{name}.{part}.{kind}"]) for kind in kinds)
                )
        return own.keys() - given.keys()

    def parameters_of(self, name: str) -> list[str]:
        """Names of the parameters of a network."""
        key = _key(name)
        return [f"networks.{key}.{each}" for each, _ in self.networks[key].named_parameters()]

    def export(self) -> MotionPriorWeights:
        """The integers. Raises `WeightsError` where training has left their range."""
        arrays: dict[str, NDArray[np.int64]] = {TABLE: logit_table()}
        for name in self.names:
            network = self.networks[_key(name)]
            for part in _PARTS:
                linear = getattr(network, part)
                arrays |= {f"{name}.{part}.{kind}": array for kind, array in linear.export().items()}
        return MotionPriorWeights(self.config, arrays)


def _key(name: str) -> str:
    return name.replace(".", "_")


def code_length(name: str, logits: Tensor, subtokens: Tensor) -> Tensor:
    """Nats of subtokens int64 [n, 2] under the logits of a network of that name, float32 [n].

    Candidates follow as further columns where the network has logits for them.
    """
    kind = name.partition(".")[0]
    first, second = subtokens[:, 0], subtokens[:, 1]
    if kind == "motion":
        symbols = second if name.endswith(".dx") else first
        of_symbol, widths, _ = (torch.from_numpy(each) for each in classes())
        found = of_symbol[symbols][:, None]
        shares = logits.log_softmax(1)
        ways = [shares.gather(1, found) - widths[found].log()]
        # Whatever candidates are the symbol add to its chances.
        hits = subtokens[:, 2:] == symbols[:, None]
        ways.append(shares[:, MOTION_CLASSES:].masked_fill(~hits, -math.inf))
        return -torch.cat(ways, 1).logsumexp(1)
    if kind == "depth":
        return _pick(logits[:, :_LOWER], first >> 4) + _pick(logits[:, _LOWER:], first & 15)
    significance = _pick(logits[:, :_UPPER], first >> 4) + _pick(logits[:, _UPPER:-VALUES], first & 15)
    bits = torch.arange(VALUES)
    significant, positive = first[:, None] >> bits & 1, second[:, None] >> bits & 1
    signs = F.softplus(logits[:, -VALUES:] * (1 - 2 * positive))
    return significance + (signs * significant).sum(1)


def _pick(logits: Tensor, values: Tensor) -> Tensor:
    return F.cross_entropy(logits, values, reduction="none")
