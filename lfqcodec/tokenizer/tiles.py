"""Large pictures in tiles, so that memory is bounded by the tile and not by the picture.

The `base` tokenizer is local: a latent depends on pixels up to `reach` positions away, and a pixel on latents
likewise. A tile that is computed with a margin of that many positions gives in its middle what the whole
picture gives, up to the order of float sums. Nothing of it shows in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lfqcodec.bitstream.limits import SPATIAL_FACTOR

WHOLE = 40_000
"""Positions of the latent grid up to which a picture is computed at once: 1920x1080 has 32,400."""
SIDE = 128
"""Positions along the side of a tile, at most, without its margin."""


@dataclass(frozen=True)
class Span:
    """Positions along one side: a tile is from `begin` to `end`, with its margin from `low` to `high`."""

    begin: int
    end: int
    low: int
    high: int

    @property
    def core(self) -> slice:
        """The tile in the latent grid."""
        return slice(self.begin, self.end)

    @property
    def outer(self) -> slice:
        """The tile with its margin, in the latent grid."""
        return slice(self.low, self.high)

    @property
    def inner(self) -> slice:
        """The tile within its margin."""
        return slice(self.begin - self.low, self.end - self.low)


@dataclass(frozen=True)
class Tile:
    """A rectangle of the latent grid."""

    rows: Span
    columns: Span

    @property
    def outer(self) -> tuple[slice, slice]:
        """Rows and columns of the tile with its margin."""
        return self.rows.outer, self.columns.outer

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the tile alone."""
        return self.rows.core, self.columns.core

    @property
    def inner(self) -> tuple[slice, slice]:
        """The tile alone, within its margin."""
        return self.rows.inner, self.columns.inner


def plan_tiles(
    grid: tuple[int, int], reach: int | None, *, whole: int = WHOLE, side: int = SIDE
) -> list[Tile]:
    """The tiles of a latent grid (rows, columns), of nearly equal size; one for all where it is not large.

    `reach` is that of the tokenizer, None where it sees the whole picture at once and cannot be tiled.
    """
    if reach is None or grid[0] * grid[1] <= whole:
        return [Tile(*(Span(0, length, 0, length) for length in grid))]
    rows, columns = (list(_spans(length, side, reach)) for length in grid)
    return [Tile(row, column) for row in rows for column in columns]


def _spans(length: int, side: int, reach: int) -> Iterator[Span]:
    count = -(-length // side)
    for number in range(count):
        begin, end = length * number // count, length * (number + 1) // count
        yield Span(begin, end, max(0, begin - reach), min(length, end + reach))


def pixels(area: tuple[slice, slice], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of pixels of an area of the latent grid, in a picture of `size` (height, width)."""
    rows, columns = (
        slice(part.start * SPATIAL_FACTOR, min(part.stop * SPATIAL_FACTOR, length))
        for part, length in zip(area, size, strict=True)
    )
    return rows, columns
