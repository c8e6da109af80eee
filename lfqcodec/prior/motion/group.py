"""What both rate models of `motion` have in common: the layers of chunks and groups in order, and the state.

A group is known by the names of its layers. What goes on to the next group is all from stream 0, so later
streams can be missing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS, Layer, chunk_layers
from lfqcodec.entropy.model import ROW_SUM, Batch, RowSource
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.tokenizer.motion.layout import depth_choices, unpack_depth

Array = NDArray[np.int64]
Rows = NDArray[np.float64]
"""Frequencies less 1, float64 [n, 512] or [512]."""
Coding = RowSource
"""Codes a part of a layer."""
MotionCoding = Generator[Batch, NDArray[np.int32], Array | None]
"""Codes the motion of anchors; gives their fields, int64 [planes, rows, columns, 2], if it knows them."""
ROWS_AT_A_TIME = 512


def single_value() -> Rows:
    """The row for subtokens that can only be 0: all other values have frequency 1."""
    row = np.zeros(SYMBOLS)
    row[0] = ROW_SUM - SYMBOLS
    return row


NOTHING = single_value()
_EQUAL = np.full(SYMBOLS, ROW_SUM / SYMBOLS - 1)
_OTHER_QUALITY = (ROW_SUM // 2) // (SYMBOLS - 1)


def quality_row(*, first: bool) -> Rows:
    """The row of `quality`: half goes to 0, no change; in the `first` group of a GOP all are equal."""
    if first:
        return _EQUAL
    row = np.full(SYMBOLS, _OTHER_QUALITY - 1.0)
    row[0] = ROW_SUM - (SYMBOLS - 1) * _OTHER_QUALITY - 1
    return row


@dataclass(frozen=True)
class Past:
    """What a group may depend on of those before it in the GOP; immutable.

    `quality`: 32 times the last q. `anchor` int64 [layers, rows, columns], the last anchor's
    tokens, and `field` int64 [rows, columns, 2], its motion; None after the first picture.
    """

    quality: int | None = None
    anchor: Array | None = None
    field: Array | None = None


@dataclass
class Group:
    """A group on its way: its layers by name, and the tokens int64 [planes, rows, columns] coded so far."""

    layers: dict[str, Layer]
    past: Past
    known: dict[str, Array] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    """What the features of learned models keep."""
    _choices: dict[str, Array] = field(default_factory=dict)
    _counts: dict[str, Array] = field(default_factory=dict)
    _fields: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def quality(self) -> int:
        """32 times q, 0..511: that of the group before, and the token says what is added, modulo 512."""
        return (int(self.tokens("quality").reshape(-1)[0]) + (self.past.quality or 0)) & (SYMBOLS - 1)

    def tokens(self, name: str) -> Array:
        """The tokens of a layer before. `ValueError` where it has not been coded."""
        if name not in self.known:
            raise ValueError(f"the rate model needs layer {name}, which has not been coded")
        return self.known[name]

    def token_layers(self, part: str) -> int:
        """How many layers of tokens a part has."""
        return token_layers(self.layers, part)

    def counts(self, part: str) -> Array:
        """How many layers are coded at each position of a part, int64 [planes, rows, columns]."""
        if part not in self._counts:
            shape = self.layers[f"{part}.0"].shape
            if part == "intra":
                self._counts[part] = np.full(shape, self.token_layers(part))
            else:
                planes = self.choices(part)
                known = np.asarray(depth_choices(self.token_layers(part)))
                counts = known[np.minimum(planes, len(known) - 1)].repeat(2, 1).repeat(2, 2)
                self._counts[part] = np.ascontiguousarray(counts[:, : shape[1], : shape[2]])
        return self._counts[part]

    def choices(self, part: str) -> Array:
        """The choices of depth for blocks of 16x16, 0..3: int64 [planes, rows, columns]."""
        if part in self._choices:
            return self._choices[part]
        rows, columns = (-(-n // 2) for n in self.layers[f"{part}.0"].shape[1:])
        choices = unpack_depth(self.tokens(f"depth.{part}").astype(np.int32), rows, columns)
        self._choices[part] = choices.astype(np.int64)
        return self._choices[part]

    def set_field(self, part: str, field: Array) -> None:
        """Spare `field` the work, where it is known what it will give."""
        self._fields[part] = field

    def field(self, part: str) -> Array:
        """The motion of a part, int64 [planes, rows, columns, 2], (dx, dy) in quarter-pels."""
        # Not at the top: static rows do without it.
        import torch

        from lfqcodec.tokenizer.motion.fields import anchor_field, between_field, half

        if part not in self._fields:
            tokens = torch.from_numpy(self.tokens(f"motion.{part}").astype(np.int32))
            if part == "anchor":
                before = None if self.past.field is None else torch.from_numpy(self.past.field)
                fields = [anchor_field(tokens[0], before)]
            else:
                base = half(torch.from_numpy(self.field("anchor" if part == "middle" else "middle")[0]))
                fields = [between_field(plane, base) for plane in tokens]
            self._fields[part] = torch.stack(fields).numpy()
        return self._fields[part]

    def end(self) -> Past:
        """What the next group may know of this one."""
        if "quality" not in self.known:
            raise ValueError("the group before has not been coded")
        if "anchor.0" not in self.layers:
            return Past(self.quality)
        layers = [self.tokens(f"anchor.{k}")[0] for k in range(self.token_layers("anchor"))]
        return Past(self.quality, np.stack(layers), self.field("anchor")[0])


def token_layers(names: Collection[str], part: str) -> int:
    """How many layers of tokens a part of a group with these layers has."""
    return sum(f"{part}.{number}" in names for number in range(len(names)))


class LayerCoder:
    """The subtokens of a layer, coded batch by batch; positions are raster positions of tokens."""

    def __init__(self, shape: tuple[int, int, int], max_rows: int) -> None:
        self.shape, self._max_rows = shape, max_rows
        self.size = math.prod(shape)
        self._subtokens = np.zeros(SUBTOKENS * self.size, np.int64)

    def code(
        self, which: int, positions: Array, rows: Rows | Callable[[slice], Rows]
    ) -> Generator[Batch, NDArray[np.int32], Array]:
        """Code subtoken `which` with one row, or with the rows of each slice; gives the values, int64 [n]."""
        places = SUBTOKENS * positions + which
        if not callable(rows):
            if len(places):
                self._subtokens[places] = yield Batch(places, rows)
        else:
            for low in range(0, len(places), self._max_rows):
                part = slice(low, low + self._max_rows)
                self._subtokens[places[part]] = yield Batch(places[part], rows(part))
        values: Array = self._subtokens[places]
        return values

    def skip(self, positions: Array) -> Coding:
        """Code tokens that can only be 0."""
        for which in range(SUBTOKENS):
            yield from self.code(which, positions, NOTHING)

    def tokens(self) -> Array:
        """What has been coded so far, 0 elsewhere: int64 [planes, rows, columns]."""
        return (self._subtokens[::2] | self._subtokens[1::2] << SUBTOKEN_BITS).reshape(self.shape)


@dataclass
class _Chunk:
    """A chunk on its way: the layers of its groups, and what was coded for all of them at once."""

    groups: list[dict[str, Layer]]
    past: Past
    known: dict[str, Array] = field(default_factory=dict)
    fields: Array | None = None
    begun: int = 0
    """Groups so far."""

    def quality(self) -> list[int]:
        """The quality of each group."""
        before = self.past.quality or 0
        return [int(sum_) & (SYMBOLS - 1) for sum_ in before + np.cumsum(self.known["quality"])]

    def next_group(self, past: Past) -> Group:
        """The group that follows those begun."""
        if self.begun == len(self.groups):
            raise ValueError("the chunk has no more groups")
        layers, number = self.groups[self.begun], self.begun
        group = Group(layers, past)
        for name, planes in self.known.items():
            if name in layers:
                plane = sum(name in each for each in self.groups[:number])
                group.known[name] = planes[plane : plane + 1]
                if name == "motion.anchor" and self.fields is not None:
                    group.set_field("anchor", self.fields[plane : plane + 1])
        self.begun += 1
        return group


class MotionRates(ABC):
    """A rate model (`lfqcodec.entropy.RateModel`) for groups whose layers have the names of `motion`."""

    def __init__(self, *, max_rows: int = ROWS_AT_A_TIME) -> None:
        self.max_rows = max_rows
        self._past = Past()
        self._chunk = _Chunk([], self._past)
        self._group: Group | None = None

    def begin_chunk(self, groups: Sequence[Sequence[Layer]], *, gop_start: bool) -> None:
        """As in `RateModel`. `ValueError` where stream 0 of the group before has not been coded."""
        self._past = Past() if gop_start else self._ended()
        self._chunk = _Chunk([{layer.name: layer for layer in group} for group in groups], self._past)
        self._group = None

    def chunk_rows(self, number: int) -> RowSource:
        """As in `RateModel`."""
        chunk = self._chunk
        layers = chunk_layers([list(group.values()) for group in chunk.groups])
        if not 0 <= number < len(layers):
            raise ValueError(f"there is no layer {number} of the chunk")
        name, shape = layers[number].name, layers[number].shape
        coder = LayerCoder(shape, self.max_rows)
        if name == "quality":
            yield from self._quality(chunk.past, coder)
        else:
            anchors = [name in group for group in chunk.groups]
            quality = [own for own, has in zip(chunk.quality(), anchors, strict=True) if has]
            chunk.fields = yield from self._anchor_motion(chunk.past, quality, coder)
        chunk.known[name] = coder.tokens()

    def begin_group(self) -> None:
        """As in `RateModel`. `ValueError` where stream 0 of the group before has not been coded."""
        self._past = self._ended()
        self._group = self._chunk.next_group(self._past)

    def rows(self, number: int) -> RowSource:
        """As in `RateModel`."""
        group = self._group
        if group is None or not 0 <= number < len(group.layers):
            raise ValueError(f"there is no layer {number}")
        layer = list(group.layers.values())[number]
        coder = LayerCoder(layer.shape, self.max_rows)
        kind, _, name = layer.name.partition(".")
        if kind == "quality":
            yield from self._quality(group.past, coder)
        elif layer.name == "motion.anchor":
            fields = yield from self._anchor_motion(group.past, [group.quality], coder)
            if fields is not None:
                group.set_field("anchor", fields)
        elif kind == "motion":
            yield from self._motion(group, name, coder)
        elif kind == "depth":
            yield from self._depth(group, name, coder)
            yield from coder.code(1, np.arange(coder.size), NOTHING)
        else:
            yield from self._tokens(group, kind, int(name), coder)
        group.known[layer.name] = coder.tokens()

    def given(self, number: int, tokens: NDArray[np.int32]) -> None:
        """As in `RateModel`."""
        assert self._group is not None
        self._group.known[list(self._group.layers)[number]] = tokens.astype(np.int64)

    def snapshot(self) -> Past:
        """As in `RateModel`."""
        return self._ended()

    def restore(self, snapshot: Past) -> None:
        """As in `RateModel`."""
        self._past, self._group = snapshot, None

    def _ended(self) -> Past:
        return self._past if self._group is None else self._group.end()

    @staticmethod
    def _quality(past: Past, coder: LayerCoder) -> Coding:
        """Of a group, or of all groups of a chunk."""
        groups = np.arange(coder.size)
        first = groups < (past.quality is None)
        yield from coder.code(0, groups[first], quality_row(first=True))
        yield from coder.code(0, groups[~first], quality_row(first=False))
        yield from coder.code(1, groups, NOTHING)

    @abstractmethod
    def _anchor_motion(self, past: Past, quality: Sequence[int], coder: LayerCoder) -> MotionCoding:
        """That of successive anchors, the first of them behind `past`; their groups have this quality."""

    @abstractmethod
    def _motion(self, group: Group, part: str, coder: LayerCoder) -> Coding: ...

    @abstractmethod
    def _depth(self, group: Group, part: str, coder: LayerCoder) -> Coding: ...

    @abstractmethod
    def _tokens(self, group: Group, part: str, number: int, coder: LayerCoder) -> Coding: ...
