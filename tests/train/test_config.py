"""Presets: the paper's values, files of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.magvit2.config import IMAGE_16X, IMAGE_32X, Magvit2Config
from lfqcodec.tokenizer.registry import build_tokenizer
from lfqcodec.train.config import preset_names
from lfqcodec.train.tokenizer.config import Phase, TokenizerTrainConfig, load_preset


def test_presets_are_those_of_the_documents() -> None:
    papers = ["paper-image-16x", "paper-image-32x", "paper-video"]
    assert preset_names("tokenizer") == [*papers, "small-image", "small-video"]


def test_paper_video_is_the_appendix_and_the_default() -> None:
    config = load_preset("paper-video")
    assert config == TokenizerTrainConfig()
    losses = config.losses
    assert (losses.mse, losses.perceptual, losses.commitment) == (5.0, 0.1, 0.25)
    assert (losses.entropy, losses.entropy_anneal_steps, losses.entropy_anneal_factor) == (0.1, 2000, 3.0)
    assert (losses.gan, losses.r1, losses.lecam) == (0.1, 10.0, 0.001)
    assert config.discriminator.multipliers == (2, 4, 4, 4, 4)
    assert config.optimizer.betas == (0.0, 0.99)
    assert not config.optimizer.muon
    assert (config.learning_rate, config.schedule, config.ema) == (1e-4, "cosine", 0.999)
    assert config.model == Magvit2Config()
    assert config.phases[-1] == Phase(270_000, 256, 17, 128)


@pytest.mark.parametrize(("name", "model"), [("16x", IMAGE_16X), ("32x", IMAGE_32X)])
def test_image_presets(name: str, model: Magvit2Config) -> None:
    config = load_preset(f"paper-image-{name}")
    assert config.model == model
    size = config.phases[0].size
    with torch.device("meta"):
        latents, _ = build_tokenizer(config.model).analyse(torch.empty(1, 3, 1, size, size))
    assert latents.shape[3:] == (16, 16)


def test_changes_and_files(tmp_path: Path) -> None:
    changes = [
        "losses.gan=0.5",
        "model.stages=2",
        "seed=3",
        "phases=['7:1x5x16']",
        "optimizer.betas=[0, 0.5]",
    ]
    config = load_preset("paper-video", changes)
    assert (config.losses.gan, config.model.stages, config.seed) == (0.5, 2, 3)
    assert config.phases == (Phase(7, 1, 5, 16),)
    assert config.optimizer.betas == (0, 0.5)
    assert config.losses.lecam == 0.001  # the others stay
    path = tmp_path / "mine.toml"
    path.write_text('phases = ["5:2x1x16"]\nlearning_rate = 1\n[model]\nstages = 3\n')
    mine = load_preset(str(path))
    assert mine.model == Magvit2Config(stages=3)
    assert mine.learning_rate == 1.0
    assert mine.losses == TokenizerTrainConfig().losses


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("losses.gna=1", "no such field: gna"),
        ("nothing=1", "no such field: nothing"),
        ("losses.gan", "not KEY=VALUE"),
        ("losses.gan=high", "not KEY=VALUE"),
        ("losses.gan='high'", "gan must be like"),
        ("losses.gan=-1", "must not be negative"),
        ("skip_chance=1.5", "skip_chance must be between 0 and 1"),
        ("losses=1", "losses must be a section"),
        ("learning_rate.x=1", "learning_rate is not a section"),
        ("seed=true", "seed must be like"),
        ("optimizer.betas=['a']", "betas must be like"),
        ("schedule='steps'", "cosine or linear"),
        ("phases=[]", "phases must be like"),
        ("phases=3", "must be a list"),
        ("phases=[3]", "is not a phase"),
        ("phases=['5:1x1x63']", "multiple of 8"),
        ("phases=['5:1x4x64']", "must be 1 \\+ 4k"),
        ("model.multipliers=[1]", "2 to 7 multipliers"),
        ("model.multipliers=['a', 'b', 'c']", "multipliers must be like"),
        ("model=1", "model must be a section"),
        ("discriminator.multipliers=[0]", "must be positive"),
    ],
)
def test_bad_changes_are_named(change: str, message: str) -> None:
    with pytest.raises(LfqError, match=message):
        load_preset("paper-video", [change])


@pytest.mark.parametrize("text", ["", "5", "0:1x1x64", "5:axbxc", "5:1x1"])
def test_bad_phases_are_refused(text: str) -> None:
    with pytest.raises(LfqError):
        Phase.parse(text)


def test_phases() -> None:
    config = TokenizerTrainConfig((Phase(10, 1, 1, 16), Phase(20, 1, 5, 16)))
    assert [config.phase_at(step)[0] for step in (0, 9, 10, 29, 35)] == [0, 0, 1, 1, 1]
    assert [config.begins_video(step) for step in (0, 9, 10, 11)] == [False, False, True, False]
    assert config.learning_rates().steps == 30


def test_unknown_presets_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(LfqError, match="no such preset"):
        load_preset("paper-vdieo")
    path = tmp_path / "x.toml"
    path.write_text("phases = [")
    with pytest.raises(LfqError, match="not a TOML file"):
        load_preset(str(path))
