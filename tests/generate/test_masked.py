"""The masked model and its decoding: counts of parameters, tied logits, and each rule by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lfqcodec.entropy.subtokens import tokens_to_subtokens
from lfqcodec.errors import WeightsError
from lfqcodec.generate.decoding import masked as decoding
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.embedding import MASK, SubtokenEmbedding, join, split
from lfqcodec.generate.model.masked import MaskedModel

TINY = GeneratorConfig(grid=(1, 2, 2), classes=3, layers=1, width=16, heads=2, mlp=32, norm="pre")


def model_of(config: GeneratorConfig) -> MaskedModel:
    torch.manual_seed(0)
    return MaskedModel(config).eval()


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (GeneratorConfig(), 305_702_912),
        (GeneratorConfig(grid=(5, 16, 16), classes=0, condition_frames=2), 305_727_488),
    ],
)
def test_parameters_of_the_papers_models(config, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in MaskedModel(config).parameters()) == count


def test_subtokens():
    assert split(torch.tensor(5 + 512 * 300)).tolist() == [5, 300]
    tokens = torch.arange(1 << 18)
    assert torch.equal(join(split(tokens)), tokens)
    assert np.array_equal(split(tokens).reshape(-1).numpy(), tokens_to_subtokens(tokens.numpy()))


def test_logits_are_tied_to_the_embedding():
    embedding = SubtokenEmbedding(513, "table")
    with torch.no_grad():
        embedding.table[0] = torch.eye(513)
    z = torch.randn(3, 513)
    logits = embedding.logits(z)
    assert torch.equal(logits[:, 0], z[:, :512])
    assert torch.allclose(logits[:, 1], z @ embedding.table[1, :512].T, atol=1e-5)
    logits.sum().backward()
    assert not embedding.table.grad[:, MASK].any()  # the mask is an input, never an output
    embedding(torch.full((1, 2), MASK)).sum().backward()
    assert embedding.table.grad[:, MASK].all()
    with torch.no_grad():
        embedding.table[0, 7] += 1
    assert (embedding.logits(z) != logits).nonzero()[:, 1:].unique(dim=0).tolist() == [[0, 7]]


def test_embedding_of_bits_is_a_sum():
    embedding = SubtokenEmbedding(8, "bits")
    assert not embedding.table[:, :MASK].any()
    with torch.no_grad():
        embedding.table[0, 5] = 1.0
    vector = embedding.table[0, 5] + sum((1 if 5 >> b & 1 else -1) * embedding.bits[0, b] for b in range(9))
    assert torch.allclose(embedding.rows()[0, 5], vector, atol=1e-6)
    assert torch.equal(embedding.rows()[1, MASK], embedding.table[1, MASK])


def test_model_sees_every_place_and_the_class():
    model = model_of(TINY)
    known = torch.randint(0, 512, (1, 4, 2))
    before = model(known, torch.tensor([0]))
    assert before.shape == (1, 4, 2, 512)
    other = known.clone()
    other[0, 3, 1] = MASK
    for changed in (model(other, torch.tensor([0])), model(known, torch.tensor([3]))):
        assert ((changed - before).abs().amax((0, 2, 3)) > 1e-6).all()


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_norms(norm):
    config = replace(TINY, norm=norm)
    model = model_of(config)
    assert isinstance(model.stack.last, torch.nn.Identity) == (norm == "post")
    block = model.stack.blocks[0]
    x = torch.randn(1, 3, 16)
    y = block(x)
    if norm == "post":
        assert torch.allclose(y.mean(-1), torch.zeros(1, 3), atol=1e-5)
    else:
        with torch.no_grad():
            block.attention.out.weight.zero_()
            block.mlp[2].weight.zero_()
        assert torch.equal(block(x), x)


def test_drawing_from_a_distribution():
    q = torch.tensor([0.2, 0.5, 0.3]).double().expand(5, 3)
    uniform = torch.tensor([0.1, 0.2, 0.69, 0.70, 0.999999], dtype=torch.float64)
    assert decoding.draw(q, uniform).tolist() == [0, 1, 1, 2, 2]
    drawn = decoding.draw(
        q[:1].expand(20_000, 3), torch.from_numpy(SampleNoise(0, [0]).uniforms((20_000,))[0])
    )
    for value, chance in enumerate((0.2, 0.5, 0.3)):
        sigma = (chance * (1 - chance) / 20_000) ** 0.5
        assert abs(float((drawn == value).double().mean()) - chance) < 3 * sigma


def test_confidence():
    sure = torch.tensor([0.9, 0.5, 0.2]).log().view(1, 3, 1)
    noise = torch.tensor([0.1, 2.0, -0.5], dtype=torch.float64).view(1, 3, 1)
    unknown = torch.ones(1, 3, 1, dtype=torch.bool)
    score = decoding.confidence(sure.expand(1, 3, 2), unknown.expand(1, 3, 2), noise.expand(1, 3, 2), 4.5 / 2)
    assert score[0, :, 0].tolist() == pytest.approx([0.119639, 3.806853, -2.734438], abs=1e-6)
    assert decoding.lowest(score[..., :1], 2)[0, :, 0].tolist() == [True, False, True]
    cold = decoding.confidence(sure.expand(1, 3, 2), unknown.expand(1, 3, 2), noise.expand(1, 3, 2), 0.0)
    assert decoding.lowest(cold[..., :1], 2)[0, :, 0].tolist() == [False, True, True]
    unknown[0, 1] = False
    kept = decoding.confidence(
        sure.expand(1, 3, 2), unknown.expand(1, 3, 2), -99 * noise.expand(1, 3, 2), 4.5
    )
    assert kept[0, 1].tolist() == [torch.inf] * 2


def test_ties_fall_to_the_first_units():
    assert decoding.lowest(torch.zeros(1, 3, 2), 3).int().tolist() == [[[1, 1], [1, 0], [0, 0]]]


def test_guidance(monkeypatch):
    model = model_of(TINY)
    calls = []

    def forward(state, label):
        calls.append(label.tolist())
        logits = torch.where((label == 3)[:, None], torch.tensor([1.0, 0.5]), torch.tensor([2.0, 0.0]))
        return logits.view(len(label), 1, 1, 2)

    monkeypatch.setattr(model, "forward", forward)
    state, label = torch.zeros(1, 4, 2, dtype=torch.int64), torch.tensor([1])
    assert decoding.guided(model, state, label, 3.0).flatten().tolist() == [4, -1]
    assert decoding.guided(model, state, label, 1.0).flatten().tolist() == [2, 0]
    assert calls == [[1, 3], [1]]


class Watched(MaskedModel):
    """Keeps what it is asked for."""

    def forward(self, subtokens, labels):
        self.__dict__.setdefault("seen", []).append(subtokens.clone())
        return super().forward(subtokens, labels)


@pytest.mark.parametrize("unit", ["subtoken", "token"])
@pytest.mark.parametrize("temperature", [0.0, 15.0])
def test_units_become_known_by_the_counts_and_never_change(unit, temperature):
    torch.manual_seed(0)
    config = replace(TINY, grid=(1, 2, 4), mask_unit=unit)
    model = Watched(config).eval()
    sampling = SamplingConfig(steps=4, temperature=temperature)
    tokens = decoding.decode_masked(model, [0, 2], sampling, SampleNoise(0, [0, 1]))
    assert tokens.shape == (2, 1, 2, 4)
    counts = {"subtoken": [16, 14, 11, 6], "token": [16, 14, 10, 6]}[unit]
    assert [int((state[0] == MASK).sum()) for state in model.seen] == counts
    final = split(tokens.flatten(1))
    for state in model.seen:
        known = state != MASK
        assert torch.equal(state[known], final[known])
        if unit == "token":
            assert torch.equal(known[..., 0], known[..., 1])


def test_a_sample_does_not_depend_on_its_batch():
    model = model_of(TINY)
    sampling = SamplingConfig(steps=3, guidance=3.0)
    alone = decoding.decode_masked(model, [1], sampling, SampleNoise(3, [5]))
    labels = [0, 1, 2, 0, 1, 1, 2, 0]
    among = decoding.decode_masked(model, labels, sampling, SampleNoise(3, range(8)))
    assert torch.equal(alone[0], among[5])
    assert not torch.equal(among[4], among[5])


def test_temperature_changes_the_choice_and_not_what_is_drawn():
    model = model_of(TINY)
    first = []
    for temperature in (0.0, 30.0):
        watched = Watched(TINY).eval()
        watched.load_state_dict(model.state_dict())
        decoding.decode_masked(
            watched, [1], SamplingConfig(steps=8, temperature=temperature), SampleNoise(0, [0])
        )
        first.append(watched.seen[1])
    both = (first[0] != MASK) & (first[1] != MASK)
    assert torch.equal(first[0][both], first[1][both])
    assert not torch.equal(first[0], first[1])


def test_condition_stays(monkeypatch):
    config = replace(TINY, grid=(3, 2, 2), classes=0, condition_frames=2)
    torch.manual_seed(0)
    model = Watched(config).eval()
    condition = torch.randint(0, 1 << 18, (2, 2, 2, 2))
    sampling = SamplingConfig(steps=8, temperature=1000.0)
    tokens = decoding.decode_masked(model, [0, 0], sampling, SampleNoise(0, [0, 1]), condition=condition)
    assert torch.equal(tokens[:, :2], condition)
    assert all(torch.equal(join(state[:, :8]).view(2, 2, 2, 2), condition) for state in model.seen)
    assert int((model.seen[0] == MASK).sum()) == 2 * config.units == 16
    with pytest.raises(ValueError, match="condition"):
        decoding.decode_masked(model, [0], sampling, SampleNoise(0, [0]))
    with pytest.raises(ValueError, match="9 steps for 8 units"):
        decoding.decode_masked(
            model, [0, 0], replace(sampling, steps=9), SampleNoise(0, [0, 1]), condition=condition
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 65}, "layers must be 1 to 64"),
        ({"width": 8200}, "width must be"),
        ({"heads": 3}, "heads must divide"),
        ({"heads": 0}, "heads must divide"),
        ({"mlp": 0}, "mlp must be"),
        ({"classes": -1}, "classes must be"),
        ({"classes": 100_001}, "classes must be"),
        ({"grid": (1, 200, 200)}, "16384 positions"),
        ({"grid": (1, 0, 1)}, "positive"),
        ({"grid": (4, 4)}, "three"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"norm": "middle"}, "norm must be post or pre"),
        ({"kind": "gan"}, "kind must be"),
        ({"condition_frames": 1}, "condition_frames"),
        ({"condition_frames": -1}, "condition_frames"),
    ],
)
def test_limits_of_a_configuration(changes, message):
    with pytest.raises(WeightsError, match=message):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"guidance": float("inf")},
        {"guidance_power": 0.0},
        {"softmax_temperature": (1.0, 0.0)},
        {"softmax_temperature": (1.0,)},
        {"schedule": "sine"},
    ],
)
def test_limits_of_sampling(changes):
    with pytest.raises(WeightsError):
        replace(SamplingConfig(), **changes)


def test_configurations_travel():
    assert GeneratorConfig.from_json(TINY.to_json()) == TINY
    sampling = SamplingConfig(softmax_temperature=(1.3, 0.5))
    assert SamplingConfig.from_json(sampling.to_json()) == sampling
