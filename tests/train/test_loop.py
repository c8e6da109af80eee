"""The loop of all runs, on a task of a few numbers: it resumes to the bit, keeps time, and stops safely."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.train import optim
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.loop import CHECKPOINT, LOG, Loop, Task
from lfqcodec.train.optim import MuonAdam, OptimizerConfig, Schedule, orthogonalise


class Noise(Task[nn.Linear]):
    """Learns to add up, from numbers of PyTorch's own generator; `before` is called with each step."""

    def __init__(self, before: Any = lambda number: None) -> None:
        torch.manual_seed(3)
        self.model = nn.Linear(4, 1)
        self.before = before
        self.seen = torch.zeros(())
        self.rates: list[float] = []

    def identity(self) -> dict[str, str]:
        return {"purpose": "sums"}

    def state(self) -> dict[str, dict[str, Tensor]]:
        return {"own": {"seen": self.seen}}

    def step(self, number: int, rate: float) -> dict[str, Tensor]:
        self.before(number)
        self.rates.append(rate)
        x = torch.randn(16, 4)
        self.seen += x.sum()
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return {"loss": loss.detach()}

    def held_out(self, average: nn.Linear) -> dict[str, Any]:
        return {"distance": float((average.weight - 1).abs().mean())}


def loop(out: Path, task: Noise, *, steps: int = 60, minutes: float | None = None) -> Loop[nn.Linear]:
    schedule = Schedule(steps, 0.05, decay=20, minutes=minutes)
    return Loop(task, out, schedule=schedule, optimizer=OptimizerConfig(), ema=0.9)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    loop(tmp_path / "whole", Noise()).run(record={}, evaluate_every=30)
    for count in (7, 20, None):
        loop(tmp_path / "parts", Noise()).run(record={}, stop_after=count)
    whole, parts = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert {name.split("/")[0] for name in whole} == {"model", "ema", "optimizer", "own", "random"}
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_log(tmp_path: Path) -> None:
    loop(tmp_path, Noise()).run(record={"colour": "red"}, log_every=20, evaluate_every=30)
    lines = rows(tmp_path)
    assert [(row["event"], row["step"]) for row in lines] == [
        ("start", 0),
        ("training", 20),
        ("training", 30),
        ("evaluation", 30),
        ("training", 40),
        ("training", 60),
        ("evaluation", 60),
    ]
    assert (lines[0]["colour"], lines[0]["parameters"]) == ("red", 5)
    assert lines[5]["loss"] < 0.5 * lines[1]["loss"]
    assert lines[6]["distance"] < lines[3]["distance"] < 1


def test_minutes_end_a_run_and_lower_its_learning_rate(tmp_path: Path) -> None:
    task = Noise()
    loop(tmp_path, task, steps=10_000_000, minutes=0.02).run(record={}, evaluate_every=10_000_000)
    assert rows(tmp_path)[-1]["event"] == "evaluation"
    seconds = load_checkpoint(tmp_path / CHECKPOINT).progress["seconds"]
    assert 1.2 <= seconds < 10
    done = len(task.rates)
    loop(tmp_path, task, steps=10_000_000, minutes=0.02).run(record={})  # it is over
    assert len(task.rates) == done
    schedule = Schedule(100, 1.0, decay=50, minutes=10)
    assert [schedule.rate_at(10, 60 * minutes) for minutes in (1, 5, 7.5, 10)] == [1, 1, 0.5, 0]
    assert schedule.rate_at(75, 0) == pytest.approx(0.5)


def test_learning_rates() -> None:
    linear = Schedule(30, 1.0, warmup=5, decay=10)
    assert [linear.rate_at(step) for step in (0, 4, 15, 25, 29)] == pytest.approx([0.2, 1, 1, 0.5, 0.1])
    cosine = Schedule(30, 1.0, warmup=5, shape="cosine")
    # 5 steps up, then half a turn over the 25 that are left: cos(12.5 / 25 pi) = 0 in the middle.
    assert [cosine.rate_at(step) for step in (4, 5, 30)] == pytest.approx([1, 1, 0])
    assert (cosine.rate_at(17) + cosine.rate_at(18)) / 2 == pytest.approx(0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_the_step_and_save(tmp_path: Path, number: signal.Signals) -> None:
    old = signal.getsignal(number)
    task = Noise(lambda step: os.kill(os.getpid(), number) if step == 12 else None)
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, task).run(record={})
    assert signal.getsignal(number) == old
    assert load_checkpoint(tmp_path / CHECKPOINT).progress["step"] == 13
    loop(tmp_path, Noise()).run(record={})
    loop(tmp_path / "whole", Noise()).run(record={})
    again, whole = (load_file(folder / CHECKPOINT) for folder in (tmp_path, tmp_path / "whole"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_loss_that_is_not_finite_leaves_the_checkpoint(tmp_path: Path) -> None:
    loop(tmp_path, Noise()).run(record={}, stop_after=5)
    task = Noise()
    task.before = lambda number: task.model.weight.data.mul_(torch.inf) if number == 8 else None
    with pytest.raises(LfqError, match="not finite at step 8"):
        loop(tmp_path, task).run(record={})
    stored = load_checkpoint(tmp_path / CHECKPOINT)
    assert stored.progress["step"] == 5
    assert torch.isfinite(stored.groups["model"]["weight"]).all()


@pytest.mark.parametrize(("limit", "file"), [(0, LOG), (1000, CHECKPOINT)])
def test_a_full_disk_leaves_the_checkpoint(tmp_path: Path, limit: int, file: str) -> None:
    """The largest file that may be written stands for the disk."""
    loop(tmp_path, Noise()).run(record={}, stop_after=1)
    before = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / LOG).unlink()
    full = f"""
import resource, signal
from pathlib import Path
from test_loop import Noise, loop
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
loop(Path({str(tmp_path)!r}), Noise()).run(record={{}}, stop_after=1)
"""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", full], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert f"OutputError: {tmp_path / file}" in done.stderr, done.stderr
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_checkpoints_of_other_runs_and_broken_ones_are_refused(tmp_path: Path) -> None:
    loop(tmp_path, Noise()).run(record={}, stop_after=1)
    other = Noise()
    other.identity = lambda: {"purpose": "products"}  # type: ignore[method-assign]
    with pytest.raises(LfqError, match="another purpose"):
        loop(tmp_path, other)
    other = Noise()
    other.state = dict  # type: ignore[method-assign]
    with pytest.raises(LfqError, match=r"other losses \(own\)"):
        loop(tmp_path, other)
    (tmp_path / CHECKPOINT).write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError):
        loop(tmp_path, Noise())


def test_muon_orthogonalises_and_both_optimizers_descend() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 40, 64, generator=generator)
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(singular.min()) > 0.5
    assert float(singular.max()) < 1.5

    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(40, 40, 1), nn.Conv2d(40, 40, 3, padding=1, groups=40))
    optimizer = MuonAdam(layer, OptimizerConfig())
    assert {"0.weight.momentum", "1.weight.mean"} < optimizer.state.keys()
    x = torch.randn(4, 40, 6, 6, generator=generator)
    values = []
    for _ in range(40):
        loss = (layer(x) - x.flip(1)).square().mean()
        loss.backward()
        optimizer.step(1e-2)
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]


def test_training_machines_need_neither_pyav_nor_constriction() -> None:
    code = """import sys; sys.modules.update(dict.fromkeys(("av", "constriction", "click", "numba")))
import lfqcodec.train.loop, lfqcodec.train.data, lfqcodec.train.tokenizer.trainer, lfqcodec.train.lpips
import lfqcodec.train.generator.trainer, lfqcodec.train.generator.prepare"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_adam_is_that_of_pytorch() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = MuonAdam(ours, OptimizerConfig(betas=(0.8, 0.95), eps=1e-6, clip=1e9))
    reference = torch.optim.Adam(theirs.parameters(), 0.01, (0.8, 0.95), 1e-6)
    for _ in range(20):
        x = torch.randn(7, 5)
        for layer in (ours, theirs):
            (layer(x).square().sum() + layer(x).sin().sum()).backward()
        mine.step(0.01)
        reference.step()
        reference.zero_grad()
    # PyTorch corrects the second moment before it adds eps; with gradients like these that is 1e-5 of a step.
    torch.testing.assert_close(ours.weight, theirs.weight, atol=1e-5, rtol=0)


def test_weight_decay_is_that_of_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3, bias=False), nn.Linear(5, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    config = OptimizerConfig(betas=(0.9, 0.96), weight_decay=0.045, clip=1e9)
    mine = MuonAdam(ours, config)
    reference = torch.optim.AdamW(theirs.parameters(), 0.01, (0.9, 0.96), 1e-8, 0.045)
    for _ in range(20):
        x = torch.randn(7, 5)
        for layer in (ours, theirs):
            layer(x).sin().sum().backward()
        mine.step(0.01)
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight, atol=1e-6, rtol=0)


def test_adam_updates_parts_as_it_does_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for most in (1 << 26, 4):
        monkeypatch.setattr(optim, "_AT_ONCE", most)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
        mine = MuonAdam(model, OptimizerConfig(weight_decay=0.1))
        parts = list(mine._parts(mine._adam))
        assert [len(part) for part in parts] == ([4] if most > 4 else [1, 1, 1, 1])
        for _ in range(3):
            model(torch.ones(1, 3)).square().sum().backward()
            mine.step(0.01)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_one_update_with_weight_decay() -> None:
    layer = nn.Linear(1, 1)
    mine = MuonAdam(layer, OptimizerConfig(betas=(0.9, 0.96), weight_decay=0.045))
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.fill_(1)
    for p in layer.parameters():
        p.grad = torch.full_like(p, 0.5)
    mine.step(0.1)
    # Only matrices decay.
    found = (layer.weight.detach().item(), layer.bias.detach().item())
    assert found == pytest.approx((0.8955, 0.9), abs=1e-6)


def test_rates_of_a_cosine() -> None:
    schedule = Schedule(6, 1.0, warmup=2, shape="cosine")
    found = [schedule.rate_at(step) for step in range(6)]
    assert found == pytest.approx([0.5, 1, 1, 0.853553, 0.5, 0.146447], abs=1e-6)
