"""Presets of generators: the paper's values, named sets of sampling settings, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lfqcodec.errors import LfqError
from lfqcodec.generate.model.config import SamplingConfig
from lfqcodec.train.config import preset_names
from lfqcodec.train.generator.config import GeneratorTrainConfig, load_preset


def test_presets_are_those_of_the_documents() -> None:
    papers = ["paper-lm-ucf101", "paper-mlm-256", "paper-mlm-512", "paper-mlm-k600"]
    small = ["small-lm-video", "small-mlm-image", "small-mlm-predict", "small-mlm-video"]
    assert preset_names("generator") == [*papers, *small]
    for name in preset_names("generator"):
        load_preset(name)


def test_paper_image_model() -> None:
    config = load_preset("paper-mlm-256")
    model, optimizer = config.model, config.optimizer
    assert (model.layers, model.width, model.heads, model.mlp, model.norm) == (24, 1024, 16, 4096, "post")
    assert (model.class_drop, model.embedding, model.grid) == (0.1, "table", (1, 16, 16))
    assert (config.batch, config.steps, config.learning_rate) == (1024, 1080 * 1251, 1e-4)
    assert (optimizer.betas, optimizer.weight_decay, optimizer.clip) == ((0.9, 0.96), 0.045, 1.0)
    assert config.sampling["default"] == SamplingConfig(steps=64, temperature=15.0, guidance=1.0)
    assert config.sampling["guided"] == SamplingConfig(steps=64, temperature=15.0, guidance=25.0)
    assert not optimizer.muon
    assert config == replace(GeneratorTrainConfig(), sampling=config.sampling)
    large = load_preset("paper-mlm-512")
    assert (large.data.size, large.sampling["default"].temperature) == (512, 30.0)
    assert large.sampling["guided"] == config.sampling["guided"]


def test_paper_prediction_model() -> None:
    config = load_preset("paper-mlm-k600")
    assert (config.model.grid, config.model.condition_frames, config.model.classes) == ((5, 16, 16), 2, 0)
    assert (config.batch, config.label_smoothing, config.data.frames) == (256, 1e-4, 17)
    assert (config.model.units, config.sampling["default"].temperature) == (1536, 32.0)


def test_paper_autoregressive_model() -> None:
    config = load_preset("paper-lm-ucf101")
    model = config.model
    assert (model.kind, model.words, model.norm, model.grid) == ("lm", 1 << 18, "pre", (5, 16, 16))
    assert (config.batch, config.steps, config.label_smoothing) == (256, 74_000, 1e-4)
    assert config.sampling["default"].temperature == 1.0


def test_sets_differ_in_what_they_give() -> None:
    config = load_preset(
        "small-mlm-image", ["sampling.steps=8", "sampling.mine.softmax_temperature=[1.3, 1]"]
    )
    assert set(config.sampling) == {"default", "guided", "mine"}
    assert {each.steps for each in config.sampling.values()} == {8}
    assert config.sampling["mine"].softmax_temperature == (1.3, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("batch=0", "must be positive"),
        ("accumulate=3", "accumulate must divide"),
        ("label_smoothing=1.0", "label_smoothing"),
        ("loss_on='some'", "all or masked"),
        ("model.classes=0", "class_drop must be 0"),
        ("model.class_drop=0.0", "guidance needs"),
        ("vocabulary='some'", "all or used"),
        ("model.heads=5", "heads must divide"),
        ("model.grid=[1, 1, 2]", "16 steps for 4 units"),
        ("sampling.steps=33", "33 steps for 32 units"),
        ("sampling.guided.guidence=2", "no such field: guidence"),
        ("sampling=3", "sampling must be a section"),
        ("data.crop=[1.0, 0.5]", "data.crop"),
        ("data.views=0", "must be positive"),
        ("schedule='steps'", "cosine or linear"),
    ],
)
def test_bad_changes_are_named(change: str, message: str) -> None:
    with pytest.raises(LfqError, match=message):
        load_preset("small-mlm-image", [change])
