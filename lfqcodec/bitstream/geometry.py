"""From pictures and pixels to groups, layers of tokens, grids and word counts (spec sections 5 and 12)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lfqcodec.bitstream.limits import (
    BITS_PER_TOKEN,
    CHUNK_FRAMES,
    MAX_ANCHOR_LAYERS,
    MAX_BETWEEN_LAYERS,
    MAX_INTRA_LAYERS,
    MAX_STREAMS,
    SPATIAL_FACTOR,
    TEMPORAL_FACTOR,
)
from lfqcodec.errors import InvalidField

SUBTOKENS = 2
SUBTOKEN_BITS = BITS_PER_TOKEN // SUBTOKENS
PRECISION_BITS = 24
WORD_BITS = 32
GROUP_SIZES = (4, 2, 1)
"""How many pictures the groups of a chunk have, by the code in its head; the last of a GOP may have fewer."""
BLOCK_SIZE = 16
"""Pixels of a motion block in each direction; pictures are padded to a multiple of it."""
CHUNK_LAYERS = ("quality", "motion.anchor")
"""Layers that are coded for all groups of a chunk at once, before all others."""


@dataclass(frozen=True)
class LayerCounts:
    """How many layers of values the pictures of a file have; `between`: middles and quarters each.

    1..24, 1..8 and 1..4, else `InvalidField`.
    """

    intra: int
    anchor: int
    between: int

    def __post_init__(self) -> None:
        for name, most, offset in (
            ("intra", MAX_INTRA_LAYERS, 66),
            ("anchor", MAX_ANCHOR_LAYERS, 67),
            ("between", MAX_BETWEEN_LAYERS, 68),
        ):
            count = getattr(self, name)
            if not 1 <= count <= most:
                raise InvalidField(f"{name} layers must be 1..{most}, not {count}", offset=offset)


@dataclass(frozen=True)
class Layer:
    """A named grid of tokens of a group of pictures.

    `stream` is the rANS stream of the chunk that its tokens are in; `shape` is (planes, rows, columns).
    """

    name: str
    stream: int
    shape: tuple[int, int, int]


def block_grid(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of motion blocks of a picture, rounded up."""
    return -(-height // BLOCK_SIZE), -(-width // BLOCK_SIZE)


def latent_grid(width: int, height: int) -> tuple[int, int]:
    """Latent rows and columns (h, w) of a picture: two for each of `block_grid`."""
    rows, columns = block_grid(width, height)
    return rows * BLOCK_SIZE // SPATIAL_FACTOR, columns * BLOCK_SIZE // SPATIAL_FACTOR


def max_valid(gop_start: bool) -> int:
    """The most new frames that a chunk may hold: 17 for the first of a GOP, 16 for a later one."""
    return CHUNK_FRAMES if gop_start else CHUNK_FRAMES - 1


def group_sizes(valid: int, gop_start: bool, size: int = TEMPORAL_FACTOR) -> tuple[int, ...]:
    """How many pictures each group of a chunk with `valid` new frames has, where groups are of `size`.

    1, 4, 4, 4, 4 in a full chunk at a GOP start, else 4, 4, 4, 4; the last may have fewer. `InvalidField`
    where `valid` is out of range, `ValueError` for a size that is not one of `GROUP_SIZES`.
    """
    if size not in GROUP_SIZES:
        raise ValueError(f"groups have one of {GROUP_SIZES} pictures, not {size}")
    if not 1 <= valid <= max_valid(gop_start):
        raise InvalidField(f"valid frames must be 1..{max_valid(gop_start)}, not {valid}")
    first = (1,) if gop_start else ()
    rest = valid - len(first)
    return first + tuple(min(size, rest - done) for done in range(0, rest, size))


def group_layers(
    counts: LayerCounts, size: tuple[int, int], pictures: int, *, first: bool
) -> tuple[Layer, ...]:
    """The layers of a group of `pictures` of `size` (H, W) in coding order; `first`: it starts a GOP."""
    blocks, latents = block_grid(size[1], size[0]), latent_grid(size[1], size[0])
    depths = -(-blocks[0] // 2), -(-blocks[1] // 2)
    layers = [Layer("quality", 0, (1, 1, 1))]
    if first:
        return (*layers, *(Layer(f"intra.{k}", 0, (1, *latents)) for k in range(counts.intra)))
    planes = {"anchor": 1, "middle": int(pictures > 1), "quarters": max(0, pictures - 2)}
    for part, count in planes.items():
        stream = int(part != "anchor")
        if count:
            layers.append(Layer(f"motion.{part}", stream, (count, *blocks)))
            layers.append(Layer(f"depth.{part}", stream, (count, *depths)))
            values = counts.between if stream else counts.anchor
            layers += [Layer(f"{part}.{k}", stream, (count, *latents)) for k in range(values)]
    return tuple(layers)


def chunk_layers(groups: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """The layers coded at once for a chunk whose groups have these layers, in coding order.

    They have the planes of all groups, one after the other.
    """
    joined: dict[str, Layer] = {}
    for layer in (layer for group in groups for layer in group if layer.name in CHUNK_LAYERS):
        before = joined[layer.name].shape[0] if layer.name in joined else 0
        joined[layer.name] = replace(layer, shape=(before + layer.shape[0], *layer.shape[1:]))
    return tuple(joined.values())


def stream_tokens(
    counts: LayerCounts, size: tuple[int, int], valid: int, gop_start: bool, group_size: int = TEMPORAL_FACTOR
) -> tuple[int, ...]:
    """How many tokens each of the two streams of a chunk has; the second has none without middles."""
    totals = [0] * MAX_STREAMS
    for number, pictures in enumerate(group_sizes(valid, gop_start, group_size)):
        for layer in group_layers(counts, size, pictures, first=gop_start and not number):
            totals[layer.stream] += math.prod(layer.shape)
    return tuple(totals)


def max_words(tokens: int) -> int:
    """The most 32-bit words that `tokens` tokens can take: a subtoken adds 24 bits to the state at most."""
    bits = tokens * SUBTOKENS * PRECISION_BITS
    return -(-bits // WORD_BITS) + 2
