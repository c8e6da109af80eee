"""Two processes started by torchrun, as a user starts them: the run of one process with both batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from codec_support import succeed
from safetensors.torch import load_file
from train_support import moving_patterns

from lfqcodec.errors import LfqError
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.distributed import World, world_of_environment

# Everything that a paper's run has, at a tiny width: GAN with r1 and LeCAM, entropy, EMA, images, then clips.
MAGVIT2 = (
    *("model.base_channels=8", "model.groups=2", "model.residual_blocks=1", "model.stages=2"),
    *("discriminator.base_channels=4", "discriminator.multipliers=[1, 1]"),
    *("losses.gan_start=1", "losses.r1_every=2", "losses.first_frame=2.0"),
    *("warmup=2", "learning_rate=1e-3"),
)
SCHEDULE = ("4:4x1x16", "10:4x5x16")
STEPS = 14


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a few moving patterns."""
    return moving_patterns(tmp_path_factory.mktemp("patterns"))


def command(out: Path, pack: Path, *more: str) -> list[str]:
    arguments = ["train", "tokenizer", "--preset", "paper-video", "--pack", str(pack), "--out", str(out)]
    arguments += [part for text in MAGVIT2 for part in ("--set", text)]
    arguments += [part for text in SCHEDULE for part in ("--phase", text)]
    arguments += ["--log-every", "1", "--device", "cpu", "--precision", "fp32", "--save-minutes", "0"]
    return [*arguments, *more]


def environment() -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "LFQCODEC_LPIPS"}
    return variables | {"OMP_NUM_THREADS": "1"}


def alone(out: Path, pack: Path, *more: str) -> None:
    succeed(*command(out, pack, *more), timeout=300, env=environment())


def torchrun(out: Path, pack: Path, *more: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*launcher, "-m", "lfqcodec", *command(out, pack, *more)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    """Processes that `pid` started, oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything; the parent is the second field behind it.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


def losses_of(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    names = ("mse", "commitment", "entropy", "gan", "discriminator", "lecam", "r1", "total", "norm")
    return [{n: row[n] for n in names if n in row} for row in rows if row["event"] == "training"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, pack: Path) -> Path:
    out = tmp_path_factory.mktemp("two")
    process = torchrun(out, pack)
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return out


def test_two_processes_learn_what_one_does(tmp_path: Path, pack: Path, two: Path) -> None:
    alone(tmp_path, pack)
    expected, found = losses_of(tmp_path), losses_of(two)
    assert len(expected) == len(found) == STEPS
    assert {"gan", "r1", "lecam"} <= found[-1].keys() | found[-2].keys()
    # Sums in another order differ in the last bit, until a sign flips and training makes more of it.
    for step, (a, b) in enumerate(zip(expected[:10], found[:10], strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=2e-3, abs=2e-5), (step, name)


def test_a_run_goes_on_after_one_process_was_killed(tmp_path: Path, pack: Path, two: Path) -> None:
    process = torchrun(tmp_path, pack)
    checkpoint = tmp_path / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    workers: list[int] = []
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        if (tmp_path / "log.jsonl").exists() and not workers:
            workers = children(process.pid)
    os.kill(workers[-1], signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert 0 < load_checkpoint(checkpoint).progress["step"] < STEPS
    again = torchrun(tmp_path, pack)
    _, text = again.communicate(timeout=300)
    assert again.returncode == 0, text
    resumed, straight = (load_file(run / "checkpoint.safetensors") for run in (tmp_path, two))
    different = [name for name in straight if not torch.equal(straight[name], resumed[name])]
    assert different == []


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(LfqError, match="3 cannot be shared by 2"):
        World(0, 2).share(torch.zeros(3))


def test_a_group_that_somebody_else_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        with world_of_environment("cpu") as world:
            assert (world.rank, world.size) == (0, 1)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
