"""The row sources: schedule, coding through rANS, causality, GOP state, cost."""

from __future__ import annotations

import numpy as np
import pytest
from prior_support import SMALL, all_rows, random_prior, random_tokens

from lfqcodec.entropy import decode_tokens, encode_tokens
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.prior.schedule import step_bounds, step_positions, tile_ranks, windows

GRIDS = [(1, 1), (2, 17), (9, 13), (16, 8)]


@pytest.fixture(scope="module")
def network() -> ExactNetwork:
    return ExactNetwork(random_prior())


def test_every_window_has_every_rank_once() -> None:
    ranks = np.tile(tile_ranks(), (3, 3))
    for y in range(9):
        for x in range(9):
            assert sorted(ranks[y : y + 8, x : x + 8].ravel()) == list(range(64))


def test_the_first_ranks_are_regular_grids() -> None:
    for k in range(4):
        first = np.argwhere(tile_ranks() < 4**k)
        pitch = 8 // 2**k
        assert (first % pitch == first[0] % pitch).all()


def test_steps_cover_all_ranks_and_grow() -> None:
    assert step_bounds(8) == (0, 1, 4, 9, 16, 25, 36, 49, 64)
    for steps in range(1, 9):
        sizes = np.diff(step_bounds(steps))
        assert sizes.sum() == 64
        assert sizes.min() >= 1
        assert (np.diff(sizes) >= -1).all()


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("grid", GRIDS)
def test_windows_hold_every_token_once(grid: tuple[int, int], shift: int) -> None:
    layout = windows(*grid, shift)
    assert len(set(layout.slot)) == grid[0] * grid[1] == layout.valid.sum()
    assert layout.slot.max() < 64 * layout.count
    covered = np.concatenate(step_positions(*grid, step_bounds(5)))
    assert sorted(covered) == list(range(grid[0] * grid[1]))


@pytest.mark.parametrize("grid", GRIDS)
def test_tokens_survive_coding_with_other_batches(network: ExactNetwork, grid: tuple[int, int]) -> None:
    """Two GOPs of two chunks; the decoder groups windows and rows in its own way."""
    other = ExactNetwork(network.weights, group=3)
    encoder, decoder = GopCoder(network, *grid), GopCoder(other, *grid, max_rows=5)
    for number, frames in enumerate((3, 2, 1, 2)):
        tokens = random_tokens((2, frames, *grid), number)
        for coder in (encoder, decoder):
            coder.begin_chunk(frames, gop_start=number % 2 == 0)
        for stage in range(2):
            words = encode_tokens(encoder.rows(stage), tokens[stage])
            back = decode_tokens(decoder.rows(stage), words, tokens[stage].shape)
            np.testing.assert_array_equal(back, tokens[stage])


def test_a_token_goes_through_twice(network: ExactNetwork) -> None:
    """However many steps there are: once as a query, once as context, in every stage."""
    products = set()
    for first_steps in ((1, 1), (8, 8)):
        config = PriorConfig(**{**vars(SMALL), "first_steps": first_steps})
        run = ExactNetwork(random_prior(config))
        coder = GopCoder(run, 16, 16)
        tokens = random_tokens((2, 3, 16, 16))
        coder.begin_chunk(3, gop_start=True)
        for stage in range(2):
            positions, _ = all_rows(coder.rows(stage), tokens[stage])
            assert sorted(positions) == list(range(2 * tokens[stage].size))
        assert run.counter.queries == run.counter.contexts == tokens.size
        products.add(run.counter.linear_products)
    assert len(products) == 1, "more steps must not mean more work"


def _rows_of(
    network: ExactNetwork, tokens: np.ndarray, chunks: tuple[int, ...]
) -> dict[tuple[int, int], np.ndarray]:
    """Rows by (stage, position in the whole GOP), uint32 [512] each."""
    coder = GopCoder(network, *tokens.shape[2:])
    area = 2 * tokens.shape[2] * tokens.shape[3]
    rows, begin = {}, 0
    for number, frames in enumerate(chunks):
        coder.begin_chunk(frames, gop_start=number == 0)
        for stage in range(len(tokens)):
            part = tokens[stage, begin : begin + frames]
            positions, values = all_rows(coder.rows(stage), part)
            rows |= {(stage, begin * area + int(p)): row for p, row in zip(positions, values, strict=True)}
        begin += frames
    return rows


def test_chunk_borders_inside_a_gop_do_not_show(network: ExactNetwork) -> None:
    tokens = random_tokens((2, 5, 9, 10))
    whole = _rows_of(network, tokens, (5,))
    for chunks in ((1, 1, 1, 1, 1), (2, 3), (3, 2)):
        parts = _rows_of(network, tokens, chunks)
        assert all(np.array_equal(whole[key], parts[key]) for key in whole)


def test_rows_depend_on_what_was_coded_before_and_on_nothing_else(network: ExactNetwork) -> None:
    """Change one token: no row up to its own changes, and rows of all kinds of later tokens do."""
    h, w, frames = 10, 9, 3
    tokens = random_tokens((2, frames, h, w))
    order: list[tuple[int, int]] = []
    before: dict[tuple[int, int], np.ndarray] = {}
    coder = GopCoder(network, h, w)
    coder.begin_chunk(frames, gop_start=True)
    for stage in range(2):
        positions, rows = all_rows(coder.rows(stage), tokens[stage])
        order += [(stage, int(p)) for p in positions]
        before |= {(stage, int(p)): row for p, row in zip(positions, rows, strict=True)}
    rng = np.random.default_rng(0)
    for stage, time in ((0, 0), (0, 1), (1, 0), (1, 2)):
        y, x = int(rng.integers(h)), int(rng.integers(w))
        changed = tokens.copy()
        changed[stage, time, y, x] ^= 0b101 << 9  # in its second subtoken
        after = _rows_of(network, changed, (frames,))
        place = order.index((stage, 2 * ((time * h + y) * w + x) + 1))
        assert all(np.array_equal(before[key], after[key]) for key in order[: place + 1])
        different = {key for key in order[place + 1 :] if not np.array_equal(before[key], after[key])}
        assert different
        if time + 1 < frames:
            assert any(s == stage and p // (2 * h * w) == time + 1 for s, p in different)
        if stage == 0:
            assert any(s == 1 for s, _ in different)


def test_a_gop_start_forgets_everything(network: ExactNetwork) -> None:
    tokens = random_tokens((2, 2, 5, 5))
    coder = GopCoder(network, 5, 5)
    rows = []
    for _ in range(2):
        coder.begin_chunk(2, gop_start=True)
        rows.append([all_rows(coder.rows(stage), tokens[stage])[1] for stage in range(2)])
    assert all(np.array_equal(a, b) for a, b in zip(*rows, strict=True))


def test_a_snapshot_brings_a_coder_back(network: ExactNetwork) -> None:
    """Rate control codes a chunk more than once; what it tried before must leave no trace."""
    tokens = random_tokens((2, 6, 9, 10))
    coder, straight = GopCoder(network, 9, 10), GopCoder(network, 9, 10)

    def rows(each: GopCoder, begin: int, part: np.ndarray) -> list[np.ndarray]:
        each.begin_chunk(part.shape[1], gop_start=begin == 0)
        return [all_rows(each.rows(stage), part[stage])[1] for stage in range(2)]

    start = coder.snapshot()
    for begin in (0, 3):
        part = tokens[:, begin : begin + 3]
        before = coder.snapshot()
        first = rows(coder, begin, part)
        after = coder.snapshot()
        for other in (part ^ 1, part[:, :2], part[:1].repeat(2, 0)):
            coder.restore(before)
            rows(coder, begin, other)
        coder.restore(before)
        second = rows(coder, begin, part)
        expected = rows(straight, begin, part)
        for run in (first, second):
            assert all(np.array_equal(a, b) for a, b in zip(run, expected, strict=True))
        coder.restore(after)
    coder.restore(start)
    coder.begin_chunk(1, gop_start=False)
    with pytest.raises(ValueError, match="lower stage"):
        next(coder.rows(1))


def test_stages_out_of_order_are_refused(network: ExactNetwork) -> None:
    coder = GopCoder(network, 4, 4)
    coder.begin_chunk(1, gop_start=True)
    with pytest.raises(ValueError, match="lower stage"):
        next(coder.rows(1))
    with pytest.raises(ValueError, match="no stage"):
        next(coder.rows(2))
