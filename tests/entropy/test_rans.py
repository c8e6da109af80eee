"""The rANS coder against the plain-Python one of the specification, word for word."""

from __future__ import annotations

import numpy as np
import pytest
from bitstream_helpers import oracle_decode, oracle_encode, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from lfqcodec.entropy.model import ROW_SUM, Batch
from lfqcodec.entropy.rans import RansDecoder, RansEncoder
from lfqcodec.errors import CorruptPayload


def intervals(rows, symbols):
    starts = np.cumsum(rows.astype(np.int64), axis=1) - rows
    return [(int(starts[i, s]), int(rows[i, s])) for i, s in enumerate(symbols)]


def encode(batches):
    encoder = RansEncoder()
    for rows, symbols in batches:
        encoder.put(Batch(np.arange(len(symbols)), rows - 1.0), symbols)
    return encoder.words()


@pytest.mark.parametrize("sharpness", [0.0, 0.3, 1.0, 4.0, 30.0])
def test_words_are_those_of_the_specification(sharpness):
    rng = np.random.default_rng(int(sharpness * 10))
    rows = random_rows(rng, 300, sharpness)
    likely = np.array([rng.choice(512, p=row / ROW_SUM) for row in rows])
    any_symbol = rng.integers(0, 512, 300)
    for symbols in (
        likely,
        any_symbol,
        np.zeros(300, int),
        np.full(300, 511),
        rows.argmin(1),
        rows.argmax(1),
    ):
        words = encode(
            [(rows[:100], symbols[:100].astype(np.int32)), (rows[100:], symbols[100:].astype(np.int32))]
        )
        assert words.dtype == np.uint32
        assert words.tolist() == oracle_encode(intervals(rows, symbols))
        assert oracle_decode(rows.tolist(), words.tolist()) == symbols.tolist()
        decoder = RansDecoder(words)
        first, second = (
            decoder.get(Batch(np.arange(len(part)), part - 1.0)) for part in (rows[:37], rows[37:])
        )
        decoder.finish()
        assert np.concatenate((first, second)).tolist() == symbols.tolist()


def test_shared_row_equals_the_same_row_repeated():
    rng = np.random.default_rng(5)
    row = random_rows(rng, 1, 2.0)[0]
    symbols = rng.integers(0, 512, 500).astype(np.int32)
    shared, repeated = encode([(row, symbols)]), encode([(np.tile(row, (500, 1)), symbols)])
    assert shared.tolist() == repeated.tolist() == oracle_encode(intervals(np.tile(row, (500, 1)), symbols))
    assert RansDecoder(shared).get(Batch(np.arange(500), row - 1.0)).tolist() == symbols.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 511), max_size=60), st.floats(0, 20), st.integers(0, 2**32 - 1))
def test_round_trip(symbols, sharpness, seed):
    rows = (
        random_rows(np.random.default_rng(seed), len(symbols), sharpness)
        if symbols
        else np.ones((0, 512), "u4")
    )
    words = encode([(rows, np.array(symbols, np.int32))])
    assert words.tolist() == oracle_encode(intervals(rows, symbols))
    assert len(words) <= -(-24 * len(symbols) // 32)
    assert len(words) == 0 or words[-1] != 0
    decoder = RansDecoder(words)
    assert decoder.get(Batch(np.arange(len(symbols)), rows - 1.0)).tolist() == symbols
    decoder.finish()


def test_bound_on_words_is_reached_by_the_rarest_symbols():
    row = np.ones(512, np.uint32)
    row[0] = ROW_SUM - 511
    words = encode([(row, np.full(4000, 511, np.int32))])
    assert len(words) == 3000


def test_zero_last_word_is_refused():
    with pytest.raises(CorruptPayload, match="last word"):
        RansDecoder(np.array([7, 0], np.uint32))


@pytest.mark.parametrize("words", [[1], [1, 2, 3], [0xFFFFFFFF] * 40])
def test_words_that_are_left_over_are_refused(words):
    row = np.full(512, ROW_SUM / 512 - 1)
    decoder = RansDecoder(np.array(words, np.uint32))
    decoder.get(Batch(np.arange(2), row))
    with pytest.raises(CorruptPayload, match="does not end"):
        decoder.finish()


def test_random_words_never_crash():
    rng = np.random.default_rng(0)
    rows = random_rows(rng, 50, 3.0)
    for length in range(40):
        words = rng.integers(1, 1 << 32, length).astype(np.uint32)
        decoder = RansDecoder(words)
        symbols = decoder.get(Batch(np.arange(50), rows - 1.0))
        assert symbols.min() >= 0
        assert symbols.max() < 512
        try:
            decoder.finish()
        except CorruptPayload:
            continue
        assert oracle_decode(rows.tolist(), words.tolist()) == symbols.tolist()


def test_errors_of_the_library_become_corrupt_payload(monkeypatch):
    class Broken:
        def decode(self, *_):
            raise KeyError("symbol")

    decoder = RansDecoder(np.array([1], np.uint32))
    monkeypatch.setattr(decoder, "_coder", Broken())
    with pytest.raises(CorruptPayload, match="cannot be decoded"):
        decoder.get(Batch(np.arange(1), np.full(512, ROW_SUM / 512 - 1)))
