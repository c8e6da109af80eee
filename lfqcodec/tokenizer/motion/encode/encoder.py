"""Pictures of a group to tokens, layer by layer: offer what may be chosen, go on with what was chosen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lfqcodec.bitstream.geometry import Layer
from lfqcodec.tokenizer.interface import GroupEncoder, Options, Pictures, Tokens
from lfqcodec.tokenizer.motion.beside import together
from lfqcodec.tokenizer.motion.compensation import to_samples
from lfqcodec.tokenizer.motion.encode.effort import Effort
from lfqcodec.tokenizer.motion.encode.numbers import Numbers
from lfqcodec.tokenizer.motion.encode.refine import refined
from lfqcodec.tokenizer.motion.encode.search import motion_lambda
from lfqcodec.tokenizer.motion.encode.skip import (
    as_good,
    block_bits,
    block_errors,
    in_blocks,
    moved,
    not_worth,
)
from lfqcodec.tokenizer.motion.group import GroupReconstruction, Reference, Source, quality_token
from lfqcodec.tokenizer.motion.layout import QUALITY_STEPS, Kind
from lfqcodec.tokenizer.motion.network.blocks import Part
from lfqcodec.tokenizer.motion.network.networks import Intra
from lfqcodec.tokenizer.motion.network.patches import PATCH, patch_rows
from lfqcodec.tokenizer.motion.reconstruction import Prediction, quality, reconstruct_intra


class MotionGroupEncoder(GroupEncoder):
    """What first pictures and groups have in common: the order of the layers, `quality` first."""

    def __init__(
        self, kinds: tuple[Kind, ...], layers: tuple[Layer, ...], size: tuple[int, int], token: int
    ) -> None:
        self.layers = layers
        self._kinds, self._size, self._token = kinds, size, token
        self._taken = 0

    @torch.no_grad()
    def options(self, number: int) -> Options:
        """What may be chosen for the next layer, which must be `number`."""
        self._check(number)
        if not number:
            return Options(np.full((1, 1, 1), self._token, np.int32))
        return self._options(self._kinds[number - 1])

    @torch.no_grad()
    def take(self, number: int, tokens: Tokens) -> MotionGroupEncoder:
        """Go on with tokens int32 [planes, rows, columns] for the next layer, which must be `number`."""
        self._check(number)
        layer = self.layers[number]
        if tokens.shape != layer.shape:
            raise ValueError(f"{layer.name}: tokens of shape {tokens.shape}, not {layer.shape}")
        after = self._copy()
        after._taken += 1
        if number:
            after._take(self._kinds[number - 1], tokens)
        return after

    def close(self, *, decoded: bool) -> tuple[Pictures | None, Reference]:
        """What a decoder makes of the tokens, and the next reference. Layers that were not taken are 0."""
        group = self
        for number in range(self._taken, len(self.layers)):
            group = group.take(number, np.zeros(self.layers[number].shape, np.int32))
        return group._close()

    def _check(self, number: int) -> None:
        if number != self._taken:
            raise ValueError(f"the next layer is number {self._taken}, not {number}")

    def _following(self) -> Kind | None:
        return self._kinds[self._taken - 1] if self._taken < len(self.layers) else None

    def _copy(self) -> MotionGroupEncoder:
        return copy(self)

    @abstractmethod
    def _options(self, kind: Kind) -> Options: ...

    @abstractmethod
    def _take(self, kind: Kind, tokens: Tokens) -> None: ...

    @abstractmethod
    def _close(self) -> tuple[Pictures, Reference]: ...


class IntraEncoder(MotionGroupEncoder):
    """The first picture of a GOP, padded, uint8 [3, H, W]."""

    def __init__(
        self,
        network: Intra,
        kinds: tuple[Kind, ...],
        layers: tuple[Layer, ...],
        picture: Tensor,
        size: tuple[int, int],
        q: float,
        effort: Effort,
        *,
        monochrome: bool,
    ) -> None:
        self._steps, self._monochrome = round(QUALITY_STEPS * q), monochrome
        super().__init__(kinds, layers, size, quality_token(self._steps, None, monochrome=monochrome))
        self._network, self._picture = network, picture
        self._q = quality(q, picture.device)
        with torch.no_grad():
            original = unit(picture[None])
            latents = network.analyse(original, self._q)
            numbers = Numbers.of(network.quantizer, network.out, latents, self._q)
            if effort.refinements:
                scaled = refined(network, original, numbers.scaled, self._q, effort.refinements)
                numbers = replace(numbers, scaled=scaled)
            self._numbers = numbers

    def _options(self, kind: Kind) -> Options:
        return self._numbers.options()

    def _take(self, kind: Kind, tokens: Tokens) -> None:
        self._numbers = self._numbers.take(tokens)

    @torch.no_grad()
    def _close(self) -> tuple[Pictures, Reference]:
        picture = reconstruct_intra(
            self._network, self._numbers.values[0], self._q, monochrome=self._monochrome
        )
        errors = block_errors(patch_rows(picture), patch_rows(self._picture), grid_of(picture))
        reference = Reference(
            Source(picture), quality=self._steps, monochrome=self._monochrome, errors=errors
        )
        return to_pictures([picture], self._size), reference


class PredictedEncoder(MotionGroupEncoder):
    """A group after the first: pictures uint8 [n, 3, H, W], padded; `group` has none of them decoded yet.

    `quality` is what is aimed at, which may lie below what there is.
    """

    def __init__(
        self,
        group: GroupReconstruction,
        kinds: tuple[Kind, ...],
        layers: tuple[Layer, ...],
        pictures: Tensor,
        size: tuple[int, int],
        reference: Reference,
        quality: float,
        effort: Effort,
    ) -> None:
        steps = round(QUALITY_STEPS * float(group.q))
        super().__init__(kinds, layers, size, quality_token(steps, reference, monochrome=group.monochrome))
        self._group, self._pictures, self._effort = group, pictures, effort
        self._quality = quality
        self._predictions: list[Prediction] = []
        self._numbers: Numbers | None = None
        self._errors = {-1: group.reference_errors}
        self._patches = [patch_rows(picture) for picture in pictures]
        self._grid = grid_of(pictures)

    def _copy(self) -> MotionGroupEncoder:
        twin = copy(self)
        twin._group, twin._errors = self._group.copy(), dict(self._errors)
        return twin

    def _originals(self, part: str) -> Tensor:
        return self._pictures[list(self._group.places[part])]

    def _options(self, kind: Kind) -> Options:
        if kind.name.startswith("motion."):
            found = self._group.search(
                kind.part, self._originals(kind.part), motion_lambda(self._quality), self._effort
            )
            return Options(found.cpu().numpy())
        assert self._numbers is not None
        return (
            self._numbers.options()
            if kind.number is not None
            else self._numbers.depth(self._skipped(kind.part))
        )

    def _take(self, kind: Kind, tokens: Tokens) -> None:
        part = kind.part
        if kind.name.startswith("motion."):
            self._predictions = self._group.predict(part, torch.from_numpy(tokens))
            self._numbers = self._analysed(part)
            return
        assert self._numbers is not None
        if kind.number is None:
            self._numbers = self._numbers.with_depth(tokens)
            return
        self._numbers = self._numbers.take(tokens)
        following = self._following()
        if following is None or following.part != part:
            self._group.add(part, self._predictions, self._numbers.values)
            for number in self._group.places[part]:
                decoded = patch_rows(self._group.picture(number))
                self._errors[number] = block_errors(decoded, self._patches[number], self._grid)

    def _skipped(self, part: str) -> Tensor:
        """Where a part needs no tokens, bool [planes, H/16, W/16]."""
        if part == "anchor":
            return self._not_worth()
        missed = [
            block_errors(to_samples(prediction.values), self._patches[number], self._grid)
            for number, prediction in zip(self._group.places[part], self._predictions, strict=True)
        ]
        skipped = []
        for number, errors in zip(self._group.places[part], missed, strict=True):
            field, before = self._group.field(number), []
            for end, direction in zip(self._group.neighbours(number), (1, -1), strict=True):
                known = self._errors[end]
                before.append(torch.zeros_like(errors) if known is None else moved(known, direction * field))
            skipped.append(as_good(errors, torch.stack(before).mean(0)))
        return torch.stack(skipped)

    def _not_worth(self) -> Tensor:
        """Where an anchor is better off without its tokens, bool [1, H/16, W/16]."""
        assert self._numbers is not None
        (number,), values = self._group.places["anchor"], self._numbers.plain
        missed = self._predictions[0].missed(self._patches[number])
        gained = self._group.network("anchor").linear_gain(missed, values[0], self._group.q)
        return not_worth(in_blocks(gained * 255**2, self._grid), block_bits(values), self._quality)

    def _analysed(self, part: str) -> Numbers:
        network = self._group.network(part)
        gains = network.quantizer.gains(self._group.q)

        def latents(number: int, prediction: Prediction) -> Tensor:
            return network.analyse_likely(
                Part(self._patches[number].float(), 1 / 255, -0.5),
                prediction.missed(self._patches[number]),
                prediction.context,
                gains,
                self._grid,
                self._effort.likely,
            )

        numbered = zip(self._group.places[part], self._predictions, strict=True)
        found = together([partial(latents, *each) for each in numbered])
        return Numbers.of(network.quantizer, network.out, torch.cat(found), self._group.q)

    def reference(self) -> Reference | None:
        """As in `GroupEncoder`."""
        anchor = self._group.places["anchor"][0]
        if anchor not in self._errors:
            return None
        return replace(self._group.reference(), errors=self._errors[anchor])

    def _close(self) -> tuple[Pictures, Reference]:
        reference = self.reference()
        assert reference is not None
        return to_pictures(self._group.pictures(), self._size), reference


def grid_of(pictures: Tensor) -> tuple[int, int]:
    """Rows and columns of patches of pictures [..., H, W]."""
    return pictures.shape[-2] // PATCH, pictures.shape[-1] // PATCH


def unit(pictures: Tensor) -> Tensor:
    """uint8 samples as networks see them: float32 in [-0.5, 0.5]."""
    return pictures.float() / 255 - 0.5


def to_pictures(padded: Sequence[Tensor], size: tuple[int, int]) -> Pictures:
    """Padded pictures uint8 [3, H, W] -> uint8 [n, H, W, 3] of `size`."""
    pictures = np.empty((len(padded), *size, 3), np.uint8)
    for own, picture in zip(pictures, padded, strict=True):
        # Channel by channel takes half the time of a transposition.
        for channel, samples in enumerate(picture[:, : size[0], : size[1]].cpu().numpy()):
            own[..., channel] = samples
    return pictures
