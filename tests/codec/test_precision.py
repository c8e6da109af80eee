"""What networks multiply: float32, or bfloat16 on processors that are faster with it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from codec_support import encoded, fail, psnr, same_tokens, succeed, tokens_of, y4m

import lfqcodec
from lfqcodec.codec import device
from lfqcodec.codec.models import load_group_tokenizer
from lfqcodec.weights.store import DEFAULT_MODEL, resolve_model

SIZE = (192, 160)
"""So that some regions are done in halves."""
TYPES = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def coded():
    return {name: coded_in(name) for name in TYPES}


def coded_in(name):
    # Networks of the small model for tests change too little for that to be seen.
    return encoded(y4m(6, SIZE), model=DEFAULT_MODEL, precision=name)


def pictures(data, name):
    with lfqcodec.open(io.BytesIO(data), device="cpu", precision=name) as file:
        return np.stack([frame.rgb for frame in file.frames()])


def test_files_of_either_decode_to_nearly_the_same_pictures(coded):
    for name, data in coded.items():
        shown = {each: pictures(data, each) for each in TYPES}
        assert np.array_equal(shown[name], pictures(data, name))
        apart = [psnr(one, two) for one, two in zip(*shown.values(), strict=True)]
        assert min(apart) > 40
        assert min(apart) < 100, "they are not the same"
    sizes = [len(data) for data in coded.values()]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_one_does_not_change_the_other(coded):
    """Weights are rounded for bfloat16, those of float32 are not, whichever is loaded first."""
    model = resolve_model(DEFAULT_MODEL)
    kinds = {name: load_group_tokenizer(model, "cpu", name) for name in (*TYPES, "float32")}
    halves = {name: {p.dtype for p in kind.parameters()} for name, kind in kinds.items()}
    assert halves == {"float32": {torch.float32}, "bfloat16": {torch.float32, torch.bfloat16}}
    assert same_tokens(tokens_of(coded["float32"]), tokens_of(coded_in("float32")))


def test_what_is_taken_where_nothing_is_said(monkeypatch):
    for native, taken in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "_multiplies_bfloat16", lambda native=native: native)
        assert device.pick_precision("auto", torch.device("cpu")) == taken
        assert device.pick_precision("auto", torch.device("cuda")) == torch.float32
        for name in TYPES:
            assert device.pick_precision(name, torch.device("cpu")) == getattr(torch, name)


def test_the_command(coded, tmp_path):
    source, made = tmp_path / "in.y4m", tmp_path / "out.lfq"
    source.write_bytes(y4m(6, SIZE))
    for name in TYPES:
        succeed("encode", "-f", "-q", source, made, "--model", DEFAULT_MODEL, "--precision", name)
        assert made.read_bytes() == coded[name]
        succeed("decode", "-f", "-q", made, tmp_path / "out.y4m", "--precision", name)
    assert "precision" in fail(2, "encode", source, made, "--precision", "float16")
    with pytest.raises(lfqcodec.ArgumentValueError, match="precision"):
        lfqcodec.open(made, precision="float16")
