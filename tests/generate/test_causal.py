"""The autoregressive model: its cache, its causality, its vocabulary, and what may be drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from generate_support import CLIPS, CPU, make_generator, make_tokenizer, refused
from safetensors.torch import load_file
from torch.nn import functional as F

from lfqcodec.errors import WeightsError
from lfqcodec.generate.decoding.causal import decode_causal, narrowed
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.store import read_generator
from lfqcodec.generate.model.weights import load_generator, save_generator
from lfqcodec.generate.request import choose_sampling, make_request
from lfqcodec.generate.sampler import Sampler
from lfqcodec.train.generator.chunked import chunked_cross_entropy

TINY = GeneratorConfig(
    kind="lm",
    grid=(2, 2, 2),
    classes=3,
    class_drop=0.0,
    layers=2,
    width=16,
    heads=2,
    mlp=32,
    norm="pre",
    words=50,
)


@pytest.fixture
def model() -> CausalModel:
    torch.manual_seed(0)
    made = CausalModel(TINY).eval()
    made.know(7 * torch.arange(50))
    return made


def test_parameters_of_the_papers_model() -> None:
    config = GeneratorConfig(
        kind="lm", grid=(5, 16, 16), classes=101, class_drop=0.0, norm="pre", words=1 << 18
    )
    with torch.device("meta"):
        assert sum(p.numel() for p in CausalModel(config).parameters()) == 840_760_320


def test_the_cache_changes_nothing(model: CausalModel) -> None:
    numbers, labels = torch.randint(0, 50, (3, 7)), torch.tensor([0, 2, 1])
    with torch.no_grad():
        whole = model(numbers, labels)
        caches = model.caches(3)
        for place in range(8):
            last = labels if place == 0 else numbers[:, place - 1]
            step = model.following(last, place, caches, first=place == 0)
            torch.testing.assert_close(step, whole[:, place], atol=1e-4, rtol=0)


def test_nothing_is_known_of_what_comes(model: CausalModel) -> None:
    numbers, labels = torch.randint(0, 50, (1, 7)), torch.tensor([1])
    with torch.no_grad():
        before = model(numbers, labels)
        for place in range(7):
            changed = numbers.clone()
            changed[0, place] = (changed[0, place] + 1) % 50
            different = (model(changed, labels) - before).abs().amax((0, 2)) > 1e-6
            assert different.tolist() == [k > place for k in range(8)]


def test_vocabulary(model: CausalModel) -> None:
    tokens = torch.tensor([0, 7, 343, 8, 350])
    assert model.numbers(tokens).tolist() == [0, 1, 49, -1, -1]
    assert model.tokens(torch.tensor([0, 1, 49])).tolist() == [0, 7, 343]
    many = torch.arange(50)
    for wrong in (many[1:], torch.zeros(50).long(), many - 1, many + (1 << 18) - 49):
        with pytest.raises(WeightsError, match="vocabulary"):
            model.know(wrong)
    whole = CausalModel(replace(TINY, words=1 << 18, width=2, heads=1))
    assert whole.words is None
    assert "words" not in whole.state_dict()
    assert whole.numbers(tokens) is tokens


def test_cross_entropy_in_chunks() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(11, 8), torch.randn(30, 8), torch.randn(30)
    target = torch.randint(0, 30, (11,))
    results = []
    for chunk in (None, 4):
        leaves = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
        if chunk is None:
            loss = F.cross_entropy(F.linear(*leaves), target, label_smoothing=0.1, reduction="sum")
        else:
            loss, plain = chunked_cross_entropy(*leaves, target, smoothing=0.1, chunk=chunk)
            expected = F.cross_entropy(F.linear(hidden, weight, bias), target, reduction="sum")
            torch.testing.assert_close(plain, expected)
            assert not plain.requires_grad
        loss.backward()
        results.append([loss.detach(), *(each.grad for each in leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    target[3] = -1
    _, plain = chunked_cross_entropy(hidden, weight, bias, target, chunk=4)
    kept = torch.arange(11) != 3
    expected = F.cross_entropy(F.linear(hidden, weight, bias)[kept], target[kept], reduction="sum")
    torch.testing.assert_close(plain, expected)


def test_what_may_be_drawn() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    usual = SamplingConfig(temperature=1.0)
    assert narrowed(logits, usual)[0].tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05])
    cold = narrowed(logits, replace(usual, temperature=0.5))[0]
    assert float(cold[0] / cold[1]) == pytest.approx((0.5 / 0.3) ** 2)
    assert narrowed(logits, replace(usual, temperature=0.0))[0].tolist() == [1, 0, 0, 0]
    assert narrowed(logits, replace(usual, top_k=2))[0].tolist() == pytest.approx([0.5, 0.3, 0, 0])
    assert narrowed(logits, replace(usual, top_p=0.5))[0].tolist() == pytest.approx([0.5, 0, 0, 0])
    assert narrowed(logits, replace(usual, top_p=0.81))[0].tolist() == pytest.approx([0.5, 0.3, 0.15, 0])


def test_samples_do_not_depend_on_their_batch(model: CausalModel) -> None:
    sampling = SamplingConfig(temperature=1.0)
    alone = decode_causal(model, [1], sampling, SampleNoise(3, [5]))
    among = decode_causal(model, [0, 1, 2, 0, 1, 1, 2, 0], sampling, SampleNoise(3, range(8)))
    assert among.shape == (8, 2, 2, 2)
    assert torch.equal(alone[0], among[5])
    assert not torch.equal(among[4], among[5])
    assert bool((among % 7 == 0).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": 0}, "words must be 1"),
        ({"words": (1 << 18) + 1}, "words must be 1"),
        ({"norm": "post"}, "norm pre"),
        ({"class_drop": 0.1}, "no class_drop"),
        ({"condition_frames": 1}, "no condition_frames"),
        ({"kind": "mlm"}, "0 in an mlm"),
    ],
)
def test_limits_of_a_configuration(changes, message) -> None:
    with pytest.raises(WeightsError, match=message):
        replace(TINY, **changes)


def test_a_file_and_its_clips(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "clips.safetensors", CLIPS)
    path = tmp_path / "lm.safetensors"
    sampling = json.dumps({"default": json.loads(SamplingConfig(temperature=1.0, top_k=5).to_json())})
    generator = make_generator(path, tokenizer, TINY, sampling=sampling)
    settings = choose_sampling(generator, None, {"top_p": 0.9, "temperature": 0.7})
    assert (settings.top_k, settings.top_p) == (5, 0.9)
    made = next(Sampler(generator, tokenizer, CPU).samples(make_request(generator, settings, count=2)))
    assert made.pictures.shape == (2, 5, 16, 16, 3)
    assert made.tokens.max() < 50
    out = tmp_path / "out.npz"
    assert "--steps is of no use: lm draws tokens one after the other" in refused(2, path, out, "--steps", 3)
    assert "--top-p must be above 0 and at most 1" in refused(2, path, out, "--top-p", 0)
    tensors = load_file(path)
    for words, message in (
        (torch.arange(49, -1, -1, dtype=torch.int32), "vocabulary"),
        (torch.zeros(50), "another type"),
    ):
        save_generator(path, TINY, tensors | {"words": words}, generator.metadata)
        with pytest.raises(WeightsError, match=message):
            load_generator(read_generator(path), CPU)
    assert np.isfinite(made.pictures).all()
