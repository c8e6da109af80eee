"""Which layers of tokens a chunk has: what encoder, decoder and rate model agree on. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import Layer, LayerCounts, group_layers, group_sizes, latent_frames
from lfqcodec.bitstream.limits import MAX_STREAMS, SPATIAL_FACTOR
from lfqcodec.bitstream.tokens import check_group


class Layout(Protocol):
    """The groups of a chunk and their layers, in coding order, for one configuration of a tokenizer.

    Layers of a stream never depend on those of a later one, so later streams can be left out.
    """

    @property
    def streams(self) -> int:
        """The most streams that a chunk has."""

    def groups(self, count: int, *, gop_start: bool) -> tuple[int, ...]:
        """How many pictures each group of a chunk of `count` new pictures has."""

    def layers(self, count: int, size: tuple[int, int], *, first: bool) -> tuple[Layer, ...]:
        """The layers of a group of `count` pictures of `size` (H, W); `first` if it starts a GOP."""

    def check(self, layers: Sequence[Layer], tokens: Sequence[NDArray[Any]]) -> None:
        """`CorruptPayload` where the tokens of the first `layers` of a group mean nothing."""


@dataclass(frozen=True)
class MotionLayout:
    """Groups of up to four pictures predicted by motion: what .lfq files hold (spec section 5)."""

    counts: LayerCounts
    streams: int = MAX_STREAMS

    def groups(self, count: int, *, gop_start: bool) -> tuple[int, ...]:
        """As in `Layout`."""
        return group_sizes(count, gop_start)

    def layers(self, count: int, size: tuple[int, int], *, first: bool) -> tuple[Layer, ...]:
        """As in `Layout`."""
        return group_layers(self.counts, size, count, first=first)

    def check(self, layers: Sequence[Layer], tokens: Sequence[NDArray[Any]]) -> None:
        """As in `Layout`."""
        check_group(layers, tokens)


@dataclass(frozen=True)
class StageLayout:
    """Residual quantization of whole chunks: a chunk is a group, and a stage a layer with its own stream."""

    streams: int

    def groups(self, count: int, *, gop_start: bool) -> tuple[int, ...]:
        """As in `Layout`."""
        return (count,)

    def layers(self, count: int, size: tuple[int, int], *, first: bool) -> tuple[Layer, ...]:
        """`stage.0`, `stage.1`, ...: one plane for each latent frame of the chunk."""
        shape = latent_frames(count, first), *open_loop_grid(size)
        return tuple(Layer(f"stage.{stage}", stage, shape) for stage in range(self.streams))

    def check(self, layers: Sequence[Layer], tokens: Sequence[NDArray[Any]]) -> None:
        """As in `Layout`: all tokens mean something."""


def open_loop_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Latent rows and columns of pictures of `size` (H, W) in open-loop tokenizers, rounded up."""
    return -(-size[0] // SPATIAL_FACTOR), -(-size[1] // SPATIAL_FACTOR)


__all__ = ["Layer", "Layout", "MotionLayout", "StageLayout", "open_loop_grid"]
