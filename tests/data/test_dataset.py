"""`lfqcodec.data`: every sample once, in an order of its own for each epoch, from where it stood."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from codec_support import encoded, frames_of, y4m
from torch.utils.data import DataLoader

import lfqcodec
from lfqcodec.data import LfqDataset
from lfqcodec.errors import ArgumentError, BitstreamError, InputVideoError

SIZE = (48, 40)
LENGTHS = (20, 9, 26)
GOP = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of 3, 1 and 3 GOPs, the last ones short."""
    folder = tmp_path_factory.mktemp("data")
    for number, frames in enumerate(LENGTHS):
        data = encoded(y4m(frames, SIZE), gop=GOP, scene_cuts=False)
        (folder / f"{number}.lfq").write_bytes(data)
    return folder


def places(samples):
    return [(sample["path"][-5:], sample["gop"], sample["first_frame"]) for sample in samples]


def every_place():
    return [
        (f"{number}.lfq", gop, gop * GOP)
        for number, frames in enumerate(LENGTHS)
        for gop in range(-(-frames // GOP))
    ]


def test_tokens_are_those_of_the_file(folder):
    samples = list(LfqDataset(folder, shuffle=False))
    assert places(samples) == every_place()
    with lfqcodec.open(folder / "0.lfq") as file:
        chunks = list(file.tokens())
    for sample in samples[:3]:
        inside = [
            c for c in chunks if sample["first_frame"] <= c.head.first_frame < sample["first_frame"] + GOP
        ]
        for name, layer in sample["tokens"].items():
            parts = [group[name] for chunk in inside for group in chunk.groups if name in group]
            assert np.array_equal(layer.numpy(), np.concatenate(parts)), name
            assert layer.dtype == torch.int32


def test_pictures_are_those_of_the_file(folder):
    samples = list(LfqDataset(folder, kind="pictures", frames=4, shuffle=False))
    shown = [frame.rgb for frame in frames_of(folder / "2.lfq")]
    own = [sample for sample in samples if sample["path"].endswith("2.lfq")]
    assert [sample["first_frame"] for sample in own] == [0, 4, 9, 13, 18, 22]
    for sample in own:
        first = sample["first_frame"]
        expected = np.stack(shown[first : first + 4]).transpose(0, 3, 1, 2)
        assert np.array_equal(sample["pictures"].numpy(), expected)


def test_epochs_have_orders_of_their_own(folder):
    dataset = LfqDataset(folder, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        orders.append(places(dataset))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == every_place()
    assert places(LfqDataset(folder, seed=4)) != orders[0]


@pytest.mark.parametrize("world", [2, 5])
def test_ranks_share(folder, world):
    """By files where there are enough, else by GOPs: together every sample once."""
    shares = [places(LfqDataset(folder, rank=rank, world=world)) for rank in range(world)]
    assert sorted(itertools.chain(*shares)) == every_place()
    assert all(shares)


def test_a_loader_with_workers_goes_on_where_it_stood(folder):
    def loader(dataset):
        return DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=places)

    dataset = LfqDataset(folder, kind="pictures", frames=3, seed=1)
    whole = list(loader(dataset))
    assert sorted(itertools.chain(*whole))[0] == ("0.lfq", 0, 0)
    assert len(set(itertools.chain(*whole))) == sum(map(len, whole))
    dataset.seek(3, 2)
    assert list(loader(dataset)) == whole[3:]


@pytest.mark.parametrize("done", [0, 1, 5])
def test_state_of_one_process(folder, done):
    dataset = LfqDataset(folder, kind="pictures", frames=4)
    whole = places(dataset)
    iterator = iter(dataset)
    for _ in range(done):
        next(iterator)
    other = LfqDataset(folder, kind="pictures", frames=4)
    other.load_state_dict(dataset.state_dict())
    assert places(other) == whole[done:]
    assert places(other) == whole, "and the next pass is a whole one"


def test_damaged_gops_are_told_of_or_left_out(folder, tmp_path):
    data = bytearray((folder / "0.lfq").read_bytes())
    with lfqcodec.open(folder / "0.lfq") as file:
        second = file.index().entries[1].offset
    data[second + 40] ^= 255
    (tmp_path / "0.lfq").write_bytes(data)
    with pytest.raises(BitstreamError):
        list(LfqDataset(tmp_path))
    with pytest.warns(UserWarning, match="left out"):
        found = places(LfqDataset(tmp_path, skip_damaged=True, shuffle=False))
    assert found == [("0.lfq", 0, 0), ("0.lfq", 2, 18)]


def test_wrong_use(folder, tmp_path):
    for options in ({"kind": "sound"}, {"frames": 3}, {"rank": 0}, {"window": 0}, {"rank": 2, "world": 2}):
        with pytest.raises(ArgumentError):
            LfqDataset(folder, **options)
    with pytest.raises(InputVideoError, match="there is no"):
        LfqDataset(tmp_path)
