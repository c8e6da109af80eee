"""Which layers of tokens a chunk has: what encoder, decoder and rate model agree on. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lfqcodec.bitstream.geometry import Layer, latent_frames, latent_grid


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


@dataclass(frozen=True)
class StageLayout:
    """Residual quantization of whole chunks: a chunk is a group, and a stage a layer with its own stream."""

    streams: int

    def groups(self, count: int, *, gop_start: bool) -> tuple[int, ...]:
        """As in `Layout`."""
        return (count,)

    def layers(self, count: int, size: tuple[int, int], *, first: bool) -> tuple[Layer, ...]:
        """`stage.0`, `stage.1`, ...: one plane for each latent frame of the chunk."""
        shape = latent_frames(count, first), *latent_grid(size[1], size[0])
        return tuple(Layer(f"stage.{stage}", stage, shape) for stage in range(self.streams))


__all__ = ["Layer", "Layout", "StageLayout"]
