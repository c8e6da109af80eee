"""The `motion` tokenizer: groups of pictures to layers of tokens and back, from a reference in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.errors import BitstreamError
from lfqcodec.tokenizer.interface import DecodedGroup, GroupTokenizer, Pictures, Tokens
from lfqcodec.tokenizer.lfq.ternary import VALUES, tokens_to_values, tokens_valid
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encode.effort import EFFORTS
from lfqcodec.tokenizer.motion.encode.encoder import (
    IntraEncoder,
    MotionGroupEncoder,
    PredictedEncoder,
    to_pictures,
)
from lfqcodec.tokenizer.motion.group import (
    GroupReconstruction,
    GroupValues,
    Quality,
    Reference,
    Source,
    read_quality,
)
from lfqcodec.tokenizer.motion.layout import (
    QUALITY_STEPS,
    Grid,
    Kind,
    coded_layers,
    depth_valid,
    group_layers,
    intra_layers,
    padded_size,
    places,
)
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Intra
from lfqcodec.tokenizer.motion.reconstruction import is_monochrome, quality, reconstruct_intra

_TOKENS = 1 << 18


class MotionTokenizer(GroupTokenizer):
    """Closed-loop tokenizer: intra pictures, and groups predicted by motion from the anchor before."""

    config: MotionConfig

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config, self.layout = config, config.layout
        self.intra, self.anchor, self.between = Intra(config), Anchor(config), Between(config)

    def multiply_in(self, dtype: torch.dtype) -> None:
        """As in the interface. What weighs two predictions stays as it is: that is most of a picture."""
        for network in (self.intra, self.anchor, self.between):
            for stack in (network.encoder, network.decoder):
                stack.multiply_in(dtype)
        for head in (self.intra.head, self.anchor.head):
            head.multiply_in(dtype)

    def encode(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        reference: Reference | None = None,
        quality: float = 0.0,
        effort: str = "medium",
    ) -> MotionGroupEncoder:
        """Begin to code pictures uint8 [H, W, 3] of one size: 1, which starts a GOP, or 1 to 4.

        `quality` is q, from 0 to the levels less 1, and cut to that; below 0 bits of motion and of
        blocks get dearer. `effort` is one of `EFFORTS`.
        """
        first = reference is None
        count, size = len(pictures), (pictures[0].shape[0], pictures[0].shape[1])
        kinds = self._kinds(count, first=first)
        layers = self.layout.layers(count, size, first=first)
        padded = self._padded(pictures)
        levels = self.config.intra_levels if first else self.config.anchor_levels
        q = round(min(max(quality, 0.0), levels - 1) * QUALITY_STEPS) / QUALITY_STEPS
        monochrome = is_monochrome(padded)
        if reference is None:
            return IntraEncoder(
                self.intra, kinds, layers, padded[0], size, q, EFFORTS[effort], monochrome=monochrome
            )
        if reference.picture.shape != padded.shape[1:]:
            raise ValueError("pictures and reference differ in size")
        group = GroupReconstruction(self, reference, q, count, monochrome=monochrome)
        aim = min(quality, levels - 1)
        return PredictedEncoder(group, kinds, layers, padded, size, reference, aim, EFFORTS[effort])

    @torch.no_grad()
    def read(
        self,
        tokens: Sequence[Tokens],
        count: int,
        size: tuple[int, int],
        before: Quality | None = None,
    ) -> GroupValues:
        """As in the interface. Layers that are left out count as 0."""
        first = before is None
        kinds = self._kinds(count, first=first)
        levels = self.config.intra_levels if first else self.config.anchor_levels
        steps, monochrome = read_quality(int(tokens[0].reshape(-1)[0]), before)
        if not 0 <= steps <= (levels - 1) * QUALITY_STEPS:
            raise BitstreamError(f"quality {steps / QUALITY_STEPS:g} is not one of the model")
        given = dict(zip((kind.name for kind in kinds), tokens[1:], strict=False))
        known = {kind.name: self._known(kind, given.get(kind.name), size) for kind in kinds}
        parts = ("intra",) if first else tuple(places(count))
        values = {part: self._values(part, known, known.get(f"depth.{part}"), size) for part in parts}
        motion = {} if first else {part: torch.from_numpy(known[f"motion.{part}"]) for part in parts}
        return GroupValues(count, size, steps, monochrome, motion, values)

    @torch.no_grad()
    def decode(self, group: GroupValues, reference: Reference | None = None) -> DecodedGroup:
        """As in the interface. Pictures may differ by some steps between machines."""
        q, monochrome = group.quality / QUALITY_STEPS, group.monochrome
        if reference is None:
            picture = reconstruct_intra(
                self.intra, group.values["intra"][0], quality(q, self._device), monochrome=monochrome
            )
            after = Reference(Source(picture), quality=group.quality, monochrome=monochrome)
            return DecodedGroup(after, partial(to_pictures, [picture], group.size))
        made = GroupReconstruction(self, reference, q, group.count, monochrome=monochrome)
        anchor, *others = group.values

        def add(part: str) -> None:
            made.add(part, made.predict(part, group.motion[part]), group.values[part])

        @torch.no_grad()
        def pictures() -> Pictures:
            for part in others:
                add(part)
            return to_pictures(made.pictures(), group.size)

        add(anchor)
        return DecodedGroup(made.reference(), pictures)

    def _kinds(self, count: int, *, first: bool) -> tuple[Kind, ...]:
        if first and count != 1:
            raise ValueError(f"the first group of a GOP has 1 picture, not {count}")
        return intra_layers(self.config) if first else group_layers(self.config, count)

    @property
    def _device(self) -> torch.device:
        return self.intra.into.weight.device

    def _padded(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Replicated at the right and at the bottom to multiples of 16: uint8 [n, 3, H, W]."""
        stacked = np.stack(pictures)
        h, w = stacked.shape[1:3]
        high, wide = padded_size((h, w))
        stacked = np.pad(stacked, [(0, 0), (0, high - h), (0, wide - w), (0, 0)], mode="edge")
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous().to(self._device)

    def _known(self, kind: Kind, tokens: Tokens | None, size: tuple[int, int]) -> Grid:
        """The tokens of a layer, 0 where it is left out. Raises `BitstreamError`."""
        shape = kind.shape(size)
        if tokens is None:
            return np.zeros(shape, np.int32)
        if tokens.shape != shape:
            raise BitstreamError(f"layer {kind.name} has tokens of shape {tokens.shape}, not {shape}")
        if kind.number is not None:
            valid = bool(tokens_valid(tokens).all())
        elif kind.name.startswith("motion."):
            valid = bool((tokens < _TOKENS).all())
        else:
            rows, columns = (n // 16 for n in padded_size(size))
            valid = depth_valid(tokens, rows, columns, len(self._names(kind.part)))
        if not valid:
            raise BitstreamError(f"layer {kind.name} has a token that means nothing")
        return tokens

    def _names(self, part: str) -> list[str]:
        count = {"intra": self.config.intra_layers, "anchor": self.config.anchor_layers}
        return [f"{part}.{n}" for n in range(count.get(part, self.config.between_layers))]

    def _values(
        self, part: str, known: Mapping[str, Grid], depth: Grid | None, size: tuple[int, int]
    ) -> Tensor:
        """Ternary values of a part, float32 [planes, 9 * layers, h, w]. Raises `BitstreamError`."""
        names = self._names(part)
        tokens = np.stack([known[name] for name in names], 1)
        if depth is not None:
            rows, columns = (n // 16 for n in padded_size(size))
            coded = coded_layers(depth, rows, columns, len(names))
            if bool((tokens[coded[:, None] <= np.arange(len(names))[:, None, None]] != 0).any()):
                raise BitstreamError(f"a token of {part} lies deeper than its block is coded")
        values = tokens_to_values(torch.from_numpy(tokens).to(self._device))
        return values.reshape(len(tokens), VALUES * len(names), *tokens.shape[2:])
