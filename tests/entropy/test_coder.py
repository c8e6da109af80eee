"""Tokens and subtokens, the model interface, and the drivers of both directions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from bitstream_helpers import oracle_encode, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lfqcodec.entropy import (
    ROW_SUM,
    Batch,
    StreamDecoder,
    StreamEncoder,
    as_given,
    decode_tokens,
    encode_tokens,
    subtokens_to_tokens,
    tokens_to_subtokens,
)
from lfqcodec.errors import CorruptPayload

UNIFORM = np.full(512, ROW_SUM / 512 - 1)
PAIR = (1, 1, 2)


def uniform_rows(tokens):
    """A model in which all values are equally likely, in flat order."""
    yield Batch(np.arange(2 * tokens), UNIFORM)


def adaptive(count, batches=5):
    """A model whose order is not the raster and whose rows depend on every symbol sent to it."""
    order = np.argsort((np.arange(count) * 7919) % 10007, kind="stable")
    seed = 1
    for positions in np.array_split(order, batches):
        rows = random_rows(np.random.default_rng(seed), len(positions), 2.0)
        symbols = yield Batch(positions, rows - 1.0)
        seed = (seed * 31 + int(np.sum(symbols, dtype=np.int64))) % 2**32


def test_bits_of_a_token():
    token = np.array([[[0b101010101_110000011]]])
    assert tokens_to_subtokens(token).tolist() == [0b110000011, 0b101010101]


@given(
    hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=3, max_dims=3, max_side=4), elements=st.integers(0, 2**18 - 1)
    )
)
def test_subtokens_round_trip(tokens):
    flat = tokens_to_subtokens(tokens)
    assert flat.shape == (2 * tokens.size,)
    assert flat.dtype == np.int32
    assert np.array_equal(subtokens_to_tokens(flat, tokens.shape), tokens)


@pytest.mark.parametrize("bad", [np.array([-1]), np.array([1 << 18]), np.array([0.5])])
def test_tokens_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="tokens must be"):
        tokens_to_subtokens(bad)


def test_static_stream_is_that_of_the_specification():
    tokens = np.random.default_rng(3).integers(0, 1 << 18, (2, 3, 4))
    intervals = [
        (32768 * sub, 32768) for token in tokens.reshape(-1).tolist() for sub in (token & 511, token >> 9)
    ]
    assert encode_tokens(uniform_rows(tokens.size), tokens).tolist() == oracle_encode(intervals)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.int32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 2**18 - 1)
    ),
    st.booleans(),
)
def test_tokens_round_trip(tokens, static):
    def source():
        return uniform_rows(tokens.size) if static else adaptive(2 * tokens.size)

    words = encode_tokens(source(), tokens)
    decoded = decode_tokens(source(), words, tokens.shape)
    assert decoded.dtype == np.int32
    assert np.array_equal(decoded, tokens)


def test_a_chooser_sees_the_rows_and_decides():
    """As rate-distortion optimisation does: take the likeliest value of every row."""
    shape = (2, 4, 5)
    encoder = StreamEncoder()
    tokens = encoder.put(adaptive(80), shape, lambda batch: batch.rows.argmax(1))
    words = encoder.words()
    assert np.array_equal(decode_tokens(adaptive(80), words, shape), tokens)
    assert len(words) < len(encode_tokens(adaptive(80), np.random.default_rng(0).integers(0, 1 << 18, shape)))


def test_no_words_are_all_zero_tokens():
    zeros = np.zeros((5, 4, 4), np.int32)
    words = encode_tokens(uniform_rows(zeros.size), zeros)
    assert len(words) == 0
    assert np.array_equal(decode_tokens(uniform_rows(zeros.size), words, zeros.shape), zeros)


def test_a_stream_takes_one_layer_after_another():
    rng = np.random.default_rng(4)
    layers = [rng.integers(0, 1 << 18, shape, dtype=np.int32) for shape in ((1, 2, 3), (2, 1, 1), (0, 2, 2))]
    encoder = StreamEncoder()
    for tokens in layers:
        assert np.array_equal(encoder.put(adaptive(2 * tokens.size), tokens.shape, as_given(tokens)), tokens)
    flat = np.concatenate([tokens.reshape(-1) for tokens in layers])
    decoder = StreamDecoder(encoder.words())
    for tokens in layers:
        assert np.array_equal(decoder.get(adaptive(2 * tokens.size), tokens.shape), tokens)
    assert np.array_equal(encoder.tokens(), flat)
    assert np.array_equal(decoder.finish(), flat)


def test_words_that_are_left_over_are_refused():
    with pytest.raises(CorruptPayload, match="does not end"):
        decode_tokens(uniform_rows(8), np.ones(99, np.uint32), (1, 2, 4))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(np.arange(4), UNIFORM.astype(np.float32)), "float64"),
        (Batch(np.arange(4), np.tile(UNIFORM, (3, 1))), "weights must be"),
        (Batch(np.arange(4.0), UNIFORM), "positions"),
        (Batch(np.arange(1, 5), UNIFORM), "not there"),
        (Batch(np.arange(3), UNIFORM), "leaves"),
    ],
)
def test_a_model_that_breaks_its_contract_is_refused(batch, message):
    def source():
        yield batch

    with pytest.raises(ValueError, match=message):
        StreamEncoder().put(source(), PAIR, lambda each: np.zeros(len(each.positions), int))


def test_a_model_may_not_code_a_subtoken_twice():
    def source():
        yield Batch(np.arange(4), UNIFORM)
        yield Batch(np.arange(2), UNIFORM)

    with pytest.raises(ValueError, match="twice"):
        StreamEncoder().put(source(), PAIR, lambda each: np.zeros(len(each.positions), int))


@pytest.mark.parametrize("choice", [np.zeros(3, int), np.zeros(4), np.full(4, 512), np.full(4, -1)])
def test_choices_out_of_range_are_refused(choice):
    with pytest.raises(ValueError, match=r"choice|subtoken"):
        StreamEncoder().put(uniform_rows(2), PAIR, lambda _: choice)


def test_static_path_is_fast():
    """A stage of a 640x360 chunk, 18000 tokens, in milliseconds; the bound leaves room for a busy machine."""
    tokens = np.random.default_rng(0).integers(0, 1 << 18, (5, 45, 80))
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        words = encode_tokens(uniform_rows(tokens.size), tokens)
        decode_tokens(uniform_rows(tokens.size), words, tokens.shape)
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
