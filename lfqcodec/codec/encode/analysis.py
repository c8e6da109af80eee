"""A cheap look at the pictures ahead: where scenes end, how much detail there is, how much moves.

Motion is compensated on a small luma picture, so that the cost does not grow with the size of pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.media import Frame, StreamPacket

Small = NDArray[np.float32]
_SMALL_PIXELS = 3600
"""About so many pixels has a small picture: 80x45 of 640x360."""
_BLOCK, _REACH = 8, 3
"""Motion is searched for squares of so many small pixels, so far in each direction."""
_NOISE = 2.0
"""What counts as no contrast, in 8-bit steps: differences of nearly black pictures prove nothing."""
# Measured on 171 clips of 64 pictures: differences over contrast are below 0.39 for 99.5% of pictures that
# follow their neighbour, and above 0.74 for 99% of pictures that do not.
_CUT = 0.6
_PEAK = 1.6
"""So many times the difference of the pictures around it: fast motion goes on, a cut is one picture."""
_SIDE = 2
"""So many pictures before a cut are compared with it, and one behind."""
_FLASH = 4
"""A flash has fewer pictures than that, and then the scene returns."""


@dataclass(frozen=True)
class Analysed:
    """A picture and what it is made of, in 8-bit steps.

    `cut`: a scene begins. `change`: mean difference from the picture before, after motion compensation, 0 for
    the first picture. `detail`: mean difference of pixels next to each other.
    """

    frame: Frame
    cut: bool
    change: float
    detail: float


@dataclass(frozen=True)
class _Seen:
    frame: Frame
    small: Small
    change: float
    novelty: float


def analyse(events: Iterable[Frame | StreamPacket]) -> Iterator[Analysed | StreamPacket]:
    """All events in order, frames analysed; packets come up to four frames early.

    A cut is a picture that differs from the one before far more than its neighbours do from theirs, unless
    it is like one of the pictures before, or one of the next is like the last before it: then there was a
    flash. Fades change too slowly to count.
    """
    behind: deque[_Seen] = deque(maxlen=_FLASH)
    ahead: deque[_Seen] = deque()
    last: Small | None = None
    for event in events:
        if isinstance(event, StreamPacket):
            yield event
            continue
        small = small_luma(event.rgb)
        difference = 0.0 if last is None else change(last, small)
        novelty = 0.0 if last is None else difference / _contrast(last, small)
        ahead.append(_Seen(event, small, difference, novelty))
        last = small
        if len(ahead) == _FLASH:
            yield _judge(behind, ahead)
    while ahead:
        yield _judge(behind, ahead)


def _judge(behind: deque[_Seen], ahead: deque[_Seen]) -> Analysed:
    """Take the first picture of `ahead`, with what is known around it."""
    here = ahead.popleft()
    cut = bool(behind) and _is_cut(behind, here, ahead)
    behind.append(here)
    return Analysed(here.frame, cut, here.change, detail(here.frame.rgb))


def _is_cut(behind: Iterable[_Seen], here: _Seen, ahead: Iterable[_Seen]) -> bool:
    before, after = list(behind), list(ahead)
    around = [each.novelty for each in (*before[-_SIDE:], *after[:1])]
    if here.novelty < max(_CUT, _PEAK * max(around)):
        return False
    return all(_is_new(before[-1], each) for each in after) and all(_is_new(each, here) for each in before)


def _is_new(before: _Seen, now: _Seen) -> bool:
    return change(before.small, now.small) >= _CUT * _contrast(before.small, now.small)


def small_luma(picture: NDArray[np.uint8]) -> Small:
    """float32 [h, w], about 3600 averages of squares of `picture` uint8 [H, W, 3]."""
    height, width = picture.shape[:2]
    factor = min(height, width, max(1, round((height * width / _SMALL_PIXELS) ** 0.5)))
    step = max(1, factor // 4)
    side = factor // step
    rows, columns = height // (side * step), width // (side * step)
    some = picture[::step, ::step][: rows * side, : columns * side].astype(np.uint16)
    luma = some[..., 0] + 2 * some[..., 1] + some[..., 2]
    small: Small = luma.reshape(rows, side, columns, side).mean((1, 3), dtype=np.float32) / 4
    return small


def change(before: Small, now: Small) -> float:
    """Mean difference of `now` from `before` after motion compensation, both without their means."""
    height, width = now.shape
    then = np.pad(before - before.mean(), _REACH, mode="edge")
    here = now - now.mean()
    down, right = range(0, height, _BLOCK), range(0, width, _BLOCK)
    best = np.full((len(down), len(right)), np.inf, np.float32)
    for y in range(2 * _REACH + 1):
        for x in range(2 * _REACH + 1):
            off = np.abs(here - then[y : y + height, x : x + width])
            sums = np.add.reduceat(np.add.reduceat(off, down, 0), right, 1)
            np.minimum(best, sums, out=best)
    return float(best.sum()) / now.size


def detail(picture: NDArray[np.uint8]) -> float:
    """Mean difference of pixels next to each other in a row: green, every fourth row."""
    rows = picture[::4, :, 1].astype(np.int16)
    return float(np.abs(np.diff(rows)).mean()) if rows.shape[1] > 1 else 0.0


def _contrast(*pictures: Small) -> float:
    """Mean difference from its mean of the picture that has the least of it, but never nothing."""
    return _NOISE + min(float(np.abs(each - each.mean()).mean()) for each in pictures)
