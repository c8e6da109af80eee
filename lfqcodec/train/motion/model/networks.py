"""The networks of the `motion` tokenizer with what training needs besides: rates, and a group's whole path.

Pictures are float [B, 3, H, W] in [-0.5, 0.5], H and W multiples of 16; q float [B].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lfqcodec.tokenizer.lfq.ternary import VALUES, Quantized, TernaryQuantizer
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encode.lagrangian import BASE
from lfqcodec.tokenizer.motion.encode.search import BETWEEN, LAMBDA
from lfqcodec.tokenizer.motion.fields import half
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Intra
from lfqcodec.tokenizer.motion.network.patches import plane
from lfqcodec.tokenizer.motion.training.compensation import compensate
from lfqcodec.tokenizer.motion.training.rate import (
    Rates,
    anchor_rates,
    between_rates,
    fetch_values,
    field_features,
    intra_rates,
)
from lfqcodec.train.motion.model.search import samples, search_for

_RATES = "rates"


class Coded(NamedTuple):
    """Pictures after coding.

    `decoded` float [B, 3, H, W], or [B, n, 3, H, W] of a group; `bits` float [B, layers]; `pull` float [B], a
    term of value 0 whose gradient shrinks numbers by what they cost; `stray` float [B], or [B, n], the
    squared rounding error of latents in 8-bit steps.
    """

    decoded: Tensor
    bits: Tensor
    pull: Tensor
    stray: Tensor


class Chain(NamedTuple):
    """What a group hands on to the next: its decoded anchor, the anchor's ternary values and its field."""

    picture: Tensor
    values: Tensor
    field: Tensor


class IntraModel(Intra):
    """First pictures, and what their tokens cost."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        self.rates = intra_rates(config)

    def code(self, pictures: Tensor, q: Tensor) -> Coded:
        """Code first pictures."""
        decoded, quantized = self(pictures, q)
        bits, pull = _costs(self.quantizer, self.rates, quantized, plane(q, quantized.values))
        return Coded(decoded, bits, pull, quantized.stray)


class _Anchor(Anchor):
    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        self.rates = anchor_rates(config)


class _Between(Between):
    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        self.rates = between_rates(config)


class GroupModel(nn.Module):
    """Groups of 4, 2 or 1 pictures: anchor, middle, two quarters, and what their tokens cost."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.anchor, self.between = _Anchor(config), _Between(config)
        self._values = VALUES * config.anchor_layers

    def first(self, pictures: Tensor) -> Chain:
        """A chain that begins with these decoded pictures."""
        batch, _, h, w = pictures.shape
        values = pictures.new_zeros(batch, self._values, h // 8, w // 8)
        field = torch.zeros(batch, h // 16, w // 16, 2, dtype=torch.int64, device=pictures.device)
        return Chain(pictures, values, field)

    def code(self, pictures: Tensor, chain: Chain, q: Tensor) -> tuple[Coded, Chain]:
        """Code a group [B, n, 3, H, W] of 4, 2 or 1 pictures.

        Bits are those of the layers of anchor, middle and both quarters.
        """
        batch, size, _, h, w = pictures.shape
        search = search_for(pictures.device)
        lam = LAMBDA * BASE ** (-q / 2)

        earlier = chain.picture
        before = search.reference(earlier)
        field = search.anchor(pictures[:, -1], before, chain.field, lam)
        anchor, anchor_latents = self.anchor(pictures[:, -1], compensate(earlier, field), q)
        anchor = anchor.clamp(-0.5, 0.5)
        values = anchor_latents.values
        level = plane(q, values)
        context = torch.cat(
            [fetch_values(chain.values, field), field_features(field, h // 8, w // 8), level], 1
        )
        bits, pull = _costs(self.anchor.quantizer, self.anchor.rates, anchor_latents, context)
        end = Chain(anchor, values, field)
        if size == 1:
            return Coded(anchor[:, None], bits, pull, anchor_latents.stray[:, None]), end

        after = search.reference(anchor)
        place = size // 2 - 1
        middle_field = search.between(pictures[:, place], before, after, half(field), lam * BETWEEN)
        predictions = compensate(earlier, middle_field), compensate(anchor, -middle_field)
        centre, latents = self.between(pictures[:, place], *predictions, q, torch.zeros_like(q))
        decoded, fields, level_of = [centre.clamp(-0.5, 0.5)], [middle_field], [level * 0]
        if size == 4:
            middle = search.reference(decoded[0])
            quarter_fields = search.between(
                torch.cat([pictures[:, 0], pictures[:, 2]]),
                search.joined(before, middle),
                search.joined(middle, after),
                half(middle_field).repeat(2, 1, 1, 1),
                lam.repeat(2) * BETWEEN,
            )
            predictions = (
                compensate(torch.cat([earlier, decoded[0]]), quarter_fields),
                compensate(torch.cat([decoded[0], anchor]), -quarter_fields),
            )
            quarters, quarter_latents = self.between(
                torch.cat([pictures[:, 0], pictures[:, 2]]),
                *predictions,
                q.repeat(2),
                torch.ones_like(q).repeat(2),
            )
            decoded += quarters.clamp(-0.5, 0.5).chunk(2)
            latents = Quantized(*map(torch.cat, zip(latents, quarter_latents, strict=True)))
            fields.append(quarter_fields)
            level_of += [level * 0 + 1] * 2

        many = size - 1
        # From one reference to the other: twice the way to either.
        features = field_features(torch.cat(fields) * 2, h // 8, w // 8)
        context = torch.cat(
            [values.repeat(many, 1, 1, 1), features, level.repeat(many, 1, 1, 1), torch.cat(level_of)], 1
        )
        own_bits, own_pull = _costs(self.between.quantizer, self.between.rates, latents, context)
        strays = [*latents.stray.chunk(many), anchor_latents.stray]
        # From coding order to that of time.
        order = [1, 0, 2, 3] if size == 4 else [0, 1]
        shown = [*decoded, anchor]
        coded = Coded(
            torch.stack([shown[k] for k in order], 1),
            torch.cat([bits, *own_bits.chunk(many)], 1),
            pull + own_pull.reshape(many, batch).sum(0),
            torch.stack([strays[k] for k in order], 1),
        )
        return coded, end


def _costs(
    quantizer: TernaryQuantizer, rates: Rates, quantized: Quantized, context: Tensor
) -> tuple[Tensor, Tensor]:
    """Bits by layer [B, layers], and the term for the gradient [B]."""
    bits, excess = rates(quantized.values, context, quantizer.towards(quantized.scaled))
    return bits, quantizer.pressure(quantized.scaled, excess)


def is_rate(name: str) -> bool:
    """Whether a parameter belongs to the rate networks, which only training needs."""
    return _RATES in name.split(".")


def eight_bits(pictures: Tensor) -> Tensor:
    """Rounded to 8-bit samples, as references are."""
    return samples(pictures) / 255 - 0.5
