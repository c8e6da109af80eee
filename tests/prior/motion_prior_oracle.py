"""The learned rate model of `motion` once more, position by position in plain integers: slow, to be read.

It shares no arithmetic and no feature code with the fast path; both must give the same rows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from lfqcodec.bitstream.geometry import Layer
from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.prior.motion.weights import MotionPriorWeights

DIRECT = ((-1, 0), (0, -1), (0, 1), (1, 0))
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
DEPTHS = {4: (0, 1, 2, 4), 3: (0, 1, 2, 3), 2: (0, 1, 2), 1: (0, 1)}
ONE = [2**24 - 511] + [1] * 511
Vector = tuple[int, ...]


def median(*values: int) -> int:
    return sorted(values)[1]


def signed(symbol: int) -> int:
    return (symbol + 256) % 512 - 256


def _likeliest(logits: Sequence[int | None]) -> int:
    """The first of the largest."""
    known = [-(2**40) if value is None else value for value in logits]
    return known.index(max(known))


def rounded_shift(values: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """values / 2^shift to the nearest integer, ties to even."""
    quotient = values >> shift
    twice = 2 * (values - (quotient << shift))
    unit = np.int64(1) << shift
    up = (twice > unit) | ((twice == unit) & (quotient & 1 == 1))
    return np.where(shift > 0, quotient + up, values)


class Picture:
    """Tokens of one plane of a layer, 0 outside."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.rows, self.columns = tokens.shape
        self.at = {(y, x): int(tokens[y, x]) for y in range(self.rows) for x in range(self.columns)}

    def values(self, y: int, x: int) -> list[int]:
        token = self.at.get((y, x), 0)
        return [(1 if token >> j + 9 & 1 else -1) if token >> j & 1 else 0 for j in range(9)]

    def used(self, y: int, x: int, around: Sequence[Vector]) -> list[int]:
        """How many of these neighbours have value j not 0."""
        near = [self.values(y + dy, x + dx) for dy, dx in around]
        return [sum(abs(v[j]) for v in near) for j in range(9)]


class MotionOracle:
    """The interface of a `RateModel`; every batch is one subtoken."""

    def __init__(self, weights: MotionPriorWeights) -> None:
        self.config, self.arrays = weights.config, weights.arrays
        self.past: dict[str, Any] = {}
        self.known: dict[str, np.ndarray] = {}

    def begin_chunk(self, groups: Sequence[Sequence[Layer]], *, gop_start: bool) -> None:
        """As in `RateModel`."""
        self.end_group(gop_start)
        self.groups = [{layer.name: layer for layer in group} for group in groups]
        self.anchors = ["motion.anchor" in group for group in self.groups]
        self.of_chunk: dict[str, np.ndarray] = {}
        self.number = 0
        self.known = {}

    def begin_group(self) -> None:
        """As in `RateModel`. Layers of the chunk have to be run before."""
        if self.number:
            self.end_group(False)
        self.layers = self.groups[self.number]
        self.known = {"quality": self.of_chunk["quality"][self.number :][:1]}
        if "motion.anchor" in self.layers:
            plane = sum(self.anchors[: self.number])
            self.known["motion.anchor"] = self.of_chunk["motion.anchor"][plane : plane + 1]
        self.fields: dict[str, list[dict[Vector, Vector]]] = {}
        self.pictures: dict[tuple[str, int], Picture] = {}
        self.number += 1

    def end_group(self, gop_start: bool) -> None:
        if gop_start:
            self.past = {}
        elif self.known:
            self.past = {"quality": self.quality()}
            if "anchor.0" in self.known:
                anchor = [Picture(self.known[f"anchor.{k}"][0]) for k in range(self.config.anchor_layers)]
                self.past |= {"anchor": anchor, "field": self.field("anchor")[0]}

    @staticmethod
    def places(shape: Vector) -> list[tuple[int, int, int]]:
        return [(p, y, x) for p in range(shape[0]) for y in range(shape[1]) for x in range(shape[2])]

    @staticmethod
    def coder(shape: Vector, tokens: np.ndarray) -> Any:
        """Codes a subtoken of `tokens` under a row."""

        def code(
            which: int, place: tuple[int, int, int], row: list[int]
        ) -> Generator[Batch, np.ndarray, int]:
            assert sum(row) == 1 << 24
            position = 2 * MotionOracle.places(shape).index(place) + which
            symbols = yield Batch(np.array([position]), np.array([row], np.float64) - 1)
            tokens[place] |= int(symbols[0]) << 9 * which
            return int(symbols[0])

        return code

    def chunk_rows(self, number: int) -> RowSource:
        """As in `RateModel`."""
        name = ("quality", "motion.anchor")[number]
        layers = [group[name] for group in self.groups if name in group]
        shape = len(layers), *layers[0].shape[1:]
        self.of_chunk[name] = tokens = np.zeros(shape, np.int64)
        code, places = self.coder(shape, tokens), self.places(shape)
        if name == "quality":
            for place in places:
                row = [2**23 // 511 if self.past or place[0] else 1 << 15] * 512
                row[0] += 2**24 - sum(row)
                yield from code(0, place, row)
            for place in places:
                yield from code(1, place, ONE)
            return
        qualities = (self.past.get("quality", 0) + np.cumsum(self.of_chunk["quality"])) % 512
        of_anchor = [int(q) for q, has in zip(qualities, self.anchors, strict=True) if has]
        yield from self.anchor_motion(places, tokens, of_anchor, code)

    def rows(self, number: int) -> RowSource:
        """As in `RateModel`, of layers that are not the chunk's."""
        layer = list(self.layers.values())[number]
        self.known[layer.name] = tokens = np.zeros(layer.shape, np.int64)
        kind, _, name = layer.name.partition(".")
        code, places = self.coder(layer.shape, tokens), self.places(layer.shape)
        part = name if kind in ("motion", "depth") else kind
        network = "between" if part in ("middle", "quarters") else part
        for which in (0, 1):
            for place in places:
                if kind not in ("motion", "depth") and self.count(kind, *place) <= int(name):
                    yield from code(which, place, ONE)
        for step in range(4):
            here = [place for place in places if self.step(part, *place[1:]) == step]
            if kind in ("motion", "depth"):
                sees = [getattr(self, f"{kind}_features")(part, step, place) for place in here]
                first = {}
                for place, features in zip(here, sees, strict=True):
                    end = ".dy" if kind == "motion" else ""
                    logits = self.network(f"{kind}.{network}{end}", features)
                    row = (
                        self.motion_row(logits)
                        if kind == "motion"
                        else self.product(logits[:16], logits[16:])
                    )
                    first[place] = yield from code(0, place, row)
                for place, features in zip(here, sees, strict=True):
                    if kind == "motion":
                        size = self.signed_bits(first[place])
                        more = [size, abs(size), int(size != 0)]
                        row = self.motion_row(self.network(f"motion.{network}.dx", features + more))
                        yield from code(1, place, row)
                continue
            here = [place for place in here if self.count(kind, *place) > int(name)]
            sees = [
                self.network(f"{network}.{name}", self.token_features(kind, int(name), step, place))
                for place in here
            ]
            first = {}
            for place, logits in zip(here, sees, strict=True):
                first[place] = yield from code(0, place, self.product(logits[:32], logits[32:48]))
            for place in here:
                if not first[place]:
                    yield from code(1, place, ONE)
            for place, logits in zip(here, sees, strict=True):
                if first[place]:
                    yield from code(1, place, self.sign_row(logits[48:], first[place]))
        if kind == "depth":
            for place in places:
                yield from code(1, place, ONE)

    def snapshot(self) -> None:
        """Not needed in tests."""
        raise NotImplementedError

    def restore(self, snapshot: Any) -> None:
        """Not needed in tests."""
        raise NotImplementedError

    # Geometry.

    @staticmethod
    def step(part: str, y: int, x: int) -> int:
        return {(0, 0): 0, (1, 1): 1, (0, 1): 2, (1, 0): 3}[y % 2, x % 2] if part == "intra" else (y + x) % 2

    def choice(self, part: str, p: int, y: int, x: int) -> int:
        """Of the block of 16x16 in row y, column x."""
        return int(self.known[f"depth.{part}"][p, y // 2, x // 2]) >> 2 * (2 * (y % 2) + x % 2) & 3

    def depths(self, part: str) -> tuple[int, ...]:
        return DEPTHS[self.config.anchor_layers if part == "anchor" else self.config.between_layers]

    def count(self, part: str, p: int, y: int, x: int) -> int:
        """Layers coded at a position of 8x8; 0 outside the picture."""
        if part == "intra":
            return self.config.intra_layers
        _, rows, columns = self.layers[f"{part}.0"].shape
        if not (0 <= y < rows and 0 <= x < columns):
            return 0
        return self.depths(part)[self.choice(part, p, y // 2, x // 2)]

    def field(self, part: str) -> list[dict[Vector, Vector]]:
        """(dx, dy) by (row, column), for each plane."""
        if part in self.fields:
            return self.fields[part]
        planes, rows, columns = self.layers[f"motion.{part}"].shape
        result = []
        for p in range(planes):
            field: dict[Vector, Vector] = {}
            for y in range(rows):
                for x in range(columns):
                    token = int(self.known[f"motion.{part}"][p, y, x])
                    difference = signed(token >> 9), signed(token % 512)
                    if part != "anchor":
                        base = self.field("anchor" if part == "middle" else "middle")[0][y, x]
                        field[y, x] = tuple(d + b // 2 for d, b in zip(difference, base, strict=True))
                        continue
                    own = self.past.get("field", {}).get((y, x), (0, 0))
                    left = field[y, x - 1] if x else own
                    above = field[y - 1, x] if y else own
                    corner = field[y - 1, x + 1] if y and x + 1 < columns else own
                    field[y, x] = tuple(
                        (difference[c] + median(median(left[c], above[c], corner[c]), own[c], left[c]) + 256)
                        % 512
                        - 256
                        for c in (0, 1)
                    )
            result.append(field)
        self.fields[part] = result
        return result

    @staticmethod
    def change(field: dict[Vector, Vector], y: int, x: int) -> list[int]:
        """The largest difference to a neighbour, of dx and of dy."""
        return [
            max(abs(field.get((y + dy, x + dx), field[y, x])[c] - field[y, x][c]) for dy, dx in DIRECT)
            for c in (0, 1)
        ]

    def fetched(self, y: int, x: int) -> tuple[int, int]:
        _, rows, columns = self.layers["anchor.0"].shape
        dx, dy = self.field("anchor")[0][y // 2, x // 2]
        return (
            min(max(y + (dy + 16) // 32, 0), rows - 1),
            min(max(x + (dx + 16) // 32, 0), columns - 1),
        )

    # Features.

    def quality(self) -> int:
        change = int(self.known["quality"][0, 0, 0])
        return (int(self.past.get("quality", 0)) + change) % 512

    def picture(self, name: str, p: int) -> Picture:
        """Of a layer that is complete."""
        if (name, p) not in self.pictures:
            self.pictures[name, p] = Picture(self.known[name][p])
        return self.pictures[name, p]

    def common(self, part: str, step: int, quality: int | None = None) -> list[int]:
        quality = self.quality() if quality is None else quality
        flags = [int(step == k) for k in range(4)]
        return [int(quality > 10 * k) for k in range(16)] + flags + [int(part == "quarters")]

    def moved(self, part: str, p: int, y: int, x: int) -> list[int]:
        field = self.field(part)[p]
        if (y, x) not in field:
            return [0] * 12
        token = int(self.known[f"motion.{part}"][p, y, x])
        size, change = max(map(abs, field[y, x])), max(self.change(field, y, x))
        steps = (0, 2, 8, 32, 128)
        return [
            *(int(size > s) for s in steps),
            *(int(change > s) for s in steps),
            int(token % 512 != 0),
            int(token // 512 != 0),
        ]

    def token_features(self, part: str, number: int, step: int, place: tuple[int, int, int]) -> list[int]:
        p, y, x = place
        out = [*self.common(part, step), y % 2]
        own = Picture(self.known[f"{part}.{number}"][p])
        for around in (DIRECT, DIAGONAL) if part == "intra" else (DIRECT,):
            for dy, dx in around:
                out += own.values(y + dy, x + dx)
            out += own.used(y, x, around)
        for below in range(number):
            lower = self.picture(f"{part}.{below}", p)
            here = lower.values(y, x)
            out += here + [abs(v) for v in here]
            for dy, dx in DIRECT:
                out += lower.values(y + dy, x + dx)
            out += lower.used(y, x, DIRECT) + lower.used(y, x, DIAGONAL)
        if part == "intra":
            return out
        block = y // 2, x // 2
        choice = self.choice(part, p, *block)
        out += [int(choice == k) for k in range(4)]
        out += [self.count(part, p, y + dy, x + dx) for dy, dx in DIRECT]
        out += self.moved(part, p, *block)
        if part == "anchor":
            out += self.past_features(number, y, x)
        else:
            for other, layers in (
                ("anchor", self.config.anchor_layers),
                ("middle", self.config.between_layers),
            ):
                for k in range(layers):
                    if other == part:
                        out += [0] * 27
                        continue
                    grid = self.picture(f"{other}.{k}", 0)
                    here = grid.values(y, x)
                    out += here + [abs(v) for v in here] + grid.used(y, x, DIRECT)
        last = self.count(part, *place) == number + 1
        least = self.depths(part)[choice - 1] if choice else 0
        fulfilled = any(
            int(self.known[f"{part}.{k}"][p, 2 * block[0] + a, 2 * block[1] + b]) != 0
            for k in range(least, number + 1)
            for a in (0, 1)
            for b in (0, 1)
        )
        return [*out, int(last), int(fulfilled), int(last and not fulfilled)]

    def past_features(self, number: int, y: int, x: int) -> list[int]:
        if "anchor" not in self.past:
            return [0] * (11 * self.config.anchor_layers + 10)
        y, x = self.fetched(y, x)
        out = []
        for grid in self.past["anchor"]:
            out += [abs(v) for v in grid.values(y, x)]
            out += [min(16, sum(grid.used(y, x, around))) for around in (DIRECT, DIAGONAL)]
        return [*out, *self.past["anchor"][number].values(y, x), 1]

    def depth_features(self, part: str, step: int, place: tuple[int, int, int]) -> list[int]:
        p, y, x = place
        blocks = [(2 * y + a, 2 * x + b) for a in (0, 1) for b in (0, 1)]
        _, rows, columns = self.layers[f"depth.{part}"].shape
        out = self.common(part, step)

        def choices(name: str, p: int, y: int, x: int) -> list[int]:
            inside = 0 <= y < rows and 0 <= x < columns
            token = int(self.known[f"depth.{name}"][p, y, x]) if inside else 0
            return [int((token >> 2 * k & 3) > t) for k in range(4) for t in range(3)]

        for dy, dx in DIRECT:
            out += choices(part, p, y + dy, x + dx)
        for block in blocks:
            out += self.moved(part, p, *block)
        if part == "anchor":
            for block in blocks:
                inside = block in self.field("anchor")[0]
                if "anchor" not in self.past or not inside:
                    out += [0] * 5
                    continue
                highest = []
                for a in (0, 1):
                    for b in (0, 1):
                        where = self.fetched(2 * block[0] + a, 2 * block[1] + b)
                        layers = [k + 1 for k, grid in enumerate(self.past["anchor"]) if grid.at[where]]
                        highest.append(max(layers, default=0))
                out += [int(max(highest) > t) for t in range(4)] + [sum(h > 0 for h in highest)]
            return out
        out += choices("anchor", 0, y, x)
        return out + ([0] * 12 if part == "middle" else choices("middle", 0, y, x))

    @staticmethod
    def signed_bits(symbol: int) -> int:
        difference = signed(symbol)
        return difference.bit_length() if difference >= 0 else -((-difference).bit_length())

    def sizes(self, token: int) -> list[int]:
        dy, dx = self.signed_bits(token % 512), self.signed_bits(token // 512)
        return [dy, dx, int(dy != 0), int(dx != 0)]

    def anchor_motion(
        self, places: list[tuple[int, int, int]], own: np.ndarray, qualities: list[int], code: Any
    ) -> RowSource:
        """Block by block, front by front: candidates are vectors that are known."""
        _, rows, columns = own.shape
        none = dict.fromkeys(((y, x) for y in range(rows) for x in range(columns)), (0, 0))
        # By anchor, (dx, dy); the one before comes first.
        fields = [self.past.get("field", none), *({} for _ in qualities)]
        for front in range(3 * len(qualities) + 2 * rows + columns):
            here = [place for place in places if 3 * place[0] + 2 * place[1] + place[2] == front]
            states = [self.anchor_state(place, own, fields, qualities) for place in here]
            firsts = []
            for place, (features, _, differences) in zip(here, states, strict=True):
                logits = self.network("motion.anchor.dy", features)
                dy = yield from code(0, place, self.motion_row(logits, [d[1] for d in differences]))
                firsts.append(dy)
            for place, (features, predicted, differences), dy in zip(here, states, firsts, strict=True):
                size = self.signed_bits(dy)
                more = [size, abs(size), int(size != 0), *(int(d[1] == dy) for d in differences)]
                logits = self.network("motion.anchor.dx", features + more)
                dx = yield from code(1, place, self.motion_row(logits, [d[0] for d in differences]))
                fields[place[0] + 1][place[1:]] = tuple(
                    signed(p + d) for p, d in zip(predicted, (dx, dy), strict=True)
                )

    def anchor_state(
        self,
        place: tuple[int, int, int],
        own: np.ndarray,
        fields: list[dict[Vector, Vector]],
        qualities: list[int],
    ) -> tuple[list[int], Vector, list[Vector]]:
        """Features, what is predicted, and differences of the candidates; vectors are (dx, dy)."""
        p, y, x = place
        columns = own.shape[2]
        field, past = fields[p + 1], fields[p]
        before = past[y, x]
        left = field[y, x - 1] if x else before
        above = field[y - 1, x] if y else before
        corner = field[y - 1, x + 1] if y and x + 1 < columns else before
        middle = tuple(median(left[c], above[c], corner[c]) for c in (0, 1))
        predicted = tuple(median(middle[c], before[c], left[c]) for c in (0, 1))
        candidates = [left, above, corner, before]
        differences: list[Vector] = [tuple((v[c] - predicted[c]) % 512 for c in (0, 1)) for v in candidates]
        out = self.common("anchor", 0, qualities[p])
        out += self.bits(before) + self.bits(self.change(past, y, x)) + [int(p > 0 or "field" in self.past)]
        near = [
            int(own[p, y + a, x + b]) if y + a >= 0 and 0 <= x + b < columns else 0
            for a, b in ((0, -1), (-1, 0), (-1, 1), (-1, -1))
        ]
        sizes = [self.sizes(token) for token in near]
        out += [n for s in sizes for n in s[:2]] + [n for s in sizes for n in s[2:]]
        out += [self.signed_bits(d) for each in differences for d in each[::-1]]
        pairs = [(left, above), (left, corner), (above, corner), (before, left), (before, above)]
        for a, b in [*pairs, (before, middle), (predicted, (0, 0))]:
            out += [min(9, abs(a[c] - b[c]).bit_length()) for c in (1, 0)]
        return out + [int(a == b) for a, b in pairs], predicted, differences

    @staticmethod
    def bits(values: Sequence[int]) -> list[int]:
        return [min(9, abs(v).bit_length()) for v in values]

    def motion_features(self, part: str, step: int, place: tuple[int, int, int]) -> list[int]:
        p, y, x = place
        own = Picture(self.known[f"motion.{part}"][p])
        out = self.common(part, step)
        for dy, dx in DIRECT:
            out += self.sizes(own.at.get((y + dy, x + dx), 0))

        field = self.field("anchor")[0]
        out += self.sizes(int(self.known["motion.anchor"][0, y, x]))
        out += self.bits(field[y, x]) + self.bits(self.change(field, y, x))
        middle = 0 if part == "middle" else int(self.known["motion.middle"][0, y, x])
        return out + self.sizes(middle)

    # Network and rows.

    def network(self, name: str, features: list[int]) -> list[int]:
        x = np.array(features, np.int64)
        for part in ("first", "second", "logits"):
            weight, shift, bias = (
                self.arrays[f"{name}.{part}.{kind}"] for kind in ("weight", "shift", "bias")
            )
            x = rounded_shift(weight @ x + bias, shift)
            x = np.clip(x, -32767, 32767) if part == "logits" else np.clip(x, 0, 127)
        return [int(v) for v in x]

    def shares(self, logits: Sequence[int | None]) -> list[int]:
        """None: cannot be."""
        top = max(value for value in logits if value is not None)
        raised = [
            0 if value is None else int(self.arrays["table.logit"][min(top - value, 1023)])
            for value in logits
        ]
        return [2**18 * e // sum(raised) for e in raised]

    def product(self, upper: Sequence[int | None], lower: Sequence[int | None]) -> list[int]:
        a, b = self.shares(upper), self.shares(lower)
        row = [1 + i * j * (2**15 - 1) // 2**27 for i in a for j in b]
        row += [1] * (512 - len(row))
        i, j = (_likeliest(part) for part in (upper, lower))
        row[i * len(b) + j] += 2**24 - sum(row)
        return row

    def sign_row(self, logits: Sequence[int], first: int) -> list[int]:
        def sums(bits: range, significant: int) -> list[int | None]:
            return [
                None
                if signs & ~significant
                else sum(logits[bit] for k, bit in enumerate(bits) if signs >> k & 1)
                for signs in range(1 << len(bits))
            ]

        return self.product(sums(range(4, 9), first >> 4), sums(range(4), first & 15))

    def motion_row(self, logits: Sequence[int], candidates: Sequence[int] = ()) -> list[int]:
        shares = self.shares(logits)

        def of(symbol: int) -> int:
            bits = self.signed_bits(symbol)
            return 0 if bits == 0 else 17 if bits == -9 else 2 * bits - 1 if bits > 0 else -2 * bits

        widths = [sum(of(s) == c for s in range(512)) for c in range(18)]
        row = [1 + shares[of(s)] * (2**15 - 1) // (2**9 * widths[of(s)]) for s in range(512)]
        for share, symbol in zip(shares[18:], candidates, strict=True):
            row[symbol] += share * (2**15 - 1) // 2**9
        best = max(range(18), key=lambda c: logits[c])
        nearest = min((s for s in range(512) if of(s) == best), key=lambda s: abs(signed(s)))
        row[nearest] += 2**24 - sum(row)
        return row
