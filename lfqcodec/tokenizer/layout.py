"""Which layers of tokens a chunk has: what encoder, decoder and rate model agree on. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import GROUP_SIZES, Layer, LayerCounts, group_layers, group_sizes
from lfqcodec.bitstream.limits import MAX_STREAMS
from lfqcodec.bitstream.tokens import check_group


@dataclass(frozen=True)
class Layout:
    """The groups of a chunk and their layers, in coding order (spec section 5).

    A chunk has at most so many `streams`. Layers of a stream never depend on those of a later one, so later
    streams can be left out.
    """

    counts: LayerCounts
    streams: int = MAX_STREAMS

    def groups(self, count: int, *, gop_start: bool, group_size: int = GROUP_SIZES[0]) -> tuple[int, ...]:
        """How many pictures each group of a chunk of `count` new pictures has, in groups of `group_size`."""
        return group_sizes(count, gop_start, group_size)

    def layers(self, count: int, size: tuple[int, int], *, first: bool) -> tuple[Layer, ...]:
        """The layers of a group of `count` pictures of `size` (H, W); `first` if it starts a GOP."""
        return group_layers(self.counts, size, count, first=first)

    def chunk(
        self, count: int, size: tuple[int, int], *, gop_start: bool, group_size: int = GROUP_SIZES[0]
    ) -> list[tuple[Layer, ...]]:
        """The layers of each group of a chunk of `count` new pictures of `size` (H, W)."""
        counts = self.groups(count, gop_start=gop_start, group_size=group_size)
        return [self.layers(many, size, first=gop_start and not k) for k, many in enumerate(counts)]

    def check(self, layers: Sequence[Layer], tokens: Sequence[NDArray[Any]]) -> None:
        """`CorruptPayload` where the tokens of the first `layers` of a group mean nothing."""
        check_group(layers, tokens)
