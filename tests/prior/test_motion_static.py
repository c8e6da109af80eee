"""Profile static of the `motion` tokenizer: rows as the specification says, and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from motion_prior_support import assert_round_trip, assert_same_rows, gop_rows, layers_of, random_gop

from lfqcodec.prior.motion.static import StaticMotionRates

GRIDS = [(1, 1), (2, 3), (5, 4)]


def rows_of(name: str, gop_rows: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[int, list[int]]:
    positions, rows = gop_rows[name]
    return {int(p): [int(f) for f in row] for p, row in zip(positions, rows, strict=True)}


def test_rows_are_those_of_the_formulas() -> None:
    """Recomputed here symbol by symbol."""
    gop = random_gop((4, 2), 3, 2)
    coded = gop_rows(StaticMotionRates(), gop)
    of_chunk, coded = coded[0], coded[1:]
    coded[1]["motion.anchor"] = of_chunk["motion.anchor"]
    assert set(rows_of("quality", of_chunk)[0]) == {32768}
    row = rows_of("quality", of_chunk)[4]
    assert row == [(1 << 24) - 511 * 16416, *[16416] * 511]
    for part, (dy, beside, moving) in {
        "anchor": (2048, 1536, 3072),
        "middle": (704, 384, 2048),
        "quarters": (704, 384, 2048),
    }.items():
        name = f"motion.{part}"
        groups = gop[1:] if part == "anchor" else gop[1:2]
        tokens = np.concatenate([tokens[name].reshape(-1) for _, tokens in groups])
        for position, row in rows_of(name, coded[1]).items():
            moved = dy if position % 2 == 0 else moving if tokens[position // 2] & 511 else beside
            expected = [moved * 2 ** (9 - min(s, 512 - s).bit_length()) for s in range(1, 512)]
            assert row == [(1 << 24) - sum(expected), *expected]
    for name, (highest, least) in {"intra.1": (32, 2), "anchor.0": (12, 4), "quarters.1": (8, 4)}.items():
        group = int(name.startswith(("anchor", "quarters")))
        chance = max(least, highest >> int(name[-1]))
        tokens = gop[group][1][name].reshape(-1)
        significance = [
            1 + chance ** s.bit_count() * (64 - chance) ** (9 - s.bit_count()) * (2**24 - 512) // 2**54
            for s in range(512)
        ]
        significance[0] += 2**24 - sum(significance)
        nothing = [2**24 - 511] + [1] * 511
        for position, row in rows_of(name, coded[group]).items():
            first = int(tokens[position // 2]) & 511
            if position % 2 == 0:
                assert row == significance or (group and first == 0 and row == nothing)
            else:
                values = 2 ** first.bit_count()
                share = 1 + (2**24 - 512) // values
                expected = [share if s & first == s else 1 for s in range(512)]
                expected[0] += 2**24 - sum(expected)
                assert row == expected
    for row in rows_of("depth.anchor", coded[1]).values():
        assert row[0b11_00_01_10] == 20 * 19 * 19 * 6 or row[0] == 2**24 - 511
        assert row[256:] == [1] * 256


@pytest.mark.parametrize("grid", GRIDS)
def test_round_trip(grid: tuple[int, int]) -> None:
    assert_round_trip(StaticMotionRates(), StaticMotionRates(max_rows=7), random_gop((4, 3, 2, 1, 4), *grid))


def test_layers_of_the_second_stream_do_not_matter_to_the_first() -> None:
    gop = random_gop((4, 4, 1), 2, 3)
    assert_same_rows(gop_rows(StaticMotionRates(), gop), gop_rows(StaticMotionRates(), gop, streams=1))


def test_a_layer_out_of_order_is_refused() -> None:
    model = StaticMotionRates()
    layers = layers_of(4, 2, 2, first=False)
    model.begin_chunk([layers, layers], gop_start=True)
    with pytest.raises(ValueError, match="no layer 2 of the chunk"):
        next(model.chunk_rows(2))
    model.begin_group()
    with pytest.raises(ValueError, match=r"depth\.anchor"):
        next(model.rows(3))
    with pytest.raises(ValueError, match="no layer"):
        next(model.rows(len(layers)))
    with pytest.raises(ValueError, match="has not been coded"):
        model.begin_group()
