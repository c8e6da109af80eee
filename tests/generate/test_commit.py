"""COMMIT: what a task gives, how it is padded, where it stands, and that decoding goes on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_support import y4m
from generate_support import CLIPS, IMAGES, PICTURES, generated, make_generator, make_tokenizer, refused

from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.generate.decoding.commit import known_pixels, known_positions, look_of_unknown, padded
from lfqcodec.generate.decoding.masked import decode_masked
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.embedding import MASK, join, split
from lfqcodec.generate.model.masked import MaskedModel
from lfqcodec.train.generator.objective import chosen_units

TASK = replace(PICTURES, grid=(2, 2, 2), classes=0, class_drop=0.0)


def task(name: str, frames: int = 0, **changes: object) -> GeneratorConfig:
    return replace(TASK, task=name, task_frames=frames, **changes)


def test_what_is_given() -> None:
    assert (
        known_pixels(task("prediction", 3), 5, (2, 2)).flatten(1).all(1).tolist() == [True] * 3 + [False] * 2
    )
    ends = known_pixels(task("interpolation", 1), 5, (2, 2)).flatten(1)
    assert ends.all(1).tolist() == ends.any(1).tolist() == [True, False, False, False, True]
    middle = known_pixels(task("outpainting"), 1, (4, 8))[0].int()
    assert middle.tolist() == [[0] * 8, [0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0], [0] * 8]
    assert torch.equal(known_pixels(task("inpainting"), 1, (4, 8))[0].int(), 1 - middle)
    with pytest.raises(LfqError, match="nothing is left to make"):
        known_pixels(task("interpolation", 3), 5, (2, 2))


def test_padding() -> None:
    video = torch.arange(5.0).view(1, 5, 1, 1).expand(3, 5, 2, 2) / 4
    values = {
        "prediction": (2, [0, 0.25, 0.25, 0.25, 0.25]),
        "interpolation": (1, [0, 0.25, 0.5, 0.75, 1]),
    }
    for name, (count, expected) in values.items():
        config = task(name, count)
        filled = padded(config, video, known_pixels(config, 5, (2, 2)))
        assert filled[0, :, 0, 0].tolist() == expected
        assert filled.shape == video.shape
    blend = video.clone()
    blend[:, 1:4] = 9.0  # what is not given is not looked at
    config = task("interpolation", 1)
    assert torch.equal(padded(config, blend, known_pixels(config, 5, (2, 2))), video)
    picture = torch.rand(3, 1, 8, 8)
    config = task("inpainting")
    filled = padded(config, picture, known_pixels(config, 1, (8, 8)))
    assert (filled[:, :, 2:6, 2:6] == -1).all()
    assert torch.equal(filled[:, :, :2], picture[:, :, :2])
    config = task("outpainting")
    filled = padded(config, picture, known_pixels(config, 1, (8, 8)))
    assert torch.equal(filled[:, :, 2:6, 2:6], picture[:, :, 2:6, 2:6])
    assert torch.equal(filled[:, 0, 0, 0], picture[:, 0, 2, 2])
    assert torch.equal(filled[:, 0, 7, 3], picture[:, 0, 5, 3])


def test_positions_that_saw_something() -> None:
    known = torch.zeros(5, 16, 16, dtype=torch.bool)
    known[:2, :, :8] = True  # the first frame, and one of the four of the second latent frame
    assert known_positions(known, (2, 2, 2)).tolist() == [True, False] * 4
    known[1:] = False
    assert known_positions(known, (2, 2, 2)).tolist() == [True, False] * 2 + [False] * 4
    frames = torch.zeros(3, 16, 16, dtype=torch.bool)
    frames[1, 0, 15] = True
    assert known_positions(frames, (3, 2, 2)).tolist() == [False] * 5 + [True] + [False] * 6


def test_masks_by_hand() -> None:
    """Four units with tokens 1 to 4; the condition stands at the first two, as 9."""
    config = task("prediction", 1, grid=(1, 1, 4), mask_unit="token")
    tokens, condition = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[9, 9, 7, 7]])
    look = look_of_unknown(condition, torch.tensor([True, True, False, False]))
    assert look[0, :, 0].tolist() == [9, 9, MASK, MASK]
    scores = torch.tensor([0.1, 0.9, 0.2, 0.8]).double().view(1, 4, 1).expand(1, 4, 2)
    half = torch.tensor([2 / 3], dtype=torch.float64)
    masked = chosen_units(config, half, scores)
    assert torch.where(masked, look, split(tokens))[0, :, 0].tolist() == [9, 2, MASK, 4]
    masked = chosen_units(config, torch.zeros(1).double(), scores)
    assert torch.where(masked, look, split(tokens))[0, :, 0].tolist() == [9, 9, MASK, MASK]
    fixed = replace(TASK, grid=(2, 1, 2), condition_frames=1, mask_unit="token")
    masked = chosen_units(fixed, torch.zeros(1).double(), scores)
    assert masked[0, :, 0].tolist() == [False, False, True, True]


class Watched(MaskedModel):
    """Keeps what it is asked for."""

    def forward(self, subtokens, labels):
        self.__dict__.setdefault("seen", []).append(subtokens.clone())
        return super().forward(subtokens, labels)


def test_units_are_the_condition_again_until_they_are_known() -> None:
    torch.manual_seed(0)
    model = Watched(task("prediction", 1)).eval()
    look = torch.full((1, 8, 2), MASK)
    look[:, :4] = torch.randint(0, 512, (1, 4, 2))
    sampling = SamplingConfig(steps=4, temperature=10.0)
    tokens = decode_masked(model, [0], sampling, SampleNoise(0, [0]), look=look)
    final = split(tokens.flatten(1))
    assert torch.equal(model.seen[0], look)
    for state, count in zip(model.seen[1:], (14, 11, 6), strict=True):
        assert ((state == look) | (state == final)).all()
        assert (state != final).sum() <= count <= 16
    assert not torch.equal(final[:, :4], look[:, :4])  # the condition may be refined
    with pytest.raises(ValueError, match="needs what it gives"):
        decode_masked(model, [0], sampling, SampleNoise(0, [0]))
    assert tokens.shape == join(final).view(1, 2, 2, 2).shape


@pytest.mark.parametrize(
    ("name", "frames", "tokenizer"),
    [
        ("prediction", 3, CLIPS),
        ("interpolation", 1, CLIPS),
        ("inpainting", 0, IMAGES),
        ("outpainting", 0, CLIPS),
    ],
)
def test_command(tmp_path: Path, name: str, frames: int, tokenizer: object) -> None:
    grid = (2, 2, 2) if tokenizer is CLIPS else (5, 2, 2)
    model = make_tokenizer(tmp_path / "tokenizer.safetensors", tokenizer)
    make_generator(tmp_path / "made.safetensors", model, task(name, frames, grid=grid), ())
    (tmp_path / "clip.y4m").write_bytes(y4m(5, (16, 16)))
    generator, out = tmp_path / "made.safetensors", tmp_path / "out.npz"
    assert "--condition is needed" in refused(2, generator, out)
    generated(generator, out, "--condition", tmp_path / "clip.y4m", "--count", 2)
    with np.load(out) as arrays:
        pictures = arrays["arr_0"]
    assert pictures.shape == (2, 5, 16, 16, 3)
    known = known_pixels(task(name, frames), 5, (16, 16)).numpy()
    assert np.array_equal(pictures[0][known], pictures[1][known])
    assert not np.array_equal(pictures[0][~known], pictures[1][~known])


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "prediction"},
        {"task": "inpainting", "task_frames": 1},
        {"task_frames": 1},
        {"task": "colouring"},
        {"task": "inpainting", "condition_frames": 1},
    ],
)
def test_limits(changes: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        replace(TASK, **changes)
