"""A group of pictures after a reference: which picture is predicted from which, and the decoded pictures.

Encoder and decoder both run this, so they agree bit for bit on one machine.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from lfqcodec.errors import BitstreamError
from lfqcodec.tokenizer.motion.beside import together
from lfqcodec.tokenizer.motion.compensation import ReferencePicture
from lfqcodec.tokenizer.motion.encode.effort import Effort
from lfqcodec.tokenizer.motion.encode.search import BETWEEN, LumaPlanes, search_anchor, search_between
from lfqcodec.tokenizer.motion.fields import anchor_field, anchor_tokens, between_field, between_tokens, half
from lfqcodec.tokenizer.motion.layout import MONOCHROME_CHANGES, QUALITIES, QUALITY_STEPS, places
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between
from lfqcodec.tokenizer.motion.reconstruction import (
    Prediction,
    predict_anchor,
    predict_between,
    quality,
    reconstruct,
)


class Quality(Protocol):
    """What layer `quality` of the next group is told against: `Reference` and `GroupValues` have it."""

    @property
    def quality(self) -> int:
        """`QUALITY_STEPS` times the q of a group."""

    @property
    def monochrome(self) -> bool:
        """Whether it has no colour."""


class Source:
    """A decoded picture that others are predicted from, uint8 [3, H, W]; prepares what is asked for once."""

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture

    @cached_property
    def compensation(self) -> ReferencePicture:
        """For prediction."""
        return ReferencePicture(self.picture)

    @cached_property
    def luma(self) -> LumaPlanes:
        """For motion search."""
        return LumaPlanes(self.picture[None])


@dataclass(frozen=True)
class Reference:
    """What the next group is predicted from: immutable, on the device of the tokenizer.

    `source` is the decoded anchor with its padding; `field` int64 [H/16, W/16, 2] its motion, None after the
    first picture of a GOP; `quality` is `QUALITY_STEPS` times the q of its group, and `monochrome` whether
    that has no colour. `errors` float32 [H/16, W/16], its squared error, is known to encoders alone.
    """

    source: Source
    field: Tensor | None = None
    quality: int = 0
    monochrome: bool = False
    errors: Tensor | None = None

    @property
    def picture(self) -> Tensor:
        """The decoded anchor, uint8 [3, H, W]."""
        return self.source.picture


@dataclass(frozen=True)
class GroupValues:
    """What the tokens of a group of `count` pictures of `size` (H, W) mean.

    `quality` and `monochrome` as in `Reference`. By part, in coding order: tokens of `motion` int32 [planes,
    rows, columns], none of first pictures, and ternary `values` float32 [planes, 9 * layers, H/8, W/8].
    """

    count: int
    size: tuple[int, int]
    quality: int
    monochrome: bool
    motion: dict[str, Tensor]
    values: dict[str, Tensor]


def quality_token(steps: int, reference: Reference | None, *, monochrome: bool) -> int:
    """The token of layer `quality` of a group: its quality in steps, and whether it has no colour."""
    before, colourless = _quality_before(reference)
    changes = MONOCHROME_CHANGES if monochrome != colourless else 0
    return (steps - before) % QUALITIES + QUALITIES * changes


def read_quality(token: int, group: Quality | None) -> tuple[int, bool]:
    """What `quality_token` was made from behind `group`: steps and `monochrome`. Raises `BitstreamError`."""
    before, colourless = _quality_before(group)
    changes, steps = divmod(token, QUALITIES)
    if changes > MONOCHROME_CHANGES:
        raise BitstreamError(f"quality token {token} means nothing")
    return (before + steps) % QUALITIES, colourless != bool(changes)


def _quality_before(group: Quality | None) -> tuple[int, bool]:
    return (0, False) if group is None else (group.quality, group.monochrome)


class Networks(Protocol):
    """What a group needs of a tokenizer."""

    anchor: Anchor
    between: Between


class GroupReconstruction:
    """The decoded pictures of a group after the first, part by part. A copy goes its own way."""

    def __init__(
        self, networks: Networks, reference: Reference, q: float, count: int, *, monochrome: bool
    ) -> None:
        self.q, self.monochrome = quality(q, reference.picture.device), monochrome
        self._networks, self._reference = networks, reference
        self.reference_errors = reference.errors
        self.places = places(count)
        self._sources = {-1: reference.source}
        self._fields: dict[int, Tensor] = {}

    def copy(self) -> GroupReconstruction:
        """With the same pictures so far."""
        twin = copy(self)
        twin._sources, twin._fields = dict(self._sources), dict(self._fields)
        return twin

    def network(self, part: str) -> Anchor | Between:
        """The network that a part is coded with."""
        return self._networks.anchor if part == "anchor" else self._networks.between

    def ends(self, number: int) -> tuple[Source, Source]:
        """The pictures that picture `number`, which is not the anchor, lies between."""
        earlier, later = self.neighbours(number)
        return self._sources[earlier], self._sources[later]

    def base(self, part: str) -> Tensor:
        """The field of linear motion for pictures of a part between, int64 [rows, columns, 2]."""
        return half(self._fields[self.places["anchor" if part == "middle" else "middle"][0]])

    def search(self, part: str, pictures: Tensor, lam: float, effort: Effort) -> Tensor:
        """Motion tokens int32 [planes, rows, columns] for the pictures of a part, uint8 [planes, 3, H, W].

        `lam` is what a bit of an anchor's motion is worth in SAD.
        """
        if part == "anchor":
            prior = self._reference.field
            found = search_anchor(
                pictures, self._sources[-1].luma, None if prior is None else prior[None], lam, effort
            )
            return anchor_tokens(found[0], prior)[None]
        base = self.base(part)

        def tokens(number: int, picture: Tensor) -> Tensor:
            earlier, later = self.ends(number)
            found = search_between(picture[None], earlier.luma, later.luma, base[None], lam * BETWEEN, effort)
            return between_tokens(found[0], base)

        numbered = zip(self.places[part], pictures, strict=True)
        return torch.stack(together([partial(tokens, *each) for each in numbered]))

    def predict(self, part: str, tokens: Tensor) -> list[Prediction]:
        """The predictions of the pictures of a part; motion tokens int32 [planes, rows, columns]."""
        tokens = tokens.to(self.q.device)
        if part == "anchor":
            field = anchor_field(tokens[0], self._reference.field)
            self._fields[self.places[part][0]] = field
            source = self._sources[-1].compensation
            return [predict_anchor(source, field, self.q)]
        base, level = self.base(part), 0.0 if part == "middle" else 1.0

        def prediction(number: int, plane: Tensor) -> Prediction:
            field = self._fields[number] = between_field(plane, base)
            earlier, later = (end.compensation for end in self.ends(number))
            return predict_between(self._networks.between, earlier, later, field, self.q, level)

        return together([partial(prediction, *each) for each in zip(self.places[part], tokens, strict=True)])

    def add(self, part: str, predictions: list[Prediction], values: Tensor) -> None:
        """Decode the pictures of a part; ternary values float32 [planes, 9 * layers, H/8, W/8]."""
        network = self.network(part)
        made = partial(reconstruct, network, q=self.q, monochrome=self.monochrome)
        pictures = together([partial(made, *each) for each in zip(predictions, values, strict=True)])
        self._sources |= zip(self.places[part], map(Source, pictures), strict=True)

    def picture(self, number: int) -> Tensor:
        """A decoded picture, uint8 [3, H, W]."""
        return self._sources[number].picture

    def field(self, number: int) -> Tensor:
        """The field that a picture is predicted with, int64 [H/16, W/16, 2]."""
        return self._fields[number]

    def neighbours(self, number: int) -> tuple[int, ...]:
        """The numbers of the pictures that a picture is predicted from, earlier first; -1: the reference."""
        anchor = self.places["anchor"][0]
        if number == anchor:
            return (-1,)
        middle = self.places["middle"][0]
        if number == middle:
            return -1, anchor
        return (-1, middle) if number < middle else (middle, anchor)

    def pictures(self) -> list[Tensor]:
        """All of them in display order, uint8 [3, H, W] each."""
        return [self._sources[n].picture for n in range(len(self._sources) - 1)]

    def reference(self) -> Reference:
        """What the next group is predicted from."""
        anchor = self.places["anchor"][0]
        steps = round(QUALITY_STEPS * float(self.q))
        return Reference(self._sources[anchor], self._fields[anchor], steps, self.monochrome)
