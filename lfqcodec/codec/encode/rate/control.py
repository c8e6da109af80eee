"""At which crf each chunk is coded: always the same, or so that the file keeps to a bitrate.

Nothing is coded twice. A bitrate is kept by a model of sizes that learns from every chunk: in one pass from
what the analysis of pictures says of them, in the second of two from what the first pass took.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lfqcodec.bitstream.limits import CHUNK_FRAMES
from lfqcodec.codec.encode.options import MAX_CRF
from lfqcodec.codec.encode.rate.quality import DEFAULT_CRF
from lfqcodec.codec.encode.rate.stats import ChunkStats
from lfqcodec.errors import LfqError

if TYPE_CHECKING:
    from lfqcodec.codec.encode.source.chunk import SourceChunk

_SLOPE, _SLOPE_SD, _SLOPE_START_SD = 1 / 6, 0.05, 0.03
"""Halvings of the size for a step of crf; how much videos differ in that (one standard deviation), and the
starts of their GOPs from the rest."""
_LEAST_SLOPE = _SLOPE / 5
_LEVEL_SD, _START_SD, _SECOND_SD = 0.5, 0.2, 0.1
"""How far sizes are from what is expected before any is known, in octaves; the last one after pass 1."""
_SIZE_NOISE = 0.1
"""How far sizes of chunks scatter around the model, in octaves."""
_FORGET = 0.9
"""What older chunks still count, after each new one."""
_LEAST_SHARE = 0.25
"""Whatever was overspent before, what comes next gets so much of its share."""
_MOST_STEP = 9.0
"""By so much crf differs from chunk to chunk at most: what is left of a miss is caught up later."""
_WINDOW_SECONDS = 5.0
"""What was spent too much or too little is caught up in this time, or a GOP where that is longer."""
_END_BYTES, _INDEX_BYTES = 62, 6
"""What index and trailer take, and an entry of the index for each GOP, about."""
# Fitted to clips at crf 30: bits for each pixel of a first picture, and of one in a group. They are right
# within 0.2 and 0.5 octaves (one standard deviation). From clip to clip bits grow with change to the power of
# 0.65, but within one less, and levels of clips are learned.
_INTRA, _INTRA_DETAIL = 0.6, 0.4
_GROUP, _GROUP_CHANGE, _GROUP_DETAIL = 0.0235, 0.45, 0.4


class RateControl(Protocol):
    """Gives each chunk its crf, in order, and hears how many bits it took."""

    def crf(self, chunk: SourceChunk) -> float:
        """The crf for the next chunk."""

    def coded(self, bits: int) -> None:
        """The chunk is coded, in so many bits of the file."""

    def state(self) -> dict[str, Any]:
        """All that it knows between two chunks, as JSON has it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass
class ConstantCrf:
    """The same crf for every chunk."""

    value: float

    def crf(self, chunk: SourceChunk) -> float:
        """As in `RateControl`."""
        return self.value

    def coded(self, bits: int) -> None:
        """Nothing is learned."""

    def state(self) -> dict[str, Any]:
        """There is none."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class SizeModel:
    """log2(bits / expected) = level - slope * (crf - reference), each differing at the start of a GOP.

    Bayesian linear regression: the numbers have standard deviations before anything is measured, and every
    chunk makes them more certain; old chunks are forgotten slowly.
    """

    def __init__(self, level_sd: float, start_sd: float) -> None:
        deviations = np.array([level_sd, _SLOPE_SD, start_sd, _SLOPE_START_SD])
        self._prior = np.diag((_SIZE_NOISE / deviations) ** 2)
        self._mean = np.array([0.0, _SLOPE, 0.0, 0.0])
        self._squares, self._products = np.zeros((4, 4)), np.zeros(4)

    def factors(self) -> Callable[[float], tuple[float, float]]:
        """By crf relative to the reference, over what is expected: chunks that start a GOP, others."""
        known = self._mean + np.linalg.solve(self._prior + self._squares, self._products)
        level, slope, level_start, slope_start = map(float, known)
        slopes = max(_LEAST_SLOPE, slope + slope_start), max(_LEAST_SLOPE, slope)
        return lambda crf: (2 ** (level + level_start - slopes[0] * crf), 2 ** (level - slopes[1] * crf))

    def learn(self, ratio: float, crf: float, *, gop_start: bool) -> None:
        """A chunk took `ratio` times what was expected, at a crf relative to the reference."""
        inputs = np.array([1.0, -crf, float(gop_start), -crf * gop_start])
        error = math.log2(ratio) - float(inputs @ self._mean)
        self._squares = _FORGET * self._squares + np.outer(inputs, inputs)
        self._products = _FORGET * self._products + inputs * error

    def state(self) -> list[list[float]]:
        """For `restore`."""
        return [*self._squares.tolist(), self._products.tolist()]

    def restore(self, state: list[list[float]]) -> None:
        """Go back to a state."""
        self._squares, self._products = np.array(state[:-1]), np.array(state[-1])


@dataclass(frozen=True)
class _Ahead:
    """What is still to be coded: bits expected at the reference crf of chunks by kind, pictures, GOPs."""

    starts: float = 0.0
    others: float = 0.0
    pictures: int = 0
    gops: int = 0

    def and_before(self, pictures: int, bits: float, *, gop_start: bool) -> _Ahead:
        """With a chunk that comes before it."""
        starts, others = (bits, 0.0) if gop_start else (0.0, bits)
        gops = self.gops + gop_start
        return _Ahead(self.starts + starts, self.others + others, self.pictures + pictures, gops)


class _Bitrate:
    """What one pass and the second of two have in common.

    `bitrate` in bits per second, `tick` in seconds, `spent` bits are in the file before the first chunk;
    sizes are expected for the crf `reference`.
    """

    def __init__(
        self, bitrate: float, tick: Fraction, spent: int, model: SizeModel, reference: float
    ) -> None:
        self._bitrate, self._tick, self._spent = bitrate, tick, spent
        self._model, self._reference = model, reference
        self._begin: int | None = None
        self._done = 0
        self._last: float | None = None
        self._expected = 0.0, False

    def _take(self, chunk: SourceChunk) -> float:
        """Count a chunk as the next; gives how long a picture is shown so far, in seconds."""
        self._begin = chunk.pts[0] if self._begin is None else self._begin
        self._done += len(chunk.pictures)
        return self._elapsed(chunk.pts[-1] + chunk.last_duration) / self._done

    def _elapsed(self, time: int) -> float:
        return float((time - (self._begin or 0)) * self._tick)

    def _choose(self, chunk: SourceChunk, expected: float, ahead: _Ahead, picture_seconds: float) -> float:
        """The crf at which this chunk, of which so many bits are expected, and those ahead fit."""
        all_ = ahead.and_before(len(chunk.pictures), expected, gop_start=chunk.gop_start)
        seconds = self._elapsed(chunk.pts[-1] + chunk.last_duration) + picture_seconds * ahead.pictures
        share = self._bitrate * (seconds - self._elapsed(chunk.pts[0]))
        allowed = self._bitrate * seconds - self._spent - 8 * (_END_BYTES + _INDEX_BYTES * all_.gops)
        allowed = max(allowed, _LEAST_SHARE * share)
        factors = self._model.factors()
        low, high = 0.0, MAX_CRF
        if self._last is not None:
            low, high = max(low, self._last - _MOST_STEP), min(high, self._last + _MOST_STEP)
        while high - low > 1e-3:
            crf = (low + high) / 2
            start, other = factors(crf - self._reference)
            low, high = (crf, high) if start * all_.starts + other * all_.others > allowed else (low, crf)
        self._last = crf = high if high == MAX_CRF else low
        self._expected = expected, chunk.gop_start
        return crf

    def coded(self, bits: int) -> None:
        """As in `RateControl`."""
        assert self._last is not None
        expected, gop_start = self._expected
        self._spent += bits
        self._model.learn(bits / expected, self._last - self._reference, gop_start=gop_start)

    def state(self) -> dict[str, Any]:
        """As in `RateControl`."""
        position = {"spent": self._spent, "begin": self._begin, "done": self._done, "crf": self._last}
        return {**position, "model": self._model.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """As in `RateControl`."""
        self._spent, self._begin, self._done = state["spent"], state["begin"], state["done"]
        self._last = state["crf"]
        self._model.restore(state["model"])


class OnePass(_Bitrate):
    """Keeps to a bitrate from what is known so far.

    `size` is (H, W), `gop` the most pictures of a GOP, `pictures` how many there will be, None if unknown.
    The bits ahead are those of pictures like the ones of this chunk, with as many GOPs as there must be.
    """

    def __init__(
        self,
        bitrate: float,
        tick: Fraction,
        spent: int,
        size: tuple[int, int],
        gop: int,
        pictures: int | None,
    ) -> None:
        super().__init__(bitrate, tick, spent, SizeModel(_LEVEL_SD, _START_SD), DEFAULT_CRF)
        self._pixels, self._gop, self._pictures = size[0] * size[1], gop, pictures
        self._in_gop = 0
        self._intra = 0.0

    def crf(self, chunk: SourceChunk) -> float:
        """As in `RateControl`."""
        count = len(chunk.pictures)
        picture_seconds = self._take(chunk)
        detail = chunk.detail / count + 0.5
        if chunk.gop_start:
            self._in_gop = 0
            self._intra = self._pixels * _INTRA * detail**_INTRA_DETAIL
        self._in_gop += count
        in_groups = count - chunk.gop_start
        change = chunk.change / max(1, in_groups) + 0.3
        each = self._pixels * _GROUP * change**_GROUP_CHANGE * detail**_GROUP_DETAIL
        expected = in_groups * each + (self._intra if chunk.gop_start else 0.0)
        window = max(self._gop, round(_WINDOW_SECONDS / picture_seconds)) - count
        if self._pictures is not None:
            window = min(window, self._pictures - self._done)
        ahead = self._ahead(max(0, window), 0 if chunk.gop_end else self._gop - self._in_gop, each)
        return self._choose(chunk, expected, ahead, picture_seconds)

    def _ahead(self, window: int, left: int, each: float) -> _Ahead:
        """`window` pictures of `each` bits, the first `left` of which belong to this GOP."""
        gops = -(-max(0, window - left) // self._gop)
        # Chunks that start a GOP hold pictures of groups, too.
        in_starts = min(gops * (CHUNK_FRAMES - 1), window - gops)
        return _Ahead(gops * self._intra + in_starts * each, (window - gops - in_starts) * each, window, gops)

    def state(self) -> dict[str, Any]:
        """As in `RateControl`. It is asked for between GOPs only, but first pictures are remembered."""
        return {**super().state(), "intra": self._intra}

    def restore(self, state: dict[str, Any]) -> None:
        """As in `RateControl`."""
        super().restore(state)
        self._intra = state["intra"]


class SecondPass(_Bitrate):
    """Keeps to a bitrate with one crf, if all goes as `stats`, those of pass 1, let expect.

    `name` is that of their file.
    """

    def __init__(
        self, bitrate: float, tick: Fraction, spent: int, stats: list[ChunkStats], name: str
    ) -> None:
        super().__init__(bitrate, tick, spent, SizeModel(_SECOND_SD, _SECOND_SD), stats[0].crf)
        self._stats, self._name, self._chunks = stats, name, 0
        ahead = [_Ahead()]
        for each in reversed(stats):
            ahead.append(ahead[-1].and_before(each.pictures, each.bits, gop_start=each.gop_start))
        self._ahead = ahead[::-1]

    def crf(self, chunk: SourceChunk) -> float:
        """As in `RateControl`. Raises `LfqError` for chunks that pass 1 did not have."""
        now = self._stats[self._chunks] if self._chunks < len(self._stats) else None
        if now is None or (now.pictures, now.gop_start) != (len(chunk.pictures), chunk.gop_start):
            raise LfqError(f"{self._name}: was made from another input, or with another GOP length")
        self._chunks += 1
        return self._choose(chunk, now.bits, self._ahead[self._chunks], self._take(chunk))

    def state(self) -> dict[str, Any]:
        """As in `RateControl`."""
        return {**super().state(), "chunks": self._chunks}

    def restore(self, state: dict[str, Any]) -> None:
        """As in `RateControl`."""
        super().restore(state)
        self._chunks = state["chunks"]
