"""How much each part of a video is given: a fixed lambda, or one that steers towards a bitrate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lfqcodec.codec.gop import OperatingPoint
from lfqcodec.weights.rates import MAX_CRF, RateTable

Coded = TypeVar("Coded")

LOOKAHEAD = 4
"""Chunks that are coded with one crf when steering towards a bitrate."""
_TOLERANCE = 0.01
_TRIES = 8
_CRF_PER_DOUBLING = 9.0
"""First guess of the crf that halves the size."""
_LEAST_STEP = 1.5


@dataclass
class BitrateControl:
    """Finds, segment by segment, the crf at which the file keeps to its bitrate.

    `bitrate` in bits per second. Segments are tried again until their size fits what the file may hold by
    their end, within 1%, or the ends of the range of crf are reached.
    """

    table: RateTable
    stages: int
    bitrate: float
    crf: float = field(init=False)

    def __post_init__(self) -> None:
        self.crf = self.table.default_crf

    def point(self, crf: float) -> OperatingPoint:
        """Where chunks are coded at `crf`."""
        return OperatingPoint(*self.table.point(crf, self.stages))

    def code(
        self,
        allowed: float,
        chunks: int,
        attempt: Callable[[list[OperatingPoint]], tuple[float, Coded]],
    ) -> Coded:
        """Code a segment of so many chunks in at most `allowed` bits, as far as that can be done.

        `attempt` codes it, each chunk at its operating point, and tells the bits and the result; it is
        called several times, and the result of one call is returned.
        """
        allowed = max(allowed, 1.0)
        low, high = 0.0, MAX_CRF  # too many bits at `low`, too few at `high`, once tried
        sizes: dict[float, float] = {}
        best: tuple[float, Coded] | None = None
        crf = self.crf
        for _ in range(_TRIES):
            bits, coded = attempt([self.point(crf)] * chunks)
            sizes[crf] = bits
            miss = abs(math.log(max(bits, 1.0) / allowed))
            if best is None or miss < best[0]:
                best = miss, coded
                self.crf = crf
            if miss <= _TOLERANCE or (crf == 0 and bits < allowed) or (crf == MAX_CRF and bits > allowed):
                break
            if bits > allowed:
                low = crf
            else:
                high = crf
            crf = self._next(low, high, sizes, allowed)
            if crf in sizes:
                break
        assert best is not None
        step = sizes.get(low, -math.inf) > allowed >= sizes.get(high, math.inf)
        if best[0] > _TOLERANCE and step:
            # A step in the sizes, where a stage goes: the first chunks stay on this side of it, and how far
            # the others go beyond it is found as before.
            share = (allowed - sizes[high]) / (sizes[low] - sizes[high])
            many = min(chunks, math.ceil(share * chunks))
            before, beyond, crf = self.point(low), high, high
            sizes, high = {}, MAX_CRF
            for _ in range(_TRIES):
                after = self.point(crf)
                bits, coded = attempt([before] * many + [after] * (chunks - many))
                sizes[crf] = bits
                miss = abs(math.log(max(bits, 1.0) / allowed))
                if miss < best[0]:
                    best = miss, coded
                if miss <= _TOLERANCE or (crf == beyond and bits < allowed):
                    break
                beyond, high = (crf, high) if bits > allowed else (beyond, crf)
                crf = self._next(beyond, high, sizes, allowed)
        return best[1]

    @staticmethod
    def _next(low: float, high: float, sizes: dict[float, float], allowed: float) -> float:
        """Where the size should fit, by the sizes at the ends of the range, in logarithms."""
        goal = math.log(allowed)
        above, below = sizes.get(low), sizes.get(high)
        if above is not None and below is not None:
            up, down = math.log(max(above, 1.0)), math.log(max(below, 1.0))
            share = (up - goal) / max(up - down, 1e-9)
            # Away from the ends, so that the range shrinks at both.
            return low + (high - low) * min(0.9, max(0.1, share))
        known = above if above is not None else below
        assert known is not None
        start = low if above is not None else high
        step = _CRF_PER_DOUBLING * (math.log(max(known, 1.0)) - goal) / math.log(2)
        # Further than the guess, so that the size is soon known on both sides.
        step = math.copysign(max(_LEAST_STEP, 1.15 * abs(step)), step)
        return min(high, max(low, start + step))
