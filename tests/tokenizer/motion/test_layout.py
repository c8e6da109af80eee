"""Layers of a group, depth tokens, and the configuration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from motion_support import SMALL

from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.layout import (
    coded_layers,
    depth_choices,
    depth_valid,
    group_layers,
    pack_depth,
    places,
    unpack_depth,
)
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
from lfqcodec.tokenizer.registry import build_tokenizer, parse_config


def test_layers_of_all_counts() -> None:
    names = {count: [layer.name for layer in group_layers(MotionConfig(), count)] for count in range(1, 5)}
    anchor = ["motion.anchor", "depth.anchor", "anchor.0", "anchor.1", "anchor.2", "anchor.3"]
    middle = ["motion.middle", "depth.middle", "middle.0", "middle.1"]
    quarters = ["motion.quarters", "depth.quarters", "quarters.0", "quarters.1"]
    assert names == {
        1: anchor,
        2: anchor + middle,
        3: anchor + middle + quarters,
        4: anchor + middle + quarters,
    }
    for count in range(1, 5):
        assert sorted(sum(places(count).values(), ())) == list(range(count))
    shapes = {layer.name: layer.shape((33, 50)) for layer in group_layers(MotionConfig(), 4)}
    assert shapes["motion.anchor"] == (1, 3, 4)
    assert shapes["depth.quarters"] == (2, 2, 2)
    assert shapes["middle.0"] == (1, 6, 8)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (5, 4)])
def test_depth_tokens_come_back(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    choices = rng.integers(0, 4, (2, rows, columns), dtype=np.int32)
    tokens = pack_depth(choices)
    assert tokens.shape == (2, -(-rows // 2), -(-columns // 2))
    assert np.array_equal(unpack_depth(tokens, rows, columns), choices)
    assert depth_valid(tokens, rows, columns, 4)
    assert not depth_valid(tokens | 1 << 8, rows, columns, 4)
    assert not depth_valid(pack_depth(np.full_like(choices, 3)), rows, columns, 2)
    if rows % 2:
        assert not depth_valid(tokens | 1 << 4, rows, columns, 4)


def test_depth_choices() -> None:
    assert [depth_choices(n) for n in (1, 2, 3, 4, 6)] == [
        (0, 1),
        (0, 1, 2),
        (0, 1, 2, 3),
        (0, 1, 2, 4),
        (0, 1, 2, 6),
    ]


def test_coded_layers_cover_blocks_of_8() -> None:
    tokens = pack_depth(np.array([[[0, 3], [1, 2], [2, 0]]], np.int32))
    counts = coded_layers(tokens, 3, 2, 4)
    assert counts[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert counts[0, 0].tolist() == [0, 0, 4, 4]


def test_groups_of_a_chunk() -> None:
    layout = SMALL.layout
    assert layout.groups(17, gop_start=True) == (1, 4, 4, 4, 4)
    assert layout.groups(1, gop_start=True) == (1,)
    assert layout.groups(7, gop_start=False) == (4, 3)
    # What later groups do not need comes last, in a stream of its own.
    streams = [layer.stream for layer in layout.layers(4, (33, 31), first=False)]
    assert streams == sorted(streams)
    assert set(streams) == {0, 1}


def test_configuration_travels_as_json() -> None:
    assert parse_config(SMALL.to_json()) == SMALL
    built = build_tokenizer(SMALL)
    assert isinstance(built, MotionTokenizer)


@pytest.mark.parametrize(
    "change",
    [
        {"intra_width": 0},
        {"anchor_layers": 1.5},
        {"intra_levels": 7},
        {"between_rounding": 0.7},
        {"between_rounding": None},
        {"intra_channels": 8},
        {"mask_width": True},
        {"anchor_digits": 99},
    ],
)
def test_bad_configurations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        parse_config(json.dumps({**json.loads(SMALL.to_json()), **change}))
