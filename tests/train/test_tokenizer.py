"""Training a tokenizer as a user does: tiny model, real files, stopped and resumed, exported."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from video_support import bundled

from lfqcodec.cli.main import cli
from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.media import Frame
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train import data
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.data.sources import Item
from lfqcodec.train.tokenizer.config import load_preset
from lfqcodec.train.tokenizer.trainer import TokenizerTask, export_tokenizer
from lfqcodec.video import open_video, open_writer
from lfqcodec.weights.loading import load_tokenizer, save_tokenizer
from lfqcodec.weights.store import resolve_model

NARROW = (
    *("model.base_channels=8", "model.groups=2", "model.residual_blocks=1", "model.stages=2"),
    *("discriminator.base_channels=4", "losses.gan_start=1"),
    *("schedule='linear'", "warmup=1", "decay=2", "learning_rate=0.001"),
)
SCHEDULE = ("--phase", "3:2x1x16", "--phase", "4:2x5x16")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of three short clips and three pictures, cut out of the bundled sample; clip 8 is held out."""
    root = tmp_path_factory.mktemp("media")
    videos, images = root / "videos", root / "images"
    videos.mkdir()
    images.mkdir()
    with open_video(bundled(), scale=(96, 64), max_frames=36, copy_streams=False) as reader:
        frames = [event for event in reader.events() if isinstance(event, Frame)]
        info = replace(reader.info, frame_count=None)
    for number in (6, 7, 8):
        part = frames[12 * number - 72 : 12 * number - 60]
        with open_writer(videos / f"clip{number}.mkv", info) as writer:
            for frame in part:
                writer.write(frame)
        with open_writer(images / f"picture{number}.png", info) as writer:
            writer.write(part[0])
    return videos, images


def arguments(out: Path, media: tuple[Path, Path], *more: str) -> list[str]:
    command = ["train", "tokenizer", "--out", str(out), "--videos", str(media[0]), "--images", str(media[1])]
    command += [part for change in NARROW for part in ("--set", change)]
    return [*command, "--device", "cpu", "--precision", "fp32", *more]


def run(*command: str) -> str:
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, media: tuple[Path, Path]) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(*arguments(out, media, *SCHEDULE, "--evaluate-every", "2"))
    return out


def test_log_and_checkpoint_of_a_run(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert rows[0]["event"] == "start"
    assert [row["step"] for row in rows if row["event"] == "evaluation"] == [2, 4, 6, 7]
    for row in rows[1:]:
        if row["event"] == "training":
            assert math.isfinite(row["mse"])
        else:
            # After one stage and after both.
            assert [math.isfinite(each) for each in row["psnr"]] == [True, True]
    assert any("gan" in row for row in rows)
    assert load_checkpoint(finished / "checkpoint.safetensors").progress["step"] == 7


def test_stopped_and_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, finished: Path, media: tuple[Path, Path]
) -> None:
    for steps in ("2", "3", "9"):  # stops inside the image phase, then inside the video phase
        run(*arguments(tmp_path, media, *SCHEDULE, "--stop-after", steps))
    resumed = load_file(tmp_path / "checkpoint.safetensors")
    straight = load_file(finished / "checkpoint.safetensors")
    assert resumed.keys() == straight.keys()
    different = [name for name in straight if not torch.equal(straight[name], resumed[name])]
    assert different == []


def test_share_of_clips_of_every_second_frame(finished: Path) -> None:
    config = load_preset("small-video", ["phases=['1:3x5x16']", "skip_chance=1.0"])
    pack = data.Pack(finished / "pack")
    seen: list[torch.Tensor] = []
    task = TokenizerTask(config, pack, device="cpu", precision="fp32")
    task.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with closing(task):
        task.prepare(0, task.model)
        task.step(0, 1e-3)
    wanted = data.Sampler(pack, data.SampleConfig(3, 5, 16, skip_chance=1.0), seed=config.seed)
    assert {crop.step for crop in wanted.plan(0)} == {2}
    assert torch.equal(seen[0], wanted.batch(0))


def test_killed_run_goes_on(tmp_path: Path, media: tuple[Path, Path]) -> None:
    command = arguments(tmp_path, media, "--phase", "100000:2x1x16", "--save-minutes", "0.001")
    process = subprocess.Popen([sys.executable, "-m", "lfqcodec", *command], stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    step = load_checkpoint(checkpoint).progress["step"]
    assert step > 0
    run(*command, "--stop-after", "1")
    assert load_checkpoint(checkpoint).progress["step"] == step + 1


def test_exported_model_can_be_used(tmp_path: Path, finished: Path) -> None:
    path = tmp_path / "model" / "mine.safetensors"
    exported = json.loads(run("train", "export", str(finished), str(path), "--name", "mine", "--json"))
    model = resolve_model(path.parent)
    assert (model.name, model.sha256.hex()) == ("mine", exported["sha256"])
    tokenizer = load_tokenizer(model, torch.device("cpu"))
    assert isinstance(tokenizer, Magvit2Tokenizer)
    averaged = load_checkpoint(finished / "checkpoint.safetensors").groups["ema"]
    for name, tensor in tokenizer.state_dict().items():
        assert torch.equal(tensor, averaged[name].half().float()), name


def test_export_is_reproducible(tmp_path: Path, finished: Path) -> None:
    for name in "abcdef":  # safetensors itself writes metadata in random order
        config, tensors = export_tokenizer(finished / "checkpoint.safetensors")
        save_tokenizer(tmp_path / name, config, tensors, {"name": "x", "y": "z"})
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1


def test_a_run_starts_from_a_model(tmp_path: Path, finished: Path, media: tuple[Path, Path]) -> None:
    model = tmp_path / "mine.safetensors"
    run("train", "export", str(finished), str(model), "--name", "mine")
    more = ("--init", str(model), "--phase", "1:2x5x16", "--set", "learning_rate=0.0")
    run(*arguments(tmp_path / "run", media, *more))
    before = load_file(model)
    after = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").groups["model"]
    assert all(torch.equal(before[name].float(), after[name]) for name in before)
    with pytest.raises(LfqError, match="another shape"):
        run(*arguments(tmp_path / "other", media, *more, "--set", "model.stages=3"))


def test_pack_holds_the_decoded_frames(finished: Path, media: tuple[Path, Path]) -> None:
    pack = data.Pack(finished / "pack")
    entry = next(e for e in pack.entries if e.name == "clip7.mkv")
    with open_video(media[0] / "clip7.mkv") as reader:
        frames = [event.rgb for event in reader.events() if isinstance(event, Frame)]
    assert np.array_equal(pack.frames(entry, 0, 12), np.stack(frames))
    assert np.array_equal(pack.frames(entry, 1, 3, step=2), np.stack(frames[1:7:2]))


def test_a_source_is_never_split() -> None:
    names = ("film_ab12_01.mp4", "film_ab12_02.mp4", "holiday.mp4")
    assert [Item(name, Path()).source for name in names] == ["film_ab12", "film_ab12", "holiday"]


def test_unreadable_training_files_are_reported_and_left_out(
    tmp_path: Path, media: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"not a video")
    data.build_pack([broken, media[0] / "clip6.mkv"], tmp_path / "pack")
    assert [e.name for e in data.Pack(tmp_path / "pack").entries] == ["clip6.mkv"]
    assert "broken.mkv" in caplog.text
    with pytest.raises(InputVideoError):
        data.build_pack([broken], tmp_path / "none")
    with pytest.raises(InputVideoError):
        data.Pack(tmp_path / "nothing")
