"""Labelled clips: letters that move in ten ways, digits that bounce or are on a grid."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.toy.draw import FONTS, cover, over, reach

SIDE = 32
PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("clockwise", "anticlockwise"),
    ("grow", "shrink"),
    ("appear", "vanish"),
)
"""Motions and what they are when time runs backwards."""
STEPS = {"left": (-2, 0), "right": (2, 0), "up": (0, -2), "down": (0, 2)}
"""Pixels a frame of `grid`: x, y."""
ACTION_FRAMES, MOVE_FRAMES, FRAMES = 33, 9, 17
_SIMPLE = "FJLP"
_WHITE = np.full(3, 255.0)
# A circle that turns looks the same both ways.
_LETTERS = {
    False: "".join(c for c in string.ascii_letters if c.lower() < "n"),
    True: "".join(c for c in string.ascii_letters if c.lower() >= "n" and c not in "oO"),
}


_CAPITALS = {False: "ABCDEFGHJKLM", True: "NPQRSTUVWXYZ"}
_BOLD = ("DejaVuSans-Bold", "DejaVuSansMono-Bold")
# In the middle of the range: networks that begin with small weights see next to nothing of it.
_GREY = np.full(3, 120.0)


@dataclass(frozen=True)
class _Ranges:
    """What the motions of a set are drawn from: the least and the most of each.

    `em` is the font's size in pixels, `turn` in degrees, `growth` a factor, `whole` the time at which a
    letter has appeared, `length` of a path in pixels. `off` is how far the middle of a path may be from that
    of the picture, in pixels.
    """

    frames: int
    em: tuple[float, float]
    turn: tuple[float, float]
    growth: tuple[float, float]
    whole: tuple[float, float]
    length: tuple[float, float]
    off: float


_ACTIONS = _Ranges(ACTION_FRAMES, (12, 16), (60, 150), (1.5, 2.2), (0.6, 1.0), (8, 18), SIDE)
_WAYS = _Ranges(FRAMES, (17, 21), (90, 150), (1.8, 2.2), (0.8, 1.0), (10, 16), 4)


def actions(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """A white letter that moves: one of ten motions, and uint8 [33, 32, 32, 3].

    A clip is drawn as the first motion of a pair; for every other one, by chance, its frames are reversed and
    it counts as the other. So what ignores the order of frames cannot tell the two of a pair apart.
    """
    pair, covered = _letter(rng, _LETTERS[held], FONTS, _ACTIONS)
    return _either_way(rng, pair, over(np.full(3, rng.uniform(0, 60)), _WHITE, covered))


def ways(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """`actions` made easy: its motions, and uint8 [17, 32, 32, 3].

    A large bold capital, white on grey, that moves near the middle. Held-out letters are others.
    """
    pair, covered = _letter(rng, _CAPITALS[held], _BOLD, _WAYS)
    return _either_way(rng, pair, over(_GREY, _WHITE, covered))


def _letter(
    rng: np.random.Generator, letters: str, fonts: tuple[str, ...], ranges: _Ranges
) -> tuple[tuple[str, str], NDArray[np.float64]]:
    """A pair of motions, and the cover of a letter that moves in the first."""
    pair = PAIRS[rng.integers(len(PAIRS))]
    letter, font = letters[rng.integers(len(letters))], fonts[rng.integers(len(fonts))]
    return pair, _motion(rng, pair[0], letter, font, ranges)


def _either_way(
    rng: np.random.Generator, pair: tuple[str, str], clip: NDArray[np.uint8]
) -> tuple[str, NDArray[np.uint8]]:
    """A clip of the first motion of a pair, or, by chance, reversed as one of the second."""
    backwards = bool(rng.integers(2))
    return pair[backwards], clip[::-1] if backwards else clip


def _motion(
    rng: np.random.Generator, kind: str, letter: str, font: str, ranges: _Ranges
) -> NDArray[np.float64]:
    """Cover of all frames, float64 [T, 32, 32]; no ink leaves the picture."""
    time = np.linspace(0, 1, ranges.frames)
    em, angle = np.full(ranges.frames, rng.uniform(*ranges.em)), np.zeros(ranges.frames)
    share = np.ones(ranges.frames)
    way = np.zeros((ranges.frames, 2))
    if kind == "clockwise":
        angle = rng.uniform(0, 360) + rng.uniform(*ranges.turn) * time
    elif kind == "grow":
        em = em[0] * rng.uniform(*ranges.growth) ** (time - 1) * 1.5
    elif kind == "appear":
        share = np.minimum(1.0, time / rng.uniform(*ranges.whole))
    reached = np.max([reach(letter, font, *each) for each in zip(em, angle, strict=True)], 0)
    # Wide letters are drawn smaller.
    em, reached = em * min(1, 14 / reached.max()), reached * min(1, 14 / reached.max())
    room = SIDE / 2 - 1 - reached
    if kind in ("left", "up"):
        axis = int(kind == "up")
        length = min(rng.uniform(*ranges.length), 2 * room[axis])
        way[:, axis] = length * (0.5 - time)
        room[axis] -= length / 2
    room = np.minimum(room, ranges.off)
    middle = SIDE / 2 + rng.uniform(-room, room)
    covered = [
        cover(letter, font, e, (place[0], place[1]), side=SIDE, angle=a)
        for e, a, place in zip(em, angle, middle + way, strict=True)
    ]
    return np.stack(covered) * share[:, None, None]


def moves(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """The motions of `actions`, made simple: one of four letters of one font on black, uint8 [9, 32, 32, 3].

    Letters move by 2 px a frame from wall to wall, turn by 90 degrees, grow from 8 to 22 px, or get as bright
    as white. But for that, their middle is at one of 5x5 places that are 2 px apart. Of five pairs of letter
    and place one is held out. Every other clip, by chance, is reversed, as in `actions`.
    """
    while True:
        pair, letter, *place = rng.integers((len(PAIRS), len(_SIMPLE), 5, 5))
        kind = PAIRS[pair][0]
        if kind in STEPS:  # from wall to wall
            place[int(kind == "up")] = 2
        if ((letter + place[0] + 2 * place[1]) % 5 == 4) == held:
            break
    time = np.linspace(0, 1, MOVE_FRAMES)
    em, angle, share = (np.full(MOVE_FRAMES, each) for each in (16.0, 0.0, 1.0))
    way = np.full((MOVE_FRAMES, 2), 12.0) + 2 * np.array(place)
    if kind in STEPS:
        way[:, int(kind == "up")] += 16 * (0.5 - time)
    elif kind == "clockwise":
        angle = 90 * time
    elif kind == "grow":
        em = 8 + 14 * time
    else:
        share = time
    covered = [
        cover(_SIMPLE[letter], "DejaVuSans-Bold", e, (x, y), side=SIDE, angle=a) * part
        for e, (x, y), a, part in zip(em, way, angle, share, strict=True)
    ]
    return _either_way(rng, PAIRS[pair], over(np.zeros(3), _WHITE, np.stack(covered)))


def bounce(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """A white digit that moves 2 px a frame both ways, and bounces at walls: uint8 [17, 32, 32, 3].

    Its middle begins at one of 9x9 places that are 2 px apart. Of five pairs of digit and place one is held
    out: no held-out clip is among those to train on.
    """
    while True:
        digit, *place = rng.integers((10, 9, 9))
        if ((digit + place[0] + 2 * place[1]) % 5 == 4) == held:
            break
    # As if there were no walls, then folded back.
    path = np.array(place) + rng.choice((-1, 1), 2) * np.arange(FRAMES)[:, None]
    folded = 8 - np.abs(path % 16 - 8)
    covered = [cover(str(digit), "DejaVuSans", 16, (x, y), side=SIDE) for x, y in 8.0 + 2 * folded]
    return "bounce", over(np.zeros(3), _WHITE, np.stack(covered))


def grid(rng: np.random.Generator, *, held: bool, number: int) -> tuple[str, NDArray[np.uint8]]:
    """A white digit that moves 2 px a frame, in one of four directions, and comes back at the other side.

    It begins at a multiple of 8 px, so there are few distinct clips: uint8 [17, 32, 32, 3].
    """
    kind = tuple(STEPS)[rng.integers(len(STEPS))]
    digit = str(rng.integers(10))
    first = cover(digit, "DejaVuSans", 16, (8, 8), side=SIDE)
    across, down = 8 * rng.integers(0, 4, 2)
    step = STEPS[kind]
    frames = [np.roll(first, (down + n * step[1], across + n * step[0]), (0, 1)) for n in range(FRAMES)]
    return kind, over(np.zeros(3), _WHITE, np.stack(frames))
