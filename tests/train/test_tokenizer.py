"""The trainer as a user runs it: tiny model, real files, killed and resumed, exported and used."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prior_support import random_prior
from safetensors.torch import load_file
from video_support import bundled

from lfqcodec.errors import InputVideoError, LfqError, WeightsError
from lfqcodec.media import Frame
from lfqcodec.prior.weights import save_prior
from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.train import data, losses
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.config import Phase, TrainConfig
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, orthogonalise
from lfqcodec.video import open_video, open_writer
from lfqcodec.weights.store import Model, prior_for, read_model

SCHEDULE = ["--phase", "3:2x1x16", "--phase", "4:2x5x16"]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of three short clips and three pictures, cut out of the bundled sample."""
    root = tmp_path_factory.mktemp("media")
    videos, images = root / "videos", root / "images"
    videos.mkdir()
    images.mkdir()
    with open_video(bundled(), scale=(96, 64), max_frames=36, copy_streams=False) as reader:
        frames = [event for event in reader.events() if isinstance(event, Frame)]
        info = replace(reader.info, frame_count=None)
    for number in range(3):
        part = frames[12 * number : 12 * number + 12]
        with open_writer(videos / f"clip{number}_a.mkv", info) as writer:
            for frame in part:
                writer.write(frame)
        with open_writer(images / f"picture{number}.png", info) as writer:
            writer.write(part[0])
    return videos, images


def train(out: Path, media: tuple[Path, Path], *more: str, schedule: list[str] | None = None) -> str:
    videos, images = media
    command = [sys.executable, "-m", "lfqcodec", "train", "tokenizer", "--narrow", "--out", str(out)]
    command += ["--videos", str(videos), "--images", str(images), "--decay", "2", "--evaluate-every", "2"]
    command += ["--device", "cpu", "--precision", "fp32", *(schedule or SCHEDULE), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, media: tuple[Path, Path]) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(out, media)
    return out


def test_log_and_checkpoint_of_a_run(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert rows[0]["event"] == "start"
    assert [row["step"] for row in rows[1:]] == [2, 4, 6, 7]
    for row in rows[1:]:
        assert math.isfinite(row["mse"])
        assert len(row["psnr"]) in (0, 4)  # three sources: perhaps none of them is held out
    progress = load_checkpoint(finished / "checkpoint.safetensors").progress
    assert progress["step"] == 7


def test_stopped_and_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, finished: Path, media: tuple[Path, Path]
) -> None:
    for steps in ("2", "3"):  # stops inside the image phase, then inside the video phase
        train(tmp_path, media, "--stop-after", steps)
    train(tmp_path, media)
    resumed = load_file(tmp_path / "checkpoint.safetensors")
    straight = load_file(finished / "checkpoint.safetensors")
    assert resumed.keys() == straight.keys()
    different = [name for name in straight if not torch.equal(straight[name], resumed[name])]
    assert different == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_run_goes_on(tmp_path: Path, media: tuple[Path, Path], how: signal.Signals) -> None:
    videos, _ = media
    command = [sys.executable, "-m", "lfqcodec", "train", "tokenizer", "--narrow", "--out", str(tmp_path)]
    command += ["--videos", str(videos), "--phase", "100000:2x1x16", "--save-minutes", "0.001"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(how)
    process.wait(60)
    step = load_checkpoint(checkpoint).progress["step"]
    assert step > 0
    train(tmp_path, media, "--stop-after", "1", schedule=["--phase", "100000:2x1x16"])
    assert load_checkpoint(checkpoint).progress["step"] == step + 1


def test_exported_model_encodes_and_decodes(tmp_path: Path, finished: Path, media: tuple[Path, Path]) -> None:
    model = tmp_path / "model" / "mine.safetensors"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lfqcodec", *arguments], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    exported = json.loads(run("train", "export", str(finished), str(model), "--name", "mine", "--json"))
    clip, coded, back = media[0] / "clip0_a.mkv", tmp_path / "a.lfq", tmp_path / "a.mkv"
    run("encode", str(clip), str(coded), "--model", str(model))
    facts = json.loads(run("info", str(coded), "--json"))
    assert facts["tokenizer_sha256"] == exported["sha256"]
    run("decode", str(coded), str(back), "--model", str(model.parent))
    with open_video(back) as reader:
        assert sum(isinstance(event, Frame) for event in reader.events()) == 12


def test_export_is_reproducible(tmp_path: Path, finished: Path) -> None:
    from lfqcodec.train.tokenizer import export_tokenizer
    from lfqcodec.weights.loading import save_tokenizer

    for name in "abcdef":  # safetensors itself writes metadata in random order
        config, tensors, metadata = export_tokenizer(finished / "checkpoint.safetensors")
        save_tokenizer(tmp_path / name, config, tensors, {"name": "x", "y": "z", **metadata})
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1


def export(run: Path, model: Path) -> Model:
    command = [
        sys.executable,
        "-m",
        "lfqcodec",
        "train",
        "export",
        str(run),
        str(model),
        "--name",
        model.stem,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return read_model(model)


def test_decoder_alone(tmp_path: Path, finished: Path, media: tuple[Path, Path]) -> None:
    """The tokens stay, to the bit; so what goes on from there names the model that they are of."""
    first = export(finished, tmp_path / "first.safetensors")
    schedule = ["--preset", "base-decoder", "--phase", "3:2x5x16", "--set", "losses.perceptual=0.0"]
    run = tmp_path / "run"
    for steps in ("2", "1"):
        train(run, media, "--init", str(first.path), "--stop-after", steps, schedule=schedule)
    second = export(run, tmp_path / "second.safetensors")
    assert "tokens_of" not in first.metadata
    assert first.tokens_of == second.tokens_of == first.sha256.hex()
    before, after = load_file(first.path), load_file(second.path)
    assert before.keys() == after.keys()
    differ = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert differ == {"decoder"}
    # A third model says the same of itself: a prior of the first fits them all.
    train(tmp_path / "more", media, "--init", str(second.path), "--stop-after", "1", schedule=schedule)
    third = export(tmp_path / "more", tmp_path / "third.safetensors")
    assert third.tokens_of == first.sha256.hex()
    command = [sys.executable, "-m", "lfqcodec", "train", "tokenizer", "--out", str(tmp_path / "none")]
    command += ["--videos", str(media[0]), "--preset", "base-decoder"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "takes a model to start from" in done.stderr


def test_encoder_alone(tmp_path: Path, finished: Path, media: tuple[Path, Path]) -> None:
    """What tokens stand for stays, so the new model says whose priors fit. One of its own comes first."""
    first = export(finished, tmp_path / "first.safetensors")
    schedule = ["--preset", "base-encoder", "--phase", "2:2x5x16", "--set", "losses.perceptual=0.0"]
    train(tmp_path / "run", media, "--init", str(first.path), schedule=schedule)
    second = export(tmp_path / "run", tmp_path / "second.safetensors")
    assert second.tokens_of == first.sha256.hex()
    before, after = load_file(first.path), load_file(second.path)
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    differ = {".".join(name.split(".")[:2]) for name in differ}
    assert any(name.startswith("encoder.") for name in differ)
    assert {name for name in differ if not name.startswith("encoder.")} == {"quantizer.project"}
    for name, trained_for in (("a", second), ("z", first)):
        metadata = {"name": name, "trained_for": trained_for.sha256.hex(), "steps": "0"}
        save_prior(tmp_path / f"{name}.safetensors", random_prior(), metadata)
        prior = prior_for(first if name == "z" else second)
        assert prior is not None
        assert prior.name == name
    (tmp_path / "a.safetensors").unlink()
    prior = prior_for(second)
    assert prior is not None
    assert prior.name == "z"


def test_sampling_depends_on_seed_and_step_alone(finished: Path) -> None:
    pack = data.Pack(finished / "pack")
    shape = data.SampleConfig(3, 5, 16)
    one, two = (data.Sampler(pack, shape, seed=4) for _ in range(2))
    one.batch(0)
    assert torch.equal(one.batch(9), two.batch(9))
    assert not torch.equal(one.batch(9), one.batch(10))
    assert not torch.equal(one.batch(9), data.Sampler(pack, shape, seed=5).batch(9))
    batch = one.batch(1)
    assert batch.shape == (3, 3, 5, 16, 16)
    assert batch.abs().max() <= 1


def test_pack_holds_the_decoded_frames(finished: Path, media: tuple[Path, Path]) -> None:
    pack = data.Pack(finished / "pack")
    entry = next(e for e in pack.entries if e.name == "clip1_a.mkv")
    with open_video(media[0] / "clip1_a.mkv") as reader:
        frames = [event.rgb for event in reader.events() if isinstance(event, Frame)]
    assert np.array_equal(pack.frames(entry, 0, 12), np.stack(frames))
    assert np.array_equal(pack.frames(entry, 1, 3, step=2), np.stack(frames[1:7:2]))


def test_a_source_is_never_split() -> None:
    assert data.source_of("film_ab12_01.mp4") == data.source_of("film_ab12_02.mp4") == "film_ab12"
    assert data.source_of("holiday.mp4") == "holiday"


def test_unreadable_training_files_are_reported_and_left_out(
    tmp_path: Path, media: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"not a video")
    data.build_pack([broken, media[0] / "clip0_a.mkv"], tmp_path / "pack")
    assert [e.name for e in data.Pack(tmp_path / "pack").entries] == ["clip0_a.mkv"]
    assert "broken.mkv" in caplog.text
    with pytest.raises(InputVideoError):
        data.build_pack([broken], tmp_path / "none")
    with pytest.raises(InputVideoError):
        data.Pack(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "5", "0:1x1x64", "5:axbxc", "5:1x1"])
def test_bad_phases_are_refused(text: str) -> None:
    with pytest.raises(LfqError):
        Phase.parse(text)


def test_schedule() -> None:
    config = TrainConfig(
        (Phase(10, 1, 1, 16), Phase(20, 1, 5, 16)),
        learning_rate=1.0,
        schedule="linear",
        warmup=5,
        decay=10,
        model=BaseConfig(),
    )
    assert [config.phase_at(step)[0] for step in (0, 9, 10, 29, 35)] == [0, 0, 1, 1, 1]
    assert config.rate_at(0) == pytest.approx(0.2)
    assert config.rate_at(15) == 1.0
    assert config.rate_at(25) == pytest.approx(0.5)
    assert config.rate_at(29) == pytest.approx(0.1)
    cosine = replace(config, schedule="cosine")
    # 5 steps up, then half a turn over the 25 that are left: cos(12.5 / 25 pi) = 0 in the middle.
    assert cosine.rate_at(4) == 1.0
    assert cosine.rate_at(5) == 1.0
    assert (cosine.rate_at(17) + cosine.rate_at(18)) / 2 == pytest.approx(0.5)
    assert cosine.rate_at(30) == pytest.approx(0.0)
    assert [config.begins_video(step) for step in (0, 9, 10, 11)] == [False, False, True, False]


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError):
        load_checkpoint(path)


def test_losses_against_hand_computed_values() -> None:
    grey = torch.zeros(1, 3, 16, 16)
    assert float(losses.ssim(grey, grey)) == pytest.approx(1.0)
    # Constant pictures: only the luminance term is left, (2ab + c1) / (a^2 + b^2 + c1).
    a, b, c1 = 0.5, 0.25, 0.0004
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert float(losses.ssim(grey + a, grey + b)) == pytest.approx(expected, rel=1e-4)
    # An error of 0.2 everywhere in a range of 2: 10 log10(4 / 0.04) = 20 dB.
    assert float(losses.psnr(grey + 0.2, grey)[0]) == pytest.approx(20.0, abs=1e-4)


def test_muon_orthogonalises_and_both_optimizers_descend() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 40, 64, generator=generator)
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(singular.min()) > 0.5
    assert float(singular.max()) < 1.5

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Conv2d(40, 40, 1), torch.nn.Conv2d(40, 40, 3, padding=1, groups=40))
    optimizer = MuonAdam(layer, OptimizerConfig())
    assert "0.weight.momentum" in optimizer.state
    assert "1.weight.mean" in optimizer.state
    x = torch.randn(4, 40, 6, 6, generator=generator)
    values = []
    for _ in range(40):
        loss = (layer(x) - x.flip(1)).square().mean()
        loss.backward()
        optimizer.step(1e-2)
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]
