"""Which layers of tokens a group of pictures has, their grids, and what depth tokens say. No torch.

The first picture of a GOP is a group by itself and has the layers `intra.k`. After it come groups of one to
four pictures. The last picture of a group is its anchor. Of those before it number 1 is the middle picture
(number 0 where there is no other), and those beside it are the quarters:

    pictures    anchor    middle    quarters
        4         3         1         0, 2
        3         2         1         0
        2         1         0
        1         0

Each of the three parts has the layers `motion`, `depth` and its tokens: `motion.anchor`, `depth.anchor`,
`anchor.0`, and so on. A plane is what a layer has for one picture; `quarters` may have two.

Grids cover the picture padded to multiples of 16. A position of `motion` is a block of 16x16 pixels, of
`depth` 32x32, of all others 8x8. A depth token says for its four blocks of 16x16 (bits 0-1 above left, 2-3
above right, 4-5 below left, 6-7 below right) how many layers of tokens are coded there, as an index into
`depth_choices`; 0 for blocks outside the padded picture. Tokens of layers that are not coded are 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.tokenizer.motion.config import MotionConfig

MAX_PICTURES = 4
QUALITY_STEPS = 32
"""Of q in a unit: what the tokens of `quality` count."""
QUALITIES = 512
"""Tokens of `quality` say what is added to the quality of the group before, modulo this."""
MONOCHROME_CHANGES = 1
"""Subtoken 1 of `quality` where groups begin to have no colour, or end to."""
PARTS = ("anchor", "middle", "quarters")
_DEPTH_BITS = 2
_PAD = 16

Grid = NDArray[np.int32]
"""int32 [planes, rows, columns]."""


@dataclass(frozen=True)
class Kind:
    """What a layer is. `block`: pixels of a position in each direction; `planes`: pictures it is for.

    `number` counts the layers of tokens of a `part` from 0; it is None for `motion` and `depth`.
    """

    name: str
    part: str
    block: int
    planes: int = 1
    number: int | None = None

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """(planes, rows, columns) for pictures of `size` (H, W)."""
        rows, columns = (-(-n // self.block) for n in padded_size(size))
        return self.planes, rows, columns


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) rounded up to multiples of 16."""
    return -(-size[0] // _PAD) * _PAD, -(-size[1] // _PAD) * _PAD


def places(count: int) -> dict[str, tuple[int, ...]]:
    """The numbers of the pictures of each part in a group of `count` pictures, in coding order."""
    if not 1 <= count <= MAX_PICTURES:
        raise ValueError(f"a group has 1 to {MAX_PICTURES} pictures, not {count}")
    parts: dict[str, tuple[int, ...]] = {"anchor": (count - 1,)}
    if count > 1:
        parts["middle"] = (min(1, count - 2),)
    if count > 2:
        parts["quarters"] = tuple(range(0, count - 1, 2))
    return parts


def intra_layers(config: MotionConfig) -> tuple[Kind, ...]:
    """The layers of the first picture of a GOP, in coding order, without `quality`."""
    return tuple(Kind(f"intra.{n}", "intra", 8, number=n) for n in range(config.intra_layers))


def group_layers(config: MotionConfig, count: int) -> tuple[Kind, ...]:
    """The layers of a group of `count` pictures, in coding order, without `quality`."""
    layers: list[Kind] = []
    for part, pictures in places(count).items():
        planes = len(pictures)
        layers += [
            Kind(f"motion.{part}", part, 16, planes),
            Kind(f"depth.{part}", part, 32, planes),
            *(Kind(f"{part}.{n}", part, 8, planes, n) for n in range(token_layers(config, part))),
        ]
    return tuple(layers)


def token_layers(config: MotionConfig, part: str) -> int:
    """How many layers of tokens a part has."""
    if part == "intra":
        return config.intra_layers
    return config.anchor_layers if part == "anchor" else config.between_layers


def depth_choices(layers: int) -> tuple[int, ...]:
    """The numbers of layers that may be coded in a block: 0, 1, 2, and all."""
    return tuple(sorted({min(n, layers) for n in (0, 1, 2, layers)}))


def pack_depth(choices: Grid) -> Grid:
    """Choices for blocks of 16x16 [planes, rows, columns] to depth tokens, a quarter as many."""
    even = np.pad(choices, [(0, 0), *((0, n % 2) for n in choices.shape[1:])])
    parts = [even[:, y::2, x::2] << _DEPTH_BITS * (2 * y + x) for y in (0, 1) for x in (0, 1)]
    tokens: Grid = (parts[0] | parts[1] | parts[2] | parts[3]).astype(np.int32)
    return tokens


def unpack_depth(tokens: Grid, rows: int, columns: int) -> Grid:
    """The inverse, for that many rows and columns of blocks."""
    choices = np.empty((len(tokens), 2 * tokens.shape[1], 2 * tokens.shape[2]), np.int32)
    for y in (0, 1):
        for x in (0, 1):
            choices[:, y::2, x::2] = tokens >> _DEPTH_BITS * (2 * y + x) & 3
    return choices[:, :rows, :columns]


def depth_valid(tokens: Grid, rows: int, columns: int, layers: int) -> bool:
    """Whether depth tokens name choices that there are, and nothing outside the picture."""
    choices = unpack_depth(tokens, rows, columns)
    return bool((choices < len(depth_choices(layers))).all()) and np.array_equal(pack_depth(choices), tokens)


def coded_layers(tokens: Grid, rows: int, columns: int, layers: int) -> Grid:
    """How many layers are coded at each position of 8x8 pixels: [planes, 2 * rows, 2 * columns].

    `rows` and `columns` count blocks of 16x16.
    """
    counts = np.asarray(depth_choices(layers), np.int32)[unpack_depth(tokens, rows, columns)]
    return counts.repeat(2, 1).repeat(2, 2)
