"""Tokens that are chosen with the rate in view while the tokenizer is trained."""

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
from train_support import moving_patterns

from lfqcodec.codec.choice import WorthyTokens
from lfqcodec.codec.payload import TokenCoder
from lfqcodec.errors import LfqError
from lfqcodec.prior.config import LOGIT_BITS, PriorConfig
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.weights import PriorWeights, save_prior
from lfqcodec.tokenizer.lfq.binary import ResidualLFQ
from lfqcodec.train.choice import ChoiceConfig, TokenChoice
from lfqcodec.train.config import TrainConfig
from lfqcodec.train.distributed import World
from lfqcodec.train.objective import draw
from lfqcodec.train.prior_net import PriorNet

# A step a latent frame: all its tokens are coded at once, as they are chosen here.
AT_ONCE = PriorConfig(
    stages=2, width=32, layers=2, context_layers=1, heads=2, first_steps=(1, 1), later_steps=(1, 1)
)
FRAMES, SIDE = 3, 4


def quantizer() -> ResidualLFQ:
    torch.manual_seed(1)
    return ResidualLFQ(32, 18, 2)


def net_of(weights: PriorWeights) -> PriorNet:
    net = PriorNet(weights.config)
    net.load_integers(weights)
    return net


def signs_to_tokens(signs: torch.Tensor) -> np.ndarray:
    """[stages, B * T', 18, h, w] -> int64 [stages, B * T', h, w]."""
    powers = 1 << np.arange(18)
    return ((signs.numpy() > 0) * powers[:, None, None]).sum(2)


def choose(weights: PriorWeights, config: ChoiceConfig, lambdas: list[float], kept: list[int]) -> np.ndarray:
    clips = len(lambdas)
    latents = torch.randn(clips * FRAMES, 32, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    choice = TokenChoice(net_of(weights), config, torch.tensor(lambdas), torch.tensor(kept))
    each = torch.tensor(kept).repeat_interleave(FRAMES)
    return signs_to_tokens(quantizer()(latents, each, choice).signs.detach())


def test_rounds_lead_to_the_tokens_of_the_codec() -> None:
    weights = random_prior(AT_ONCE)
    costs, weight = (3.0, 2.0), 2.0
    # A second subtoken sees the first one a round later, and a latent frame the one before it.
    config = ChoiceConfig(flip_costs=costs, rounds=2 * FRAMES)
    latents = torch.randn(FRAMES, 32, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    source = WorthyTokens(quantizer(), costs, latents.transpose(0, 1), (weight, weight))
    network = ExactNetwork(weights)
    expected = TokenCoder(lambda: network, 2).encode(source, gop_start=True).tokens
    found = choose(weights, config, [weight], [2])
    plain = choose(weights, config, [0.0], [2])
    assert np.array_equal(found, expected)
    changed = (found != plain).mean((1, 2, 3))
    assert (changed > 0.1).all()
    once = choose(weights, dataclasses.replace(config, rounds=1), [weight], [2])
    assert (once != found).mean() < changed.mean()


def test_only_kept_stages_of_clips_with_a_lambda_are_chosen() -> None:
    weights = random_prior(AT_ONCE)
    config = ChoiceConfig(flip_costs=(1.0, 1.0))
    plain = choose(weights, config, [0.0, 0.0, 0.0], [2, 2, 2])
    found = choose(weights, config, [5.0, 0.0, 5.0], [1, 2, 2])
    changed = (found != plain).reshape(2, 3, -1).any(2)
    assert changed[0].tolist() == [True, False, True]
    # The second stage codes what the first has left: it differs where that does, chosen or not.
    assert changed[1].tolist() == [True, False, True]
    alone = choose(weights, config, [5.0], [1])
    residual_of_chosen = choose(weights, config, [5.0, 0.0, 0.0], [1, 2, 2])[1, :FRAMES]
    assert np.array_equal(alone[1], residual_of_chosen)


def test_between_the_plain_tokens_and_the_likeliest() -> None:
    weights = random_prior(AT_ONCE)
    config = ChoiceConfig(flip_costs=(1.0, 1.0), rounds=2 * FRAMES)
    plain = choose(weights, config, [0.0], [2])
    assert np.array_equal(choose(weights, config, [1e-9], [2]), plain)
    likeliest = choose(weights, config, [1e9], [1])
    known = torch.full((1, 2, 2 + FRAMES, SIDE, SIDE), -1)
    known[0, 0, 2:] = torch.from_numpy(likeliest[0])
    pair = net_of(weights)(known, torch.zeros(1, dtype=torch.int64), 0)
    for half, logits in enumerate(pair):
        symbols = torch.from_numpy(likeliest[0] >> (9 * half) & 511).reshape(1, FRAMES, -1)
        own = logits.gather(-1, symbols.unsqueeze(-1)).squeeze(-1)
        assert float((logits.amax(-1) - own).max().detach()) / (1 << LOGIT_BITS) == pytest.approx(0, abs=1e-6)


def test_lambdas_are_drawn_from_the_range_of_the_stages() -> None:
    config = ChoiceConfig(share=0.75, lambdas=(100.0, 10.0, 1.0))
    assert [config.range_for(k) for k in (1, 2, 3, 4)] == [(10, 100), (1, 10), (1, 1), (1, 1)]
    assert config.middle(1) == pytest.approx(1000**0.5)
    kept = torch.tensor([1, 2] * 2000)
    drawn = config.draw(kept, torch.Generator().manual_seed(0))
    assert float((drawn > 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    for stages, (low, high) in ((1, (10, 100)), (2, (1, 10))):
        own = drawn[(kept == stages) & (drawn > 0)]
        assert low <= float(own.min()) < 1.1 * low
        assert high / 1.1 < float(own.max()) <= high
        assert float(own.log10().mean()) == pytest.approx(np.log10(low) + 0.5, abs=0.05)
    assert not draw(TrainConfig(), 0, (4, 5, 16), World()).lambdas.any()


@pytest.mark.parametrize(
    "values",
    [
        {"share": 1.5},
        {"share": -0.1},
        {"lambdas": (1.0, 0.0)},
        {"flip_costs": (float("nan"),)},
        {"rounds": 0},
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(LfqError, match="choice"):
        ChoiceConfig(**values)  # type: ignore[arg-type]


# As a user runs it


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lfqcodec", "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_decoder_learns_from_chosen_tokens(tmp_path: Path) -> None:
    pack, prior, model = moving_patterns(tmp_path, 12), tmp_path / "p.safetensors", tmp_path / "m.safetensors"
    save_prior(prior, random_prior(AT_ONCE), {"name": "p", "trained_for": "00" * 32})
    common = (
        "tokenizer",
        "--narrow",
        "--stages",
        2,
        "--pack",
        pack,
        "--device",
        "cpu",
        "--precision",
        "fp32",
    )
    first = run(*common, "--out", tmp_path / "first", "--phase", "1:2x1x16")
    assert first.returncode == 0, first.stderr
    assert run("export", tmp_path / "first", model, "--name", "m").returncode == 0
    more = ("--preset", "base-decoder", "--init", model, "--phase", "3:4x9x16", "--evaluate-every", 3)
    chosen = ("--set", "choice.share=1.0", "--set", "choice.flip_costs=[1.0]", "--prior", prior)
    chosen_run = (*common, *more, *chosen, "--out")
    for arguments in (
        (*chosen_run, tmp_path / "straight"),
        (*chosen_run, tmp_path / "stopped", "--stop-after", 1),
        (*chosen_run, tmp_path / "stopped"),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    assert run(*common, *more, "--out", tmp_path / "plain").returncode == 0
    rows = {}
    for out in ("straight", "stopped", "plain"):
        rows[out] = json.loads((tmp_path / out / "log.jsonl").read_text().splitlines()[-1])
    for name in ("psnr", "chosen_psnr"):
        assert rows["straight"][name] == rows["stopped"][name]
    assert rows["straight"]["chosen_psnr"] != rows["straight"]["psnr"]
    assert "chosen_psnr" not in rows["plain"]
    assert rows["straight"]["mse"] != rows["plain"]["mse"]
    without = run(*common, *more, *chosen[:4], "--out", tmp_path / "without")
    assert without.returncode == 1
    assert "choice.share takes a prior" in without.stderr
