"""The weights that ship: files that were made with them once must decode for ever."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from codec_support import one_thread, y4m
from safetensors.torch import load_file

import lfqcodec
from lfqcodec.weights.rates import load_rates
from lfqcodec.weights.store import package_folder, prior_for, read_model, resolve_model

# Never to be changed, only added to.
SHIPPED = {
    "base-1": "bd091dc3175758d228b3d8b1dae9eb2650db8897452368143f688e0cee005498",
    "base-2": "d01c70dc4b63e837304d90d68664d3243ffebed493d50b8e8cc1eb0bcb1a3290",
    "base-3": "167b61102d48e554d56f18fd15258ea2d0b4f49f38d24e3a841ae7d26c8fdafe",
}
PRIORS = {
    "base-1-prior-1": "e8d43c64f6c856e58cf33e9cec87d8c93f41f61df1cec462ce886b329f7780f9",
    "base-2-prior-1": "d0da45fb5b80dcde96441f2f79844ed9ac76ef4bc24e52fcc752585c9e1c250e",
    "base-3-prior-1": "bd58fdcadcc465d2951795b8367ef843996c4e15f38484d9b8cd917f25561b4c",
}


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with one_thread():
        yield


def test_every_file_is_still_the_same():
    for name, sha256 in SHIPPED.items():
        model = read_model(package_folder() / f"{name}.safetensors")
        assert (model.name, model.sha256.hex()) == (name, sha256)
    files = {path.stem for path in package_folder().glob("*.safetensors")}
    assert files == {*SHIPPED, *PRIORS}


@pytest.mark.parametrize("name", SHIPPED)
def test_each_has_its_prior_and_rates(name):
    model = resolve_model(name)
    prior = prior_for(model)
    assert prior is not None
    assert prior.sha256.hex() == PRIORS[prior.name]
    assert load_rates(model, prior) is not None


def test_each_model_takes_the_prior_that_was_trained_for_it():
    names = {name: prior_for(resolve_model(name)).name for name in SHIPPED}
    assert names == {"base-1": "base-1-prior-1", "base-2": "base-2-prior-1", "base-3": "base-3-prior-1"}
    assert resolve_model().name == "base-3"


def test_the_tokens_of_base_2_are_those_of_base_1():
    assert resolve_model("base-2").tokens_of == SHIPPED["base-1"]
    one, two = (load_file(package_folder() / f"base-{number}.safetensors") for number in (1, 2))
    assert one.keys() == two.keys()
    assert {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])} == {"decoder"}


def test_files_of_both_models():
    """The same tokens, in files that differ in the hash of the model alone; the pictures are each its own.

    In profile static: in exact each has a prior of its own.
    """
    source = y4m(5, (64, 48))
    coded = {}
    for name in ("base-1", "base-2"):
        out = io.BytesIO()
        lfqcodec.encode(io.BytesIO(source), out, model=name, profile="static")
        coded[name] = out.getvalue()
    one, two = coded.values()
    assert len(one) == len(two)
    differ = [at for at, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    assert all(72 <= at < 104 or 136 <= at < 140 for at in differ)
    pictures = {}
    for name, data in coded.items():
        with lfqcodec.open(io.BytesIO(data)) as video:
            assert video.model().name == name
            pictures[name] = np.stack([frame.rgb for frame in video.frames()]).astype(int)
    difference = np.abs(pictures["base-1"] - pictures["base-2"])
    assert 0 < difference.mean() < 20
