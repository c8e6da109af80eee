"""The networks: pictures, and what predictions miss, to latent numbers at 1/8 of the size, and back.

A linear path, principal components at first, goes beside networks whose output starts near zero. Encoders and
decoders of predicted pictures see the prediction; their decoders act only where there are tokens (the gate).

Pictures are float32 [B, 3, H, W] in [-0.5, 0.5], H and W multiples of 8; q is float32 [B]. Latents are
float32 [B, channels, H/8, W/8] before scaling by the quantizer's gains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from lfqcodec.tokenizer.lfq.ternary import Quantized, TernaryQuantizer
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encode.effort import MEDIUM
from lfqcodec.tokenizer.motion.network.blocks import Head, Part, Pointwise, Stack
from lfqcodec.tokenizer.motion.network.patches import (
    SAMPLES,
    from_patches,
    near_tokens,
    plane,
    to_patches,
    to_pixels,
)
from lfqcodec.tokenizer.motion.network.region import Region

PIXELS = SAMPLES // 3
Rows = TypeVar("Rows", Tensor, Part)


@dataclass(frozen=True)
class Context:
    """What encoder and decoder see besides, of one picture: `parts` of all positions, `constants` [k]."""

    parts: tuple[Part, ...]
    constants: Tensor

    def at(self, region: Region) -> list[Part]:
        """The parts in a region."""
        return [part.at(region) for part in self.parts]


class Intra(nn.Module):
    """First pictures."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        width, dim = config.intra_width, config.intra_channels
        self.into, self.out = Pointwise(SAMPLES, dim), Pointwise(dim, SAMPLES)
        self.encoder = Stack(SAMPLES + 1, width, config.intra_encoder_blocks, dim)
        self.decoder = Stack(dim + 1, width, config.intra_decoder_blocks)
        self.head = Head(width, config.head_channels)
        self.quantizer = TernaryQuantizer(
            dim, config.intra_layers, config.intra_levels, config.intra_digits, config.intra_rounding
        )

    @torch.no_grad()
    def initialise_from(self, pictures: Tensor) -> None:
        """Start the linear path and the slots from the principal components of pictures [N, 3, H, W]."""
        patches = to_patches(pictures).permute(0, 2, 3, 1).reshape(-1, SAMPLES)
        mean = patches.mean(0)
        variance, basis = principal_components(patches - mean, self.quantizer.dim)
        assert self.into.bias is not None
        assert self.out.bias is not None
        self.into.weight.copy_(basis.T)
        self.into.bias.copy_(-(mean @ basis))
        self.out.weight.copy_(basis)
        self.out.bias.copy_(mean)
        self.quantizer.initialise_slots(variance, 0.15)

    def analyse(self, pictures: Tensor, q: Tensor) -> Tensor:
        """Pictures to latents."""
        patches = to_patches(pictures)
        seen = torch.cat([patches, plane(q, patches)], 1)
        return (self.into(patches) + self.encoder(seen)).float()  # type: ignore[no-any-return]

    def synthesise(self, decoded: Tensor, q: Tensor) -> Tensor:
        """Decoded latents to pictures."""
        seen = torch.cat([decoded, plane(q, decoded)], 1)
        features = self.decoder(seen)
        return (from_patches(self.out(decoded)) + self.head(features)).float()  # type: ignore[no-any-return]

    def forward(self, pictures: Tensor, q: Tensor) -> tuple[Tensor, Quantized]:
        """For training: pictures -> what is decoded of them, and the quantized latents."""
        quantized = self.quantizer(self.analyse(pictures, q), q)
        return self.synthesise(quantized.decoded, q), quantized


class _Residual(nn.Module, ABC):
    """What anchors and pictures between share."""

    into: Pointwise
    quantizer: TernaryQuantizer
    out: Pointwise
    encoder: Stack
    decoder: Stack

    @torch.no_grad()
    def initialise_from(self, residuals: Tensor) -> None:
        """Start the linear path and the slots from the principal components of residuals [N, 3, H, W]."""
        patches = to_patches(residuals).permute(0, 2, 3, 1).reshape(-1, SAMPLES)
        variance, basis = principal_components(patches, self.quantizer.dim)
        self.into.weight.copy_(basis.T)
        self.out.weight.copy_(basis)
        self.quantizer.initialise_slots(variance, 0.45)

    @abstractmethod
    def shown(self, patches: Rows, missed: Rows) -> list[Rows]:
        """What the encoder sees of a picture and of what its prediction missed."""

    @abstractmethod
    def finish(self, features: Tensor, within: Tensor) -> Tensor:
        """Features of the decoder to residuals [B, 3, H, W]; `within` as `Stack` has it."""

    @abstractmethod
    def finish_rows(self, rows: Tensor, region: Region) -> Tensor:
        """The same for a region of one picture: rows to patches [n, 192]."""

    def analyse(self, pictures: Tensor, context: Tensor, q: Tensor) -> Tensor:
        """Pictures to latents as `analyse_likely` gives them; `context` is what `context` gave."""
        patches = to_patches(pictures)
        missed = patches - context[:, :SAMPLES]
        latents = self.into(missed).float()
        likely = _any_over(MEDIUM.likely, latents.detach() * self.quantizer.gains(q))[:, None].float()
        seen = torch.cat([*self.shown(patches, missed), context], 1)
        return latents + likely * self.encoder(seen, likely).float()  # type: ignore[no-any-return]

    def analyse_likely(
        self,
        patches: Part,
        missed: Part,
        context: Context,
        gains: Tensor,
        grid: tuple[int, int],
        likely: float = MEDIUM.likely,
    ) -> Tensor:
        """Patches of one picture, and what its prediction missed, to latents [1, channels, h, w].

        The network acts only where there are likely to be tokens: where a number is over `likely`. `grid` is
        (h, w).
        """
        latents = self.into.parts([missed], gains.new_zeros(0))
        region = Region(_any_over(likely, latents * gains.flatten()).reshape(grid))
        if len(region):
            shown = [part.at(region) for part in self.shown(patches, missed)]
            rows = self.encoder.rows([*shown, *context.at(region)], context.constants, region)
            latents.index_add_(0, region.positions, rows)
        return latents.reshape(1, *grid, -1).permute(0, 3, 1, 2)

    def linear_gain(self, missed: Part, values: Tensor, q: Tensor) -> Tensor:
        """How much less squared error the linear path alone leaves of what predictions missed, float32 [n].

        Of samples in [-0.5, 0.5]; `missed` are patches of one picture, ternary `values` [9 * layers, h, w].
        """
        decoded, out = self._decoded(values.flatten(1).T, q), self.out.weight
        alike = missed.rows @ (2 * missed.scale * out)
        return ((alike - decoded @ (out.T @ out)) * decoded).sum(1)

    def _decoded(self, rows: Tensor, q: Tensor) -> Tensor:
        """Decoded latents [n, channels] of rows of ternary values [n, 9 * layers]."""
        return self.quantizer.number_rows(rows).div_(self.quantizer.gains(q).flatten())

    def decode(self, decoded: Tensor, values: Tensor, context: Tensor) -> Tensor:
        """Decoded latents to residuals [B, 3, H, W] as `decode_open` gives them."""
        near = near_tokens(values)
        within = near[:, None].float()
        features = self.decoder(torch.cat([decoded, context], 1), within)
        finished = self.finish(features, within).float()
        return from_patches(self.out(decoded)).float() + to_pixels(near) * finished

    def decode_open(self, values: Tensor, q: Tensor, context: Context) -> tuple[Region, Tensor]:
        """Ternary values of one picture [9 * layers, h, w] to residuals: where, and as patches [n, 192].

        The gate are blocks with tokens and their neighbours; the network sees nothing beyond.
        """
        gate = Region(near_tokens(values[None])[0])
        if not len(gate):
            return gate, values.new_zeros(0, SAMPLES)
        decoded = self._decoded(values.flatten(1).index_select(1, gate.positions).T, q)
        features = self.decoder.rows([Part(decoded), *context.at(gate)], context.constants, gate)
        return gate, self.out.rows(decoded).add_(self.finish_rows(features, gate))


class Anchor(_Residual):
    """The last picture of a group, predicted from the anchor before."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        width, dim = config.anchor_width, config.anchor_channels
        self.into, self.out = Pointwise(SAMPLES, dim, bias=False), Pointwise(dim, SAMPLES, bias=False)
        self.encoder = Stack(2 * SAMPLES + 1, width, config.anchor_encoder_blocks, dim)
        self.decoder = Stack(dim + SAMPLES + 1, width, config.anchor_decoder_blocks)
        self.head = Head(width, config.head_channels)
        self.quantizer = TernaryQuantizer(
            dim, config.anchor_layers, config.anchor_levels, config.anchor_digits, config.anchor_rounding
        )

    def context(self, prediction: Tensor, q: Tensor) -> Tensor:
        """What encoder and decoder see besides, of predictions as patches: [B, 193, h, w]."""
        return torch.cat([prediction, plane(q, prediction)], 1)

    def shown(self, patches: Rows, missed: Rows) -> list[Rows]:
        return [patches]

    def finish(self, features: Tensor, within: Tensor) -> Tensor:
        return self.head(features, within)  # type: ignore[no-any-return]

    def finish_rows(self, rows: Tensor, region: Region) -> Tensor:
        return self.head.rows(rows, region)

    def forward(self, pictures: Tensor, prediction: Tensor, q: Tensor) -> tuple[Tensor, Quantized]:
        """For training: pictures and predictions -> what is decoded, and the quantized latents.

        The gradient of a prediction is that of what is decoded, as if residuals did not depend on it.
        Rounding passes gradients, and those through the networks of many anchors in a row explode.
        """
        context = self.context(to_patches(prediction.detach()), q)
        quantized = self.quantizer(self.analyse(pictures, context, q), q)
        return prediction + self.decode(quantized.decoded, quantized.values, context), quantized


class Between(_Residual):
    """A picture between two decoded ones, which predict it both."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        width, dim = config.between_width, config.between_channels
        self.into, self.out = Pointwise(SAMPLES, dim, bias=False), Pointwise(dim, SAMPLES, bias=False)
        self.encoder = Stack(3 * SAMPLES + 2, width, config.between_encoder_blocks, dim)
        self.decoder = Stack(dim + 2 * SAMPLES + 2, width, config.between_decoder_blocks)
        self.last = Pointwise(width, SAMPLES, scale=0.02)
        # This network acts everywhere, so it is small.
        self.mask = Stack(2 * SAMPLES, config.mask_width, 1, PIXELS)
        self.quantizer = TernaryQuantizer(
            dim, config.between_layers, config.between_levels, config.between_digits, config.between_rounding
        )

    def weigh(self, earlier: Tensor, later: Tensor) -> Tensor:
        """The weight of the earlier of two predictions (patches), for every pixel: [B, 1, H, W] in [0, 1]."""
        mask = self.mask(torch.cat([(earlier + later) / 2, earlier - later], 1))
        return torch.sigmoid(from_patches(mask).float() * 4)

    def weigh_rows(self, total: Part, difference: Part, region: Region) -> Tensor:
        """The same for a region of one picture: half the sum and the difference of the predictions there.

        They are patches [n, 192], and so are the weights [n, 64].
        """
        mask = self.mask.rows([total, difference], total.rows.new_zeros(0), region)
        return mask.mul_(4).sigmoid_()

    def context(self, prediction: Tensor, difference: Tensor, q: Tensor, level: Tensor) -> Tensor:
        """What encoder and decoder see besides, of predictions as patches: [B, 386, h, w].

        `difference`: the earlier prediction less the later; `level` [B]: 0 in the middle, 1 at a quarter.
        """
        return torch.cat([prediction, difference, plane(q, prediction), plane(level, prediction)], 1)

    def shown(self, patches: Rows, missed: Rows) -> list[Rows]:
        return [missed]

    def finish(self, features: Tensor, within: Tensor) -> Tensor:
        return from_patches(self.last(features))

    def finish_rows(self, rows: Tensor, region: Region) -> Tensor:
        return self.last.rows(rows)

    def forward(
        self, pictures: Tensor, earlier: Tensor, later: Tensor, q: Tensor, level: Tensor
    ) -> tuple[Tensor, Quantized]:
        """For training: pictures and two predictions each -> what is decoded, and the quantized latents."""
        first, second = to_patches(earlier), to_patches(later)
        weight = self.weigh(first, second)
        prediction = earlier * weight + later * (1 - weight)
        context = self.context(to_patches(prediction), first - second, q, level)
        quantized = self.quantizer(self.analyse(pictures, context, q), q)
        return prediction + self.decode(quantized.decoded, quantized.values, context), quantized


def _any_over(limit: float, numbers: Tensor) -> Tensor:
    """Where tokens are likely: where the linear path has a number over the limit, of [B, channels, ...]."""
    return numbers.abs().amax(1) > limit


def principal_components(patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Patches [M, 192] -> variances [count], orthonormal directions [192, count], the strongest first."""
    wide = patches.double()
    variances, directions = torch.linalg.eigh(wide.T @ wide / len(wide))
    return variances.flip(0)[:count].float(), directions.flip(1)[:, :count].float()
