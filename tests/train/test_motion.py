"""Training of `motion` with small networks on small moving pictures: it learns, resumes, hands weights on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from lfqcodec.errors import InputVideoError, LfqError, WeightsError, WeightsMissing
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.fields import anchor_tokens, between_tokens, half
from lfqcodec.tokenizer.motion.group import GroupReconstruction, Reference, Source
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.distributed import World
from lfqcodec.train.loop import CHECKPOINT, LOG, Loop
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.motion.config import MotionTrainConfig
from lfqcodec.train.motion.data import Chains, Clips, Pictures
from lfqcodec.train.motion.graph import GraphLoop
from lfqcodec.train.motion.model import networks
from lfqcodec.train.motion.model.networks import IntraModel, eight_bits, is_rate
from lfqcodec.train.motion.model.search import EncoderSearch, FloatSearch, Search
from lfqcodec.train.motion.run import Options, train
from lfqcodec.train.motion.start import export_run, next_phase, read_start
from lfqcodec.train.motion.tasks import GroupsTask, IntraTask
from lfqcodec.train.optim import OptimizerConfig

SMALL = MotionConfig(
    **{
        f"{part}_{name}": value
        for part in ("intra", "anchor", "between")
        for name, value in {"width": 16, "channels": 12, "encoder_blocks": 1, "decoder_blocks": 1}.items()
    },
    intra_layers=3,
    anchor_layers=2,
    between_layers=1,
    mask_width=8,
    head_channels=8,
)
SOURCES = ["source38", *(f"source{number}" for number in range(7))]
CHANGES = {"batch": 2, "size": 64, "held_out": 2, "warmup": 2, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Textures that move by up to two pixels a frame: 16 clips of 8 sources, one of which is held out."""
    out = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(5)
    for number in range(16):
        noise = torch.from_numpy(rng.random((1, 3, 24, 28)).astype(np.float32))
        texture = torch.nn.functional.interpolate(noise, (160, 180), mode="bicubic")[0].clamp(0, 1)
        dx, dy = rng.integers(-2, 3, 2)
        frames = [texture[:, 40 + t * dy :][:, :72, 40 + t * dx :][:, :, :80] for t in range(18)]
        clip = (torch.stack(frames) * 255).byte().permute(0, 2, 3, 1)
        np.save(out / f"{SOURCES[number // 2]}_{number % 2:02d}.npy", clip.numpy())
    return out


@pytest.fixture(scope="module")
def clips(folder: Path) -> Clips:
    return Clips([folder])


def common(**changes: Any) -> dict[str, Any]:
    device = torch.device("cpu")
    return {"device": device, "precision": "fp32", "lpips": None, "world": World()} | changes


def config(phase: str, **changes: Any) -> MotionTrainConfig:
    return MotionTrainConfig(phase, model=SMALL, **(CHANGES | changes))


@pytest.fixture(scope="module")
def unmeasured(folder: Path) -> Clips:
    """With nothing held out, which takes less time."""
    return Clips([folder], holdout=0)


@pytest.fixture(scope="module")
def begun(clips: Clips) -> tuple[IntraModel, dict[str, Tensor]]:
    """What principal components give: first pictures, and the state of groups."""
    intra = IntraTask(config("intra"), clips, None, **common())
    groups = GroupsTask(config("groups"), clips, None, intra.model, **common())
    intra.close()
    groups.close()
    return intra.model, groups.model.state_dict()


def groups_task(clips: Clips, begun: tuple[IntraModel, dict[str, Tensor]], **changes: Any) -> GroupsTask:
    return GroupsTask(config("groups"), clips, begun[1], begun[0], **common(**changes))


def loop_of(task: Any, out: Path, kind: Any = Loop) -> Any:
    c = task.config
    return kind(task, out, schedule=c.schedule(0.0, None), optimizer=c.optimizer, ema=c.ema)


def test_clips_are_split_by_source_and_drawn_by_number(clips: Clips, folder: Path, tmp_path: Path) -> None:
    inside, outside = ({entry.source for entry in part} for part in (clips.training, clips.held_out))
    assert outside == {"source38"}
    assert inside == set(SOURCES[1:])
    pictures = Pictures(clips, config("intra"))
    assert torch.equal(pictures.batch(3), Pictures(clips, config("intra")).batch(3))
    assert not torch.equal(pictures.batch(3), pictures.batch(4))
    batch = pictures.batch(3)
    assert batch.shape == (2, 3, 64, 64)
    assert -0.5 <= float(batch.min()) < 0 < float(batch.max()) <= 0.5
    chains = Chains(clips, config("groups"))
    # Clips of 18 frames: chains of four segments, 33 frames, cannot be drawn.
    assert {chains.segments(number) for number in range(60)} == {1}
    assert {chains.segments(number) for number in range(200, 260)} == {1, 2}
    assert all(chains.batch(n).shape[:2] == (2, 1 + 8 * chains.segments(n)) for n in (0, 200, 201, 202, 203))
    assert {chains.group_size(n) for n in range(40)} == {1, 2, 4}
    np.save(tmp_path / "wrong.npy", np.zeros((3, 4)))
    with pytest.raises(InputVideoError, match="no frames"):
        Clips([tmp_path])
    with pytest.raises(InputVideoError, match="nothing to train on"):
        Clips([])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_group_is_decoded_as_the_codec_does(
    clips: Clips, begun: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    task = groups_task(clips, begun)
    task.close()
    model, q = task.model, torch.tensor([3.0])
    # Untrained networks say nothing: give them a voice.
    with torch.no_grad():
        for module in (model.anchor.head.o, model.anchor.head.h, model.between.last, model.anchor.decoder[0]):
            module.weight.normal_(0, 0.05)
    fields: list[Tensor] = []
    search = EncoderSearch.between

    def recorded(*args: Any) -> Tensor:
        fields.append(search(*args))
        return fields[-1]

    monkeypatch.setattr(EncoderSearch, "between", recorded)
    values: list[Tensor] = []
    costs = networks._costs

    def seen(quantizer: Any, rates: Any, quantized: Any, context: Tensor) -> Any:
        values.append(quantized.values)
        return costs(quantizer, rates, quantized, context)

    monkeypatch.setattr(networks, "_costs", seen)
    pictures = Chains(clips, config("groups")).batch(5)[:1]
    first = eight_bits(pictures[:, 0])
    with torch.no_grad():
        coded, chain = model.code(pictures[:, 1 : 1 + size], model.first(first), q)
    assert all(each.any() for each in values)
    assert len(values) == (2 if size > 1 else 1)
    samples = ((first[0] + 0.5) * 255).round().to(torch.uint8)
    with torch.no_grad():
        group = GroupReconstruction(model, Reference(Source(samples)), 3.0, size, monochrome=False)
        group.add("anchor", group.predict("anchor", anchor_tokens(chain.field[0], None)[None]), values[0])
        if size > 1:
            tokens = between_tokens(fields[0][0], half(chain.field[0]))[None]
            group.add("middle", group.predict("middle", tokens), values[1][:1])
        if size > 2:
            tokens = torch.stack([between_tokens(each, half(fields[0][0])) for each in fields[1]])
            group.add("quarters", group.predict("quarters", tokens), values[1][1:])
    mine = (coded.decoded[0] + 0.5) * 255
    difference = (mine - torch.stack(group.pictures()).float()).abs()
    # The codec rounds predictions, residuals and every decoded picture; training rounds none of them.
    assert float(difference.mean()) < 0.5
    assert float(difference.amax()) < 4
    assert float((mine - (pictures[0, 1 : 1 + size] + 0.5) * 255).abs().mean()) > 1


def test_an_anchor_passes_on_the_gradient_of_what_is_decoded(clips: Clips, begun: Any) -> None:
    """Not that through its networks, which would grow from anchor to anchor."""
    task = groups_task(clips, begun)
    task.close()
    pictures = Chains(clips, config("groups")).batch(5)[:1]
    prediction = eight_bits(pictures[:, 0]).requires_grad_()
    decoded, quantized = task.model.anchor(pictures[:, 1], prediction, torch.ones(1))
    assert quantized.values.any()
    given = torch.randn_like(decoded)
    assert torch.equal(torch.autograd.grad(decoded, prediction, given)[0], given)


def test_both_phases_learn_and_are_measured(clips: Clips, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lpips = LPIPS()
    intra = IntraTask(config("intra"), clips, None, **common(lpips=lpips))
    loop_of(intra, tmp_path / "intra").run(record={}, evaluate_every=10**9, log_every=10, stop_after=40)
    groups = GroupsTask(config("groups"), clips, None, intra.model, **common(lpips=lpips))
    loop_of(groups, tmp_path / "groups").run(record={}, evaluate_every=10**9, log_every=8, stop_after=16)
    for phase, levels, layers in (("intra", 6, 3), ("groups", 4, 2 + 3)):
        rows = [json.loads(line) for line in (tmp_path / phase / LOG).read_text().splitlines()]
        # The weight of the rate rises meanwhile, so the loss itself need not fall.
        training = [row for row in rows if row["event"] == "training"]
        assert training[-1]["bpp"] < training[0]["bpp"]
        assert all(row["left_out"] == 0 for row in training)
        (last,) = (row for row in rows if row["event"] == "evaluation")
        for name in ("psnr", "lpips", "lpips_shifted", "bpp", "lagrangian", "layers"):
            assert len(last[name]) == levels, name
        assert [len(row) for row in last["layers"]] == [layers] * levels
        assert [sum(row) for row in last["layers"]] == pytest.approx(last["bpp"], rel=0.01)
        assert last["bpp"][-1] > last["bpp"][0]
        assert last["psnr"][-1] > last["psnr"][0] > 10
    assert [len(row) for row in last["places"]] == [4] * 4
    assert last["groups of 1"]["bpp"][-1] > last["groups of 1"]["bpp"][0]


@pytest.mark.parametrize("phase", ["intra", "groups"])
def test_a_stopped_run_ends_with_the_same_bits(
    unmeasured: Clips, begun: Any, tmp_path: Path, phase: str
) -> None:
    def task() -> Any:
        if phase == "intra":
            return IntraTask(config("intra"), unmeasured, None, **common(lpips=lpips))
        # Some chains have two segments, so a run stops in the middle of one.
        return groups_task(unmeasured, begun, lpips=lpips)

    torch.manual_seed(2)
    lpips = LPIPS()
    for out, parts in (("whole", (4,)), ("parts", (1, 2, 1))):
        for count in parts:
            loop_of(task(), tmp_path / out).run(record={}, evaluate_every=10**9, stop_after=count)
    whole, parts_of = (load_file(tmp_path / out / CHECKPOINT) for out in ("whole", "parts"))
    assert whole.keys() == parts_of.keys()
    assert all(torch.equal(whole[name], parts_of[name]) for name in whole)


def test_groups_learn_in_bfloat16(unmeasured: Clips, begun: Any, tmp_path: Path) -> None:
    """As on CPUs that have it; networks of first pictures, which are fixed then, see it, too."""
    task = groups_task(unmeasured, begun, precision="bf16")
    loop_of(task, tmp_path).run(record={}, evaluate_every=10**9, log_every=1, stop_after=1)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    (step,) = (row for row in rows if row["event"] == "training")
    assert step["left_out"] == 0
    assert step["psnr"] > 10


def test_a_step_that_is_not_finite_is_left_out(unmeasured: Clips, begun: Any, tmp_path: Path) -> None:
    task = groups_task(unmeasured, begun)
    loop = loop_of(task, tmp_path)
    loop.run(record={}, evaluate_every=10**9, stop_after=2)
    before = {name: each.clone() for name, each in task.model.state_dict().items()}
    chain = int(task._number)
    again = groups_task(unmeasured, begun)
    loop = loop_of(again, tmp_path)
    loss = again.loss
    again.loss = lambda inputs: (loss(inputs)[0] * torch.inf, (), ())  # type: ignore[method-assign]
    loop.run(record={}, evaluate_every=10**9, stop_after=1)
    after = again.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert int(again._number) > chain
    last = json.loads((tmp_path / LOG).read_text().splitlines()[-2])
    assert last["left_out"] == 1


def test_the_captured_step_is_that_of_the_common_loop(clips: Clips, tmp_path: Path) -> None:
    for kind in (Loop, GraphLoop):
        # What is very small beside eps is divided by it in another order.
        exact = config("intra", optimizer=OptimizerConfig(muon=False, eps=1e-15))
        task = IntraTask(exact, clips, None, **common())
        begun = {name: each.clone() for name, each in task.model.state_dict().items()}
        loop = loop_of(task, tmp_path / kind.__name__, kind)
        loop.run(record={}, evaluate_every=10**9, stop_after=3)
    mine, theirs = (load_checkpoint(tmp_path / name / CHECKPOINT).groups for name in ("GraphLoop", "Loop"))
    assert mine.keys() == theirs.keys()
    assert mine["optimizer"].keys() == theirs["optimizer"].keys()
    assert int(mine["optimizer"]["updates"]) == 3
    moved, apart = (
        torch.cat([(a["model"][name] - b[name]).flatten().float() for name in begun]).norm()
        for a, b in ((theirs, begun), (mine, theirs["model"]))
    )
    assert float(apart) < 1e-4 * float(moved)
    rows = [json.loads(line) for line in (tmp_path / "GraphLoop" / LOG).read_text().splitlines()]
    assert {"loss", "psnr", "bpp", "norm", "left_out"} <= rows[1].keys()


def test_runs_go_on_export_and_start_others(folder: Path, tmp_path: Path) -> None:
    run, journal = tmp_path / "run", tmp_path / "log.md"
    options = Options(
        run, (folder,), model=SMALL, changes=CHANGES, precision="fp32", steps=2, device="cpu", journal=journal
    )
    with pytest.raises(LfqError, match="train the phase intra"):
        train(dataclasses.replace(options, phase="groups"))
    assert next_phase(run) == "intra"
    assert train(options) == "intra"
    with pytest.raises(WeightsMissing, match="not trained groups yet"):
        export_run(run, tmp_path / "model.safetensors", "mine", tmp_path / "run")
    assert train(options) == "groups"
    train(dataclasses.replace(options, phase="groups"))
    lines = [line for line in journal.read_text().splitlines() if line.startswith("| 2")]
    assert [line.split(" | ")[1] for line in lines] == ["intra", "groups", "groups"]
    assert [line.split(" | ")[3] for line in lines] == ["0 to 2", "0 to 2", "2 to 4"]
    assert lines[0].split(" | ")[5].count(",") == 5

    model = tmp_path / "model.safetensors"
    export_run(run, model, "mine")
    start = read_start(model)
    assert start.config == SMALL
    trained = load_checkpoint(run / "groups" / CHECKPOINT).groups["ema"]
    assert start.phases["groups"].keys() == trained.keys()
    torch.testing.assert_close(
        start.phases["groups"]["anchor.into.weight"].float(),
        trained["anchor.into.weight"],
        rtol=1e-3,
        atol=1e-4,
    )
    # Without the file of rate networks, these are new and learn alone at first.
    (tmp_path / "model.rates.safetensors").unlink()
    other = dataclasses.replace(options, out=tmp_path / "other", init=model, phase="groups", model=None)
    train(other)
    mine = load_checkpoint(tmp_path / "other" / "groups" / CHECKPOINT).groups["model"]
    given = load_file(model)
    rates = {name for name in mine if is_rate(name)}
    assert rates
    assert rates.isdisjoint(given)
    assert all(torch.equal(mine[name], given[name].to(mine[name].dtype)) for name in mine.keys() - rates)


def test_weights_that_do_not_fit_are_refused(clips: Clips, tmp_path: Path) -> None:
    state = IntraModel(SMALL).state_dict()
    torch.save(
        {name: each.half() for name, each in state.items()} | {"steps": torch.tensor(7)},
        tmp_path / "intra.pt",
    )
    start = read_start(tmp_path)
    assert start.phases.keys() == {"intra"}
    IntraTask(config("intra"), clips, start.phases["intra"], **common()).close()
    with pytest.raises(WeightsError, match="do not fit"):
        IntraTask(
            dataclasses.replace(config("intra"), model=dataclasses.replace(SMALL, intra_width=24)),
            clips,
            start.phases["intra"],
            **common(),
        )
    broken = start.phases["intra"] | {"into.bias": torch.full_like(state["into.bias"], torch.nan)}
    with pytest.raises(WeightsError, match=r"not finite \(into.bias\)"):
        IntraTask(config("intra"), clips, broken, **common())
    with pytest.raises(WeightsError, match="no weights to start from"):
        read_start(tmp_path / "nothing")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError):
        read_start(tmp_path / "x.safetensors")


def test_a_schedule_goes_on_at_a_constant_rate_and_falls_at_the_end_of_a_call() -> None:
    own = config("groups", warmup=10, learning_rate=1.0)
    endless = own.schedule(5000.0, None)
    assert [endless.rate_at(step, 1e9) for step in (0, 9, 10**7)] == pytest.approx([0.1, 1, 1], rel=1e-6)
    ending = own.schedule(600.0, 10.0)
    rates = [ending.rate_at(100, 600.0 + 60 * minutes) for minutes in (0, 7.9, 9, 10)]
    assert rates == pytest.approx([1, 1, 0.5, 0], abs=1e-6)


@pytest.mark.parametrize("search", [EncoderSearch(), FloatSearch()])
def test_search_finds_motion(search: Search[Any]) -> None:
    """With kernels and without: a picture that moves by (6, -3) pixels, and half of that between."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(2, 3, 56, 56, generator=generator) - 0.5
    scene = functional.interpolate(small, size=(224, 224), mode="bicubic").clamp(-0.5, 0.5)

    def moved(x: int, y: int) -> Tensor:
        return scene[..., 48 + y : 176 + y, 48 + x : 176 + x]

    lam, zero = torch.tensor([10.0, 40.0]), torch.zeros(2, 8, 8, 2, dtype=torch.int64)
    earlier, later = search.reference(moved(0, 0)), search.reference(moved(6, -4))
    found = search.anchor(moved(6, -4), earlier, zero, lam)
    inside = found[:, 1:, :-1]
    assert (inside == torch.tensor([24, -16])).all(-1).float().mean() > 0.9
    both = search.joined(earlier, later), search.joined(later, earlier)
    middle = search.between(
        moved(3, -2).repeat(2, 1, 1, 1), *both, torch.cat([found, -found]) // 2, lam.repeat(2)
    )
    assert (middle[:2, 1:, :-1] == torch.tensor([12, -8])).all(-1).float().mean() > 0.9
    assert (middle[2:, 1:, :-1] == torch.tensor([-12, 8])).all(-1).float().mean() > 0.9


def test_lpips_in_half_precision_has_nearly_the_same_gradient() -> None:
    torch.manual_seed(3)
    network, pictures = LPIPS(), torch.rand(2, 3, 64, 64) * 2 - 1
    found = []
    for half_precision in (False, True):
        decoded = (pictures * 0.8).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half_precision):
            distance = network(decoded, pictures)
        assert distance.dtype == torch.float32
        distance.sum().backward()
        found.append((distance.detach(), decoded.grad))
    (exact, gradient), (near, other) = found
    assert near.tolist() == pytest.approx(exact.tolist(), rel=0.02)
    assert functional.cosine_similarity(gradient.flatten(), other.flatten(), 0) > 0.95
