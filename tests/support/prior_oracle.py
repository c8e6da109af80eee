"""The prior once more, in plain integers and without torch: slow, to be read beside spec sections 18 to 23.

It shares no arithmetic, no schedule and no window layout with the fast path: tokens look at sets of
positions instead of slots, and every number is an int64 of numpy. Both must give the same rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.prior.weights import PriorWeights

Array = NDArray[np.int64]
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_Vectors = list[tuple[Array, Array]]


def _clip(values: Array, low: int, high: int) -> Array:
    return np.minimum(np.maximum(values, low), high)


def rounded_shift(values: Array, shift: Array) -> Array:
    """values / 2^shift to the nearest integer, ties to even."""
    quotient = values >> shift
    twice = 2 * (values - (quotient << shift))
    unit = np.int64(1) << shift
    up = (twice > unit) | ((twice == unit) & (quotient & 1 == 1))
    return np.asarray(np.where(shift > 0, quotient + up, values), np.int64)


def normalise(x: Array) -> Array:
    """int64 [n, d] -> [n, d] in +-127."""
    r = np.array([max(1, math.isqrt(16 * int((row * row).sum()) // len(row))) for row in x])[:, None]
    return _clip((256 * x + r) // (2 * r), -127, 127)


def squared_relu(a: Array) -> Array:
    """int64 [...] -> [...] in 0..126."""
    return rounded_shift(_clip(a, 0, 127) ** 2, np.array(7))


def signs(token: int) -> Array:
    """The 18 signs of a token, 0 for the unknown one, -1."""
    if token < 0:
        return np.zeros(18, np.int64)
    return np.array([1 if token >> bit & 1 else -1 for bit in range(18)], np.int64)


def rank_of(y: int, x: int) -> int:
    """Place of a token in the order of its 8x8 tile."""
    a, b = (x ^ y) % 8, y % 8
    return sum((a >> bit & 1) * 2 ** (5 - 2 * bit) + (b >> bit & 1) * 2 ** (4 - 2 * bit) for bit in range(3))


def frequency_row(logits: Array, table: Array) -> Array:
    """int64 [512] logits to frequencies, int64 [512]."""
    raised = table[np.minimum(logits.max() - logits, 1023)]
    row = 1 + raised * ((1 << 24) - 512) // raised.sum()
    row[np.flatnonzero(logits == logits.max())[0]] += (1 << 24) - row.sum()
    return row  # type: ignore[no-any-return]


class OracleCoder:
    """The same interface as `GopCoder`."""

    def __init__(self, weights: PriorWeights, h: int, w: int) -> None:
        self.config, self.arrays, self.h, self.w = weights.config, weights.arrays, h, w
        self._clear()

    def _clear(self) -> None:
        self.tokens: dict[tuple[int, int], list[int]] = {}
        self.memory: dict[tuple[int, int], list[_Vectors]] = {}
        self.begin = self.end = 0

    def begin_chunk(self, frames: int, *, gop_start: bool) -> None:
        """Go on to a chunk of `frames` latent frames."""
        if gop_start:
            self._clear()
        self.begin, self.end = self.end, self.end + frames

    def rows(self, stage: int) -> RowSource:
        """The row source of a stage of the chunk."""
        for time in range(self.begin, self.end):
            yield from self._frame(stage, time, 2 * self.h * self.w * (time - self.begin))

    def _linear(self, name: str, x: Array) -> Array:
        weight = self.arrays[f"{name}.weight"]
        product = x @ weight[:, : x.shape[1]].T
        if f"{name}.bias" in self.arrays:
            product = product + self.arrays[f"{name}.bias"]
        return rounded_shift(product, self.arrays[f"{name}.shift"])

    def _frame(self, stage: int, time: int, offset: int) -> RowSource:
        steps = (self.config.later_steps if time else self.config.first_steps)[stage]
        area, layers = self.h * self.w, self.config.layers
        self.tokens[stage, time] = [-1] * area
        nothing = np.zeros(self.config.width, np.int64)
        self.memory[stage, time] = [[(nothing, nothing)] * area for _ in range(layers)]
        for number in range(steps):
            begin, end = (math.ceil(64 * j * j / steps**2) for j in (number, number + 1))
            chosen = [p for p in range(area) if begin <= rank_of(*divmod(p, self.w)) < end]
            if not chosen:
                continue
            features = np.stack([self._features(stage, time, p, begin) for p in chosen])
            x = self._query(features, stage, time, chosen, begin)
            places = 2 * np.array(chosen) + offset
            first = yield Batch(places, self._weights(self._linear("head.first", normalise(x))))
            second = yield Batch(places + 1, self._weights(self._second(x, first)))
            for p, low, high in zip(chosen, first, second, strict=True):
                self.tokens[stage, time][p] = int(low) + 512 * int(high)
            features = np.stack([self._features(stage, time, p, None) for p in chosen])
            self._learn(features, stage, time, chosen, end)

    def _weights(self, logits: Array) -> NDArray[np.float64]:
        table = self.arrays["table.logit"]
        return np.array([frequency_row(row, table) - 1 for row in logits], np.float64)

    def _second(self, x: Array, first: NDArray[np.int32]) -> Array:
        bits = np.stack([signs(int(symbol))[:9] for symbol in first])
        x = _clip(x + self._linear("head.join", bits), -32767, 32767)
        return self._linear("head.second", normalise(self._pointwise("head", x)))

    def _pointwise(self, name: str, x: Array) -> Array:
        hidden = squared_relu(self._linear(f"{name}.up", normalise(x)))
        return _clip(x + self._linear(f"{name}.down", hidden), -32767, 32767)

    def _query(self, features: Array, stage: int, time: int, chosen: list[int], known: int) -> Array:
        x = self._linear("query.embed", features)
        for layer in range(self.config.layers):
            x = self._block(f"query.{layer}", layer, x, stage, time, chosen, known)
        return x

    def _learn(self, features: Array, stage: int, time: int, chosen: list[int], known: int) -> None:
        x = self._linear("context.embed", features)
        for layer in range(self.config.layers):
            both = _clip(self._linear(f"memory.{layer}", normalise(x)), -127, 127)
            for p, row in zip(chosen, both, strict=True):
                self.memory[stage, time][layer][p] = row[: self.config.width], row[self.config.width :]
            if layer < self.config.context_layers:
                x = self._block(f"context.{layer}", layer, x, stage, time, chosen, known)

    def _block(
        self, name: str, layer: int, x: Array, stage: int, time: int, chosen: list[int], known: int
    ) -> Array:
        queries = _clip(self._linear(f"{name}.ask", normalise(x)), -127, 127)
        mixed = [
            self._attend(name, layer, query, stage, time, p, known)
            for query, p in zip(queries, chosen, strict=True)
        ]
        x = _clip(x + self._linear(f"{name}.mix", np.stack(mixed)), -32767, 32767)
        return self._pointwise(name, x)

    def _attend(
        self, name: str, layer: int, query: Array, stage: int, time: int, at: int, known: int
    ) -> Array:
        shift = 4 * (layer % 2)
        y, x = divmod(at, self.w)
        same = [
            (v, u)
            for v in range(self.h)
            for u in range(self.w)
            if (v + shift) // 8 == (y + shift) // 8 and (u + shift) // 8 == (x + shift) // 8
        ]
        found: list[tuple[int, int, int]] = [(0, v, u) for v, u in same if rank_of(v, u) < known]
        for back in range(1, self.config.kept_frames + 1):
            if (stage, time - back) not in self.memory:
                break
            found += [(back, v, u) for v, u in same]
        size = self.config.head_width
        answer = []
        for head in range(self.config.heads):
            part = slice(head * size, (head + 1) * size)
            scores, values = [int(self.arrays[f"{name}.none"][head])], [np.zeros(size, np.int64)]
            for back, v, u in found:
                key, value = self.memory[stage, time - back][layer][v * self.w + u]
                place = self.arrays[f"{name}.place"][back, head, 15 * (v - y + 7) + (u - x + 7)]
                scores.append(int(query[part] @ key[part] + place))
                values.append(value[part])
            distance = [min((max(scores) - score) // 128, 255) for score in scores]
            weight = self.arrays["table.score"][distance]
            total = weight.sum()
            answer.append((2 * (weight @ np.stack(values)) + total) // (2 * total))
        return np.concatenate(answer)

    def _token(self, stage: int, time: int, y: int, x: int) -> int:
        if not (0 <= y < self.h and 0 <= x < self.w) or (stage, time) not in self.tokens:
            return -1
        return self.tokens[stage, time][y * self.w + x]

    def _features(self, stage: int, time: int, at: int, known: int | None) -> Array:
        y, x = divmod(at, self.w)
        flags = np.zeros(self.config.stages + 3 + 8, np.int64)
        flags[stage] = flags[self.config.stages + min(time, 2)] = 1
        if known is not None:
            flags[self.config.stages + 3 + known // 8] = 1
        parts = [flags, *(signs(self._token(stage - 1, time, y + dy, x + dx)) for dy, dx in _AROUND)]
        for lower in range(stage + 1):
            now, before, earlier = (signs(self._token(lower, time - back, y, x)) for back in range(3))
            still, same = before * earlier, now * before
            agree = np.array([still.sum() == 18, same.sum() == 18], np.int64)
            parts += [now, before, earlier, still, same, agree]
        return np.concatenate(parts)
