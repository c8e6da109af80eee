"""Layers and tokens of groups as the `motion` tokenizer has them, and runs of its rate models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfqcodec.bitstream.geometry import CHUNK_LAYERS, Layer, chunk_layers
from lfqcodec.entropy import RateModel, RowSource, StreamDecoder, StreamEncoder, as_given
from lfqcodec.prior.motion.config import MotionPriorConfig
from lfqcodec.prior.motion.weights import TABLE, MotionPriorWeights, linear_specs, logit_table
from lfqcodec.tokenizer.motion.layout import coded_layers, depth_choices, pack_depth, places

LAYERS = {"intra": 3, "anchor": 4, "middle": 2, "quarters": 2}
Tokens = dict[str, np.ndarray]
Gop = Sequence[tuple[tuple[Layer, ...], Tokens]]
Rows = tuple[np.ndarray, np.ndarray]


def layers_of(count: int, rows: int, columns: int, *, first: bool) -> tuple[Layer, ...]:
    """The layers of a group; `rows` and `columns` count blocks of 16x16."""
    layers = [Layer("quality", 0, (1, 1, 1))]
    grid = 2 * rows, 2 * columns
    if first:
        return (*layers, *(Layer(f"intra.{k}", 0, (1, *grid)) for k in range(LAYERS["intra"])))
    for part, pictures in places(count).items():
        stream, planes = int(part != "anchor"), len(pictures)
        layers += [
            Layer(f"motion.{part}", stream, (planes, rows, columns)),
            Layer(f"depth.{part}", stream, (planes, -(-rows // 2), -(-columns // 2))),
            *(Layer(f"{part}.{k}", stream, (planes, *grid)) for k in range(LAYERS[part])),
        ]
    return tuple(layers)


def random_tokens(layers: Sequence[Layer], rng: np.random.Generator) -> Tokens:
    """Tokens that mean something, sparse, with large motion here and there."""
    tokens: Tokens = {}
    for layer in layers:
        kind, _, name = layer.name.partition(".")
        if kind == "quality":
            tokens[layer.name] = rng.integers(0, 100, layer.shape)
        elif kind == "motion":
            size = rng.integers(1, 257, layer.shape)
            pair = rng.integers(-size, size, (2, *layer.shape)) * (rng.random((2, *layer.shape)) < 0.3)
            tokens[layer.name] = (pair[0] & 511) | (pair[1] & 511) << 9
        elif kind == "depth":
            rows, columns = (n // 2 for n in dict_of(layers)[f"{name}.0"].shape[1:])
            choices = len(depth_choices(LAYERS[name]))
            tokens[layer.name] = pack_depth(
                rng.integers(0, choices, (layer.shape[0], rows, columns), dtype=np.int32)
            )
        else:
            bits = 1 << np.arange(9)
            significant = (rng.random((*layer.shape, 9)) < 0.2) @ bits
            values = significant | (significant & rng.integers(0, 512, layer.shape)) << 9
            if kind != "intra":
                shape = layer.shape[1] // 2, layer.shape[2] // 2
                depth = tokens[f"depth.{kind}"].astype(np.int32)
                values *= coded_layers(depth, *shape, LAYERS[kind]) > int(name)
            tokens[layer.name] = values
    return {name: each.astype(np.int32) for name, each in tokens.items()}


def dict_of(layers: Sequence[Layer]) -> dict[str, Layer]:
    """By name."""
    return {layer.name: layer for layer in layers}


def random_gop(
    counts: Sequence[int], rows: int, columns: int, seed: int = 0
) -> list[tuple[tuple[Layer, ...], Tokens]]:
    """Layers and tokens of an intra picture and of groups of so many pictures."""
    rng = np.random.default_rng(seed)
    groups = [layers_of(count, rows, columns, first=not n) for n, count in enumerate((1, *counts))]
    return [(layers, random_tokens(layers, rng)) for layers in groups]


def layer_rows(source: RowSource, tokens: np.ndarray) -> Rows:
    """Positions [n] and frequencies [n, 512] of a layer, in coding order."""
    positions, rows = [], []
    choose = as_given(tokens)
    try:
        batch = next(source)
        while True:
            batch.check()
            assert (batch.weights.sum(-1) == (1 << 24) - 512).all()
            assert batch.weights.min() >= 0
            assert (batch.weights == np.floor(batch.weights)).all()
            positions.append(batch.positions)
            rows.append(np.broadcast_to(batch.rows, (len(batch.positions), 512)))
            batch = source.send(choose(batch).astype(np.int32))
    except StopIteration:
        pass
    result = np.concatenate(positions), np.concatenate(rows)
    assert sorted(result[0]) == list(range(2 * tokens.size))
    return result


def chunk_rows(model: RateModel, gop: Gop, *, gop_start: bool, streams: int = 2) -> list[dict[str, Rows]]:
    """Those of all layers of a chunk by name: first of the layers of the chunk, then of those of each group.

    A chunk is whatever groups are given.
    """
    groups = [layers for layers, _ in gop]
    model.begin_chunk(groups, gop_start=gop_start)
    result: list[dict[str, Rows]] = [{}]
    for number, layer in enumerate(chunk_layers(groups)):
        own = [tokens[layer.name] for _, tokens in gop if layer.name in tokens]
        result[0][layer.name] = layer_rows(model.chunk_rows(number), np.concatenate(own))
    for layers, tokens in gop:
        model.begin_group()
        sources = {
            layer.name: layer_rows(model.rows(number), tokens[layer.name])
            for number, layer in enumerate(layers)
            if layer.stream < streams and layer.name not in CHUNK_LAYERS
        }
        result.append(sources)
    return result


def gop_rows(
    model: RateModel, gop: Gop, *, chunks: Sequence[int] = (), streams: int = 2
) -> list[dict[str, Rows]]:
    """`chunk_rows` of all chunks of a GOP; they have so many groups, else all groups are in one."""
    result, begin = [], 0
    for count in chunks or (len(gop),):
        own = gop[begin : begin + count]
        result += chunk_rows(model, own, gop_start=not begin, streams=streams)
        begin += count
    return result


def assert_same_rows(one: list[dict[str, Rows]], other: list[dict[str, Rows]]) -> None:
    """Bit for bit, in the same coding order, for the layers that both have."""
    for mine, yours in zip(one, other, strict=True):
        for name in mine.keys() & yours.keys():
            for a, b in zip(mine[name], yours[name], strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


def assert_round_trip(encoder: RateModel, decoder: RateModel, gop: Gop, chunk: int = 3) -> list[int]:
    """Code a GOP with one model and decode it with another, in chunks of so many groups.

    Streams stay open. Gives words by stream.
    """
    streams = [StreamEncoder(), StreamEncoder()]
    chunks = [gop[begin : begin + chunk] for begin in range(0, len(gop), chunk)]
    for number, own in enumerate(chunks):
        groups = [layers for layers, _ in own]
        encoder.begin_chunk(groups, gop_start=number == 0)
        for k, layer in enumerate(chunk_layers(groups)):
            streams[0].put(encoder.chunk_rows(k), layer.shape, as_given(_planes(own, layer.name)))
        for layers, tokens in own:
            encoder.begin_group()
            for k, layer in enumerate(layers):
                if layer.name not in CHUNK_LAYERS:
                    streams[layer.stream].put(encoder.rows(k), layer.shape, as_given(tokens[layer.name]))
    words = [stream.words() for stream in streams]
    readers = [StreamDecoder(each) for each in words]
    for number, own in enumerate(chunks):
        groups = [layers for layers, _ in own]
        decoder.begin_chunk(groups, gop_start=number == 0)
        for k, layer in enumerate(chunk_layers(groups)):
            got = readers[0].get(decoder.chunk_rows(k), layer.shape)
            np.testing.assert_array_equal(got, _planes(own, layer.name), err_msg=layer.name)
        for layers, tokens in own:
            decoder.begin_group()
            for k, layer in enumerate(layers):
                if layer.name not in CHUNK_LAYERS:
                    got = readers[layer.stream].get(decoder.rows(k), layer.shape)
                    np.testing.assert_array_equal(got, tokens[layer.name], err_msg=layer.name)
    for reader in readers:
        reader.finish()
    return [len(each) for each in words]


def _planes(gop: Gop, name: str) -> np.ndarray:
    return np.concatenate([tokens[name] for _, tokens in gop if name in tokens])


SMALL = MotionPriorConfig(intra_layers=LAYERS["intra"], width=16, block_width=8)


def random_motion_prior(config: MotionPriorConfig = SMALL, seed: int = 0) -> MotionPriorWeights:
    """Integers that use the ranges: saturation and ties occur."""
    rng = np.random.default_rng(seed)
    arrays = {TABLE: logit_table()}
    for name, spec in linear_specs(config).items():
        arrays[f"{name}.weight"] = rng.integers(-127, 128, (spec.outputs, spec.inputs))
        # About the shift that gives outputs of a few dozen units.
        typical = np.log2(73 * np.sqrt(spec.inputs) * (1 if spec.largest < 127 else 60) / 60)
        shift = np.round(typical + rng.integers(-1, 2, spec.outputs))
        arrays[f"{name}.shift"] = np.clip(shift, 0, 24).astype(np.int64)
        arrays[f"{name}.bias"] = rng.integers(-2000, 2001, spec.outputs)
    return MotionPriorWeights(config, arrays)
