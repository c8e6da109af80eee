"""Tiny tokenizers and generators, untrained, and `lfqcodec generate` in this process."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from click.testing import CliRunner, Result

from lfqcodec.cli.main import cli
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.store import Generator, read_generator
from lfqcodec.generate.model.weights import build_generator, save_generator
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.weights.loading import save_tokenizer
from lfqcodec.weights.store import Model, read_model

CPU = torch.device("cpu")
IMAGES = Magvit2Config(
    base_channels=4,
    groups=2,
    multipliers=(1, 1, 1, 1),
    residual_blocks=1,
    temporal_strides=(1, 1, 1),
    temporal_kernel=1,
)
CLIPS = Magvit2Config(base_channels=4, groups=2, multipliers=(1, 1, 1, 1), residual_blocks=1)
PICTURES = GeneratorConfig(grid=(1, 2, 2), classes=3, layers=1, width=16, heads=2, mlp=32, norm="pre")
NAMES = ("cat", "dog/wolf", "7")
SAMPLING = {
    "default": SamplingConfig(steps=4, temperature=4.5),
    "guided": SamplingConfig(steps=4, temperature=4.5, guidance=3.0),
}


def make_tokenizer(path: Path, config: Magvit2Config = IMAGES) -> Model:
    """Write an untrained tokenizer of 8x8 pixels to a token."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = Magvit2Tokenizer(config).state_dict()
    save_tokenizer(path, config, tensors, {"name": path.stem})
    return read_model(path)


def make_generator(
    path: Path,
    tokenizer: Model,
    config: GeneratorConfig = PICTURES,
    names: tuple[str, ...] = NAMES,
    **changes: str,
) -> Generator:
    """Write an untrained generator; `changes` replace entries of its metadata."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = build_generator(config).state_dict()
    metadata = {
        "name": path.stem,
        "trained_for": tokenizer.sha256.hex(),
        "classes": json.dumps(names),
        "sampling": json.dumps(
            {k: asdict(v) for k, v in SAMPLING.items() if k == "default" or config.class_drop}
        ),
    }
    save_generator(path, config, tensors, metadata | changes)
    return read_generator(path)


def invoked(*arguments: object) -> Result:
    """The command, in this process: starting one takes longer than what most tests look at."""
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)], standalone_mode=False)


def generated(*arguments: object) -> str:
    """What the command, which must succeed, prints."""
    done = invoked(*arguments)
    assert done.exception is None, done.exception
    return done.stdout


def refused(code: int, *arguments: object) -> str:
    """What the command, which must fail with `code`, complains of."""
    error = invoked(*arguments).exception
    assert error is not None
    assert getattr(error, "exit_code", None) == code, error
    return str(error.format_message() if hasattr(error, "format_message") else error)
