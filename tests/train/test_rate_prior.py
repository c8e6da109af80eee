"""The rate in the tokenizer's loss, by the prior itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from prior_support import random_prior
from safetensors.torch import load_file
from torch import Tensor
from train_support import moving_patterns

from lfqcodec.errors import LfqError
from lfqcodec.prior.config import LOGIT_BITS, PriorConfig
from lfqcodec.prior.weights import load_prior, save_prior
from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.tokenizer.lfq.binary import Quantized
from lfqcodec.train.config import LossConfig, TrainConfig
from lfqcodec.train.distributed import World
from lfqcodec.train.objective import Objective, chances_of_stages, draw
from lfqcodec.train.rate_prior import PriorRate, prior_from, tokens_of

TINY = PriorConfig(
    stages=2, width=32, layers=2, context_layers=1, heads=2, first_steps=(3, 2), later_steps=(2, 1)
)
NARROW = BaseConfig(
    widths=(32, 32, 48),
    encoder_blocks=(1, 1, 1),
    decoder_blocks=(1, 1, 1),
    latent_channels=32,
    stages=2,
    refine_channels=8,
)
CLIPS, FRAMES, SIDE = 2, 3, 4


def gentle_prior(seed: int = 0) -> PriorRate:
    """A random prior whose logits are no longer ones that leave no doubt."""
    model = PriorRate(random_prior(TINY, seed))
    with torch.no_grad():
        for name in ("head_first", "head_second"):
            linear = model.net.linears[name]
            for part in linear.parameters():
                part.mul_(0.25)
    return model


def random_signs(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, CLIPS * FRAMES, 18, SIDE, SIDE)
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


def quantized(signs: Tensor) -> Quantized:
    return Quantized(torch.zeros(CLIPS * FRAMES, 32, SIDE, SIDE), signs, signs, torch.zeros(2, 1))


@pytest.mark.parametrize("stage", [0, 1])
def test_the_value_is_what_the_prior_says(stage: int) -> None:
    model, signs = gentle_prior(), random_signs()
    expected = model.net.bits(tokens_of(signs, CLIPS), torch.zeros(CLIPS, dtype=torch.int64), stage).mean(2)
    for each in model(quantized(signs), CLIPS, stage):
        assert torch.allclose(each, expected)
    assert 1 < float(expected.detach().mean()) < 100


def test_tokens_have_their_bits_and_no_history() -> None:
    signs = random_signs()
    tokens = tokens_of(signs, CLIPS)
    assert tokens.shape == (CLIPS, 2, 2 + FRAMES, SIDE, SIDE)
    assert (tokens[:, :, :2] == -1).all()
    value = sum(1 << bit for bit in range(18) if signs[1, 1 * FRAMES + 2, bit, 3, 0] > 0)
    assert int(tokens[1, 1, 2 + 2, 3, 0]) == value


@pytest.mark.parametrize("bit", [0, 8, 9, 17])
def test_the_gradient_of_a_sign_is_half_of_what_its_flip_costs(bit: int) -> None:
    stage, clip, frame, y, x = 1, 1, 2, 3, 1
    model, signs = gentle_prior(), random_signs()
    start = torch.zeros(CLIPS, dtype=torch.int64)

    def own_cost(values: Tensor) -> float:
        """Of the subtoken that the bit is in, at its position."""
        tokens = tokens_of(values, CLIPS)
        logits = model.net(tokens, start, stage)[bit // 9][clip, frame, y * SIDE + x] / (1 << LOGIT_BITS)
        symbol = int(tokens[clip, stage, 2 + frame, y, x]) >> (9 * (bit // 9)) & 511
        return float(-torch.log_softmax(logits, 0)[symbol].detach()) / np.log(2)

    where = (stage, clip * FRAMES + frame, bit, y, x)
    flipped = signs.clone()
    flipped[where] *= -1
    change = own_cost(flipped) - own_cost(signs)
    assert abs(change) > 1e-3
    leaf = signs.clone().requires_grad_(True)
    model(quantized(leaf), CLIPS, stage)[0][clip, frame].backward()
    assert leaf.grad is not None
    # A bit's mean is over the positions of the latent frame.
    expected = -float(signs[where]) * min(max(change, -8), 8) / 2 / SIDE**2
    assert float(leaf.grad[where]) == pytest.approx(expected, rel=1e-4)
    assert not leaf.grad[0].any()


def test_one_result_trains_the_tokenizer_and_the_other_the_prior() -> None:
    model, leaf = gentle_prior(), random_signs().requires_grad_(True)
    rate, cost = model(quantized(leaf), CLIPS, 0)
    rate.mean().backward()
    assert all(p.grad is None for p in model.parameters())
    assert leaf.grad is not None
    leaf.grad = None
    cost.mean().backward()
    assert leaf.grad is None
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_over_the_stages_it_comes_to_the_rate_that_clips_pay() -> None:
    losses = LossConfig(mse=0, perceptual=0, commitment=0, entropy=0, gan=0, rate=1, rate_by_stages=(3, 0.5))
    setting = TrainConfig(model=NARROW, losses=losses, stage_shares=(1.0, 3.0))
    chances = chances_of_stages(setting)
    assert chances.tolist() == pytest.approx([4 / 7, 3 / 7])
    model, signs = gentle_prior(), random_signs()
    objective = Objective(setting, World(), rate_model=model)
    video = torch.zeros(CLIPS, 3, 9, 32, 32)
    kept = torch.tensor([1, 2])
    drawn = draw(setting, 0, (CLIPS, 9, 32), World())
    expected = mean = 0.0
    for stage in (0, 1):
        draws = dataclasses.replace(drawn, kept=kept, stage=stage)
        _, parts = objective(video, video, quantized(signs), draws, 0)
        mean += float(chances[stage]) * float(parts["rate"])
        bits = model(quantized(signs), CLIPS, stage)[0].mean(1).tolist()
        expected += (0.5 * bits[1] + (3 * bits[0] if stage == 0 else 0)) / 2
    assert mean == pytest.approx(expected)
    stages = [draw(setting, step, (CLIPS, 9, 32), World()).stage for step in range(400)]
    assert sum(stages) / 400 == pytest.approx(3 / 7, abs=0.08)


# As a user runs it


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pack of moving patterns, and a prior."""
    root = tmp_path_factory.mktemp("start")
    pack = moving_patterns(root)
    save_prior(root / "prior.safetensors", random_prior(TINY), {"name": "start", "trained_for": "00" * 32})
    return pack, root / "prior.safetensors"


def lfqcodec(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lfqcodec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def tokenizer_run(out: Path, start: tuple[Path, Path], *more: object) -> subprocess.CompletedProcess[str]:
    pack, prior = start
    return lfqcodec(
        *("train", "tokenizer", "--narrow", "--stages", 2, "--pack", pack, "--out", out, "--prior", prior),
        *("--phase", "2:2x1x16", "--phase", "4:2x9x32", "--decay", 2, "--evaluate-every", 3),
        *("--device", "cpu", "--precision", "fp32", "--set", "losses.rate_start=1", *more),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, start: tuple[Path, Path]) -> Path:
    out = tmp_path_factory.mktemp("run")
    done = tokenizer_run(out, start)
    assert done.returncode == 0, done.stderr
    return out


def test_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, start: tuple[Path, Path], finished: Path
) -> None:
    assert tokenizer_run(tmp_path, start, "--stop-after", 3).returncode == 0
    assert tokenizer_run(tmp_path, start).returncode == 0
    straight, resumed = (load_file(run / "checkpoint.safetensors") for run in (finished, tmp_path))
    assert straight.keys() == resumed.keys()
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []
    rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["rate"] > 0
    assert rows[-1]["prior"] > 0


def test_the_prior_of_a_run_goes_on_with_the_tokens_of_its_model(
    tmp_path: Path, start: tuple[Path, Path], finished: Path
) -> None:
    before, after = load_prior(start[1]), prior_from(finished)
    assert after.config == before.config
    assert any(not np.array_equal(before.arrays[name], after.arrays[name]) for name in before.arrays)
    model, run = tmp_path / "mine.safetensors", tmp_path / "prior"
    assert lfqcodec("train", "export", finished, model, "--name", "mine").returncode == 0
    shape = ("--width", TINY.width, "--layers", TINY.layers, "--heads", TINY.heads)
    steps = ("--first-steps", "3,2", "--later-steps", "2,1", "--steps", 1, "--learning-rate", 0)
    common = ("train", "prior", "--pack", start[0], "--model", model, "--init", finished, "--device", "cpu")
    done = lfqcodec(*common, "--out", run, "--size", 4, "--frames", 2, *shape, *steps)
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "mine-prior.safetensors"
    assert lfqcodec("train", "export-prior", run, exported, "--name", "mine-prior").returncode == 0
    arrays = load_prior(exported).arrays
    assert [name for name in arrays if not np.array_equal(arrays[name], after.arrays[name])] == []


def test_what_does_not_fit_is_said(tmp_path: Path, start: tuple[Path, Path], finished: Path) -> None:
    for more, words in (
        (("--stages", 3), "the prior knows 2 stages, and the model has 3"),
        (("--set", "losses.rate=0.0"), "both are 0"),
        (("--prior", "base-9"), "no prior named 'base-9' (available: base-1-prior-1"),
    ):
        done = tokenizer_run(tmp_path / "bad", start, *more)
        assert done.returncode not in (0, 2)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    without = tmp_path / "without"
    pack, _ = start
    done = lfqcodec(
        *("train", "tokenizer", "--narrow", "--pack", pack, "--out", without, "--phase", "1:2x1x16"),
        *("--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(LfqError, match="trained no prior along"):
        prior_from(without)


def test_a_run_goes_on_from_the_model_and_prior_of_another(
    tmp_path: Path, start: tuple[Path, Path], finished: Path
) -> None:
    model, out = tmp_path / "mine.safetensors", tmp_path / "next"
    assert lfqcodec("train", "export", finished, model, "--name", "mine").returncode == 0
    done = tokenizer_run(out, (start[0], finished), "--init", model, "--set", "losses.rate_start=100")
    assert done.returncode == 0, done.stderr
    before, after = prior_from(finished).arrays, prior_from(out).arrays
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []


def test_a_machine_that_only_trains_needs_neither_pyav_nor_constriction() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['av', 'constriction', 'skvideo']))\n"
        "import lfqcodec.train.tokenizer, lfqcodec.train.rate_prior, lfqcodec.cli.train"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_step_draws_the_same_stage_whatever_the_processes() -> None:
    setting = TrainConfig(model=dataclasses.replace(NARROW, stages=4))
    shape = (4, 9, 32)
    stages = [[draw(setting, step, shape, World()).stage for step in range(40)] for _ in range(2)]
    assert stages[0] == stages[1]
    assert set(stages[0]) == {0, 1, 2, 3}
