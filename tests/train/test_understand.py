"""Training on clips: masks, mixing, layer decay, presets of Table 6, and runs from files to classifiers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from codec_support import encoded, y4m
from generate_support import CLIPS, make_tokenizer
from torch import nn

import lfqcodec
from benchmarks.toy.command import write_set
from lfqcodec.cli.main import cli
from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.train.config import preset_names
from lfqcodec.train.data import Pack, build_pack
from lfqcodec.train.optim import MuonAdam, OptimizerConfig
from lfqcodec.train.understand.actions import ActionTask, ranks_of
from lfqcodec.train.understand.clips import ClipBatches, ClipSet, LabelledClip, few, spread_out
from lfqcodec.train.understand.config import load_actions, load_masked_video
from lfqcodec.train.understand.masked_video import spread
from lfqcodec.train.understand.mixing import box, mixed, smoothed
from lfqcodec.train.understand.task import clip_loop, layer_factors
from lfqcodec.train.understand.tubes import block_mask, tube_masks
from lfqcodec.understand.config import EncoderConfig
from lfqcodec.understand.store import read_classifier
from lfqcodec.understand.vit import MaskedVideoModel

TINY = (
    *("model.layers=1", "model.width=16", "model.heads=2", "model.mlp=32"),
    *("steps=4", "batch=4", "warmup=1"),
)


class Fixed:
    """Draws the same every time."""

    def __init__(self, choice: float, share: float, place: int) -> None:
        self.random = lambda: choice
        self.beta = lambda a, b: share
        self.integers = lambda end: place


def test_tubes() -> None:
    masks = tube_masks(np.random.default_rng(0), 20, (8, 16, 16), 0.75, 16).reshape(20, 8, 256)
    assert (masks.sum(2) == 192).all()
    assert (masks == masks[:, :1]).all()
    rng = np.random.default_rng(1)
    small = np.stack([block_mask(rng, 4, 4, 0.75, 4) for _ in range(1000)])
    assert (small.sum((1, 2)) == 12).all()
    # Rectangles cover the middle more often than the corners, and no side more than another.
    places = small.mean(0)
    for turned in (places[::-1], places[:, ::-1], places.T):
        assert np.abs(places - turned).max() <= 0.1
    assert places[1:3, 1:3].min() > places[0].max() > 0.6 > places[[0, 0, 3, 3], [0, 3, 0, 3]].max() > 0.4


def test_targets_of_tubelets() -> None:
    tokens = torch.arange(5)[None, :, None, None].expand(2, 5, 4, 4)
    found = spread(tokens, 8)
    assert found.shape == (2, 8, 4, 4)
    assert found[0, :, 0, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_mixup_and_cutmix() -> None:
    targets = smoothed(torch.tensor([2, 5]), 10, 0.1)
    video = torch.stack([torch.zeros(3, 2, 32, 32), torch.ones(3, 2, 32, 32)])
    blend, both = mixed(Fixed(0.9, 0.7, 0), video, targets, 0.8, 1.0)
    assert both[0].tolist() == pytest.approx([0.01, 0.01, 0.64, 0.01, 0.01, 0.28, *[0.01] * 4], abs=1e-6)
    assert blend[0].unique().tolist() == pytest.approx([0.3])
    cut, both = mixed(Fixed(0.1, 0.64, 16), video, targets, 0.8, 1.0)
    assert cut[0].sum((0, 2, 3)).tolist() == [3 * 19 * 19] * 2
    assert both[0, 5].item() == pytest.approx(0.352539 * 0.91 + 0.647461 * 0.01, abs=1e-6)
    assert video[0].sum() == 0
    rows, columns, share = box(Fixed(0, 0, 0), 32, 32, 0.64)
    assert (rows, columns) == (slice(0, 10), slice(0, 10))
    assert share == 1 - 100 / 1024
    assert mixed(Fixed(0, 0, 0), video, targets, 0.0, 0.0)[0] is video


def test_layer_decay() -> None:
    with torch.device("meta"):
        model = MaskedVideoModel(EncoderConfig())
    factors = layer_factors(model, 0.75)
    assert factors.keys() == dict(model.named_parameters()).keys()
    for name, value in (
        *((f"head.{part}", 1.0) for part in ("weight", "bias")),
        ("encoder.norm.weight", 1.0),
        ("encoder.blocks.each.11.mlp.0.weight", 0.75),
        ("encoder.blocks.each.0.norm1.bias", 0.0316764),
        *((name, 0.0237573) for name in ("encoder.tubelets.project.weight", "encoder.places", "unknown")),
    ):
        assert factors[name] == pytest.approx(value, abs=1e-7)


def test_rates_of_parameters_and_plain_momentum() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = MuonAdam(ours, OptimizerConfig(sgd=True, momentum=0.9, clip=1e9), {"bias": 0.25})
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias], "lr": 0.025}]
    reference = torch.optim.SGD(groups, 0.1, momentum=0.9)
    for _ in range(10):
        x = torch.randn(7, 5)
        for layer in (ours, theirs):
            layer(x).sin().sum().backward()
        mine.step(0.1)
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)
    layer = nn.Linear(1, 1)
    adam = MuonAdam(layer, OptimizerConfig(weight_decay=0.1), {"weight": 0.5})
    before = [p.item() for p in layer.parameters()]
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    adam.step(0.1)
    found = [p.item() for p in layer.parameters()]
    assert found == pytest.approx([before[0] * (1 - 0.005) - 0.05, before[1] - 0.1], abs=1e-6)


def test_presets_of_table_6() -> None:
    for kind, load in (("masked-video", load_masked_video), ("actions", load_actions)):
        for name in preset_names(kind):
            load(name)
    before, after = load_masked_video("paper-bevt-pretrain"), load_actions("paper-bevt-finetune")
    for config, batch, epochs, warmup in ((before, 1024, 800, 40), (after, 512, 50, 5)):
        assert config.batch == batch
        assert config.steps == pytest.approx(epochs * 168_913 / batch, rel=0.01)
        assert config.warmup * epochs == config.steps * warmup
        assert (config.layer_decay, config.optimizer.weight_decay, config.schedule) == (0.75, 0.05, "cosine")
        assert (config.optimizer.betas[0], config.label_smoothing, config.clip.colour) == (0.9, 0.1, 0.0)
        assert config.model.grid == (8, 16, 16)
    assert (before.clip.flip, before.mask_ratio) == (True, 0.75)
    assert (before.model.dropout, before.model.droppath) == (0.1, 0.0)
    assert (after.model.dropout, after.model.droppath, after.clip.flip) == (0.0, 0.1, False)
    assert (after.mixup, after.cutmix) == (0.8, 1.0)
    vivit = load_actions("paper-vivit-k400")
    assert vivit.model.grid == (16, 14, 14)
    assert (vivit.optimizer.sgd, vivit.learning_rate, vivit.steps) == (True, 0.05, 30 * 3356)


@pytest.mark.parametrize(
    ("load", "change", "message"),
    [
        (load_masked_video, "mask_ratio=0.0", "mask_ratio"),
        (load_masked_video, "target_frames='all'", "shared or pair"),
        (load_masked_video, "clip.size=16", "those of the model"),
        (load_actions, "mixup=-1.0", "mixup and cutmix"),
        (load_actions, "layer_decay=0.0", "layer_decay"),
        (load_actions, "batch=0", "must be positive"),
        (load_actions, "model.kind='cnn'", "vit or vivit"),
    ],
)
def test_bad_changes_are_named(load, change, message) -> None:
    name = "small-bevt" if load is load_masked_video else "small-vivit"
    with pytest.raises(LfqError, match=message):
        load(name, [change])


def ramps(count: int) -> list[LabelledClip]:
    """Clips that get brighter (1) or darker (0): their frames are the same but for the order."""
    rng = np.random.default_rng(count)
    found = []
    for number in range(count):
        levels = np.sort(rng.integers(0, 256, 8).astype(np.uint8))[:: 1 if number % 2 else -1]
        clip = np.broadcast_to(levels[:, None, None, None], (8, 16, 16, 3))
        found.append(LabelledClip(f"{count} {number}", number % 2, partial(np.array, clip)))
    return found


def test_a_classifier_learns_the_order_of_frames(tmp_path: Path) -> None:
    shape = ("frames=8", "size=16", "tubelet=[2, 8, 8]", "width=32", "layers=1", "temporal_layers=1")
    clip = ("frames=8", "size=16", "short=[16, 16]", "test_side=16", "stride=0")
    changes = [*(f"model.{each}" for each in shape), *(f"clip.{each}" for each in clip)]
    config = load_actions("small-vivit", [*changes, "steps=60", "batch=16", "warmup=5", "ema=0.0"])
    clips = ClipSet(("darker", "brighter"), ramps(64), ramps(40))

    def trained(folder: str, changed: bool = False, stop: int | None = None) -> nn.Module:
        order = "shuffled" if changed else "kept"
        chosen = replace(config, clip=replace(config.clip, order=order))
        task = ActionTask(chosen, clips, precision="fp32")
        clip_loop(task, tmp_path / folder).run(record={}, stop_after=stop)
        return task.model

    found = json.loads((trained("a"), (tmp_path / "a" / "log.jsonl").read_text().splitlines()[-1])[1])
    assert found["top1"] == 100
    trained("b", changed=True)
    blind = json.loads((tmp_path / "b" / "log.jsonl").read_text().splitlines()[-1])
    assert blind["top1"] < 80
    trained("c", stop=30)
    for (name, one), other in zip(trained("c").named_parameters(), trained("a").parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_guess_among_equals_is_wrong() -> None:
    class Sure(nn.Module):
        def forward(self, video: torch.Tensor) -> torch.Tensor:
            return video[:, 0, 0, 0, :3]

    views = torch.zeros(4, 3, 1, 1, 3)
    views[2, 0, 0, 0] = views[3, 0, 0, 0] = torch.tensor([1.0, 3.0, 2.0])
    pairs = [[views[0], views[1]], [views[2], views[3]], [views[0], views[2]]]
    assert ranks_of(Sure(), pairs, [1, 2, 1], torch.device("cpu")) == [2, 1, 0]


def test_batches_are_shared_and_few_are_few() -> None:
    clips = ramps(20)
    config = replace(load_actions("small-vivit").clip, frames=8, size=16, short=(16, 18), stride=0)
    batches = ClipBatches(clips, config, 6, seed=3)
    plan = batches.plan(5)
    assert batches.plan(5, 0, 2) + batches.plan(5, 1, 2) == plan
    assert torch.equal(batches.read(plan), batches.read(batches.plan(5)))
    assert batches.labels(plan).tolist() == [clips[clip].label for clip, _ in plan]
    with pytest.raises(LfqError, match="cannot be divided"):
        batches.plan(0, 0, 4)
    chosen = few(clips, 3, seed=0)
    assert [clip.label for clip in chosen] == [0] * 3 + [1] * 3
    assert {clip.name for clip in chosen} != {clip.name for clip in few(clips, 3, seed=1)}
    ordered = sorted(clips, key=lambda clip: clip.label)
    assert [clip.label for clip in spread_out(ordered, 6)] == [0] * 3 + [1] * 3
    assert spread_out(ordered, 30) == ordered


def test_lfq_files_are_training_data(tmp_path: Path) -> None:
    path = tmp_path / "clip.lfq"
    path.write_bytes(encoded(y4m(5, (48, 40))))
    build_pack([path], tmp_path / "pack")
    pack = Pack(tmp_path / "pack")
    with lfqcodec.open(path) as video:
        expected = np.stack([frame.rgb for frame in video.frames()])
    assert (pack.frames(pack.entries[0], 0, 5) == expected).all()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputVideoError, match="none of the training files"):
        build_pack([path], tmp_path / "none")


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_from_clips_to_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set("actions", tmp_path / "set", seed=0, train=16, held=2)
    tokenizer = make_tokenizer(tmp_path / "tokenizer.safetensors", CLIPS)
    data = ("--videos", tmp_path / "set" / "train", "--device", "cpu", "--precision", "fp32")
    changes = [part for change in TINY for part in ("--set", change)]
    bevt, tuned = tmp_path / "bevt", tmp_path / "tuned"
    before = ("train", "masked-video", "--model", tokenizer.path, *data, *changes, "--out", bevt)
    run(*before, "--held", tmp_path / "set" / "held", "--set", "target_frames='pair'")
    rows = [json.loads(line) for line in (bevt / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4
    assert 10 < rows[-1]["loss"] < 14  # 2 ln 512 is 12.5
    assert 0 < rows[0]["frequent"] <= 1
    after = ("train", "actions", "--preset", "small-bevt-finetune", *data, *changes, "--set", "mixup=0.8")
    made = tmp_path / "models" / "actions.safetensors"
    run(*after, "--init", bevt, "--per-class", 2, "--out", tuned, "--export", made)
    with pytest.raises(LfqError, match="exists already"):
        run("train", "export-actions", tuned, made)
    told = json.loads(run("train", "export-actions", tuned, made, "-f", "--name", "mine", "--json"))
    found = read_classifier(made)
    assert (found.name, found.sha256.hex()) == ("mine", told["sha256"])
    assert found.classes == tuple(sorted(path.name for path in (tmp_path / "set" / "train").iterdir()))
    assert told["classes"] == len(found.classes)
    monkeypatch.setenv("LFQCODEC_MODELS", str(made.parent))
    assert "mine  classifier of clips" in run("weights")
    assert {"kind": "classifier", "sha256": told["sha256"]}.items() <= json.loads(run("weights", "--json"))[
        -1
    ].items()
    with pytest.raises(LfqError, match="not a run of train masked-video"):
        run(*after, "--init", tuned, "--out", tmp_path / "x")
    with pytest.raises(LfqError, match="not a run of a classifier"):
        run("train", "export-actions", bevt, tmp_path / "none.safetensors")
    with pytest.raises(LfqError, match="grids of 2x2 and 4x4"):
        run(*before, "--set", "target_size=16")
    with pytest.raises(LfqError, match="pre-training is for"):
        run(*after[:2], *data, "--set", "steps=1", "--init", bevt, "--out", tmp_path / "y")
