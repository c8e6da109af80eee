"""Training of generators: views, stores, masks and the loss by hand, and that small models learn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generate_support import CLIPS, IMAGES, make_tokenizer
from safetensors.torch import load_file
from torch.nn import functional as F

from benchmarks.toy.command import write_set
from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.generate.decoding.causal import decode_causal
from lfqcodec.generate.decoding.commit import known_pixels, padded
from lfqcodec.generate.decoding.masked import decode_masked
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.generate.model.embedding import split
from lfqcodec.generate.pictures import to_tokens
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train import data
from lfqcodec.train.generator.batches import TokenBatches
from lfqcodec.train.generator.config import DataConfig, GeneratorTrainConfig
from lfqcodec.train.generator.objective import chosen_units, masked_loss
from lfqcodec.train.generator.tokens import Online, Origin, TokenStore, build_store, class_names
from lfqcodec.train.generator.trainer import (
    CausalTask,
    MaskedTask,
    export_generator,
    generator_loop,
    generator_task,
)
from lfqcodec.train.generator.views import middle_view, random_view, scaled_side
from lfqcodec.train.loop import CHECKPOINT
from lfqcodec.train.optim import OptimizerConfig
from lfqcodec.weights.loading import load_tokenizer

MODEL = GeneratorConfig(grid=(1, 2, 2), classes=3, layers=1, width=16, heads=2, mlp=32, norm="pre")
SMALL = DataConfig(size=16, frames=1, crop=(0.8, 1.0), flip=True, views=3)


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> data.Pack:
    """Labelled pictures of 32x32."""
    root = tmp_path_factory.mktemp("glyphs")
    write_set("glyphs", root / "set", seed=0, train=60, held=0)
    data.ensure_pack(root / "pack", [], [root / "set" / "train"], max_frames=1, labels="folder")
    return data.Pack(root / "pack", holdout=0.3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Magvit2Tokenizer:
    model = make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "images.safetensors", IMAGES)
    tokenizer = load_tokenizer(model, torch.device("cpu"))
    assert isinstance(tokenizer, Magvit2Tokenizer)
    return tokenizer


def write_store(
    folder: Path, grids: np.ndarray, labels: list[int], classes: list[str], held: tuple[int, ...] = ()
) -> TokenStore:
    """A store of given tokens [n, T', h, w], one view of each item."""
    folder.mkdir(parents=True)
    grids.astype("<i4").tofile(folder / "tokens.i32")
    items = [[str(k), label, k in held, k, 1] for k, label in enumerate(labels)]
    facts = {
        "version": 1,
        "origin": {"tokenizer": "ab", "data": {}, "task": "none", "task_frames": 0},
        "grid": grids.shape[1:],
    }
    (folder / "tokens.json").write_text(json.dumps(facts | {"classes": classes, "items": items}))
    return TokenStore(folder)


def test_sizes_of_crops_are_those_of_adm() -> None:
    for size, most in ((256, 320), (32, 40)):
        rng = np.random.default_rng(0)
        config = DataConfig(size=size, crop=(0.8, 1.0))
        assert {scaled_side(config, rng) for _ in range(3000)} == set(range(size, most + 1))
    assert {
        scaled_side(DataConfig(size=32, crop=(1.0, 1.0)), np.random.default_rng(0)) for _ in range(9)
    } == {32}


def test_views(glyphs: data.Pack) -> None:
    entry = glyphs.entries[0]
    views = [random_view(glyphs, entry, SMALL, seed=0, number=k) for k in range(8)]
    assert all(view.shape == (3, 1, 16, 16) and view.abs().max() <= 1 for view in views)
    assert torch.equal(views[3], random_view(glyphs, entry, SMALL, seed=0, number=3))
    assert not torch.equal(views[3], views[4])
    assert torch.equal(middle_view(glyphs, entry, SMALL), middle_view(glyphs, entry, SMALL))
    # Without scaling a view is a part of the picture, or its mirror image.
    whole = DataConfig(size=32, crop=(1.0, 1.0), flip=True)
    picture = torch.from_numpy(np.array(glyphs.frames(entry, 0, 1)))[0].permute(2, 0, 1) / 127.5 - 1
    mirrored = 0
    for k in range(40):
        view = random_view(glyphs, entry, whole, seed=0, number=k)[:, 0]
        assert torch.equal(view, picture) or torch.equal(view, picture.flip(-1))
        mirrored += int(torch.equal(view, picture.flip(-1)))
    assert 8 < mirrored < 32


def test_store_holds_the_tokens_of_views(glyphs: data.Pack, images: Magvit2Tokenizer, tmp_path: Path) -> None:
    origin = Origin("ab", 0, SMALL)
    classes = class_names([glyphs])
    assert classes == [str(digit) for digit in range(10)]
    build_store(glyphs, None, images, origin, tmp_path / "tokens", classes=classes)
    store = TokenStore(tmp_path / "tokens")
    store.check_origin(origin, tmp_path)
    assert store.grid == (1, 2, 2)
    training = [item for item in store.items if not item.held_out]
    assert len(training) == len(glyphs.training)
    assert len(store.items) - len(training) == len(glyphs.held_out) > 0
    assert len(store.tokens) == 3 * len(training) + len(glyphs.held_out)
    for item, entry in ((training[5], glyphs.training[5]), (store.items[-1], glyphs.held_out[-1])):
        view = middle_view(glyphs, entry, SMALL)
        if not item.held_out:
            view = random_view(glyphs, entry, SMALL, seed=0, number=item.views - 1)
        expected = to_tokens(images, view[None])[0].numpy()
        assert np.array_equal(store.tokens[item.first + item.views - 1], expected)
        assert store.classes[item.label] == entry.label
    with pytest.raises(LfqError, match="was made with flip True, not False"):
        store.check_origin(replace(origin, data=replace(SMALL, flip=False)), tmp_path)
    with pytest.raises(LfqError, match="another tokenizer"):
        store.check_origin(replace(origin, tokenizer="cd"), tmp_path)


def test_a_task_is_trained_on_padded_conditions(
    glyphs: data.Pack, images: Magvit2Tokenizer, tmp_path: Path
) -> None:
    origin = Origin("ab", 0, SMALL, task="inpainting")
    build_store(glyphs, None, images, origin, tmp_path / "tokens", classes=class_names([glyphs]))
    store = TokenStore(tmp_path / "tokens")
    assert store.tokens.shape == store.conditions.shape
    with pytest.raises(LfqError, match="was made with task inpainting, not none"):
        store.check_origin(Origin("ab", 0, SMALL), tmp_path)
    item, entry = store.items[0], glyphs.training[0]
    view = random_view(glyphs, entry, SMALL, seed=0, number=0)
    config = training(2, task="inpainting", classes=10)
    known = known_pixels(config.model, 1, (16, 16))
    assert np.array_equal(store.tokens[item.first], to_tokens(images, view[None])[0].numpy())
    covered = padded(config.model, view, known)
    assert np.array_equal(store.conditions[item.first], to_tokens(images, covered[None])[0].numpy())
    task = MaskedTask(replace(config, data=SMALL), store, precision="fp32")
    seen = []
    task.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    learned(task, tmp_path / "run")
    batch = TokenBatches(store, config.batch, seed=0, class_drop=0.1).batch(0)
    masked = chosen_units(config.model, batch.ratios, batch.scores)
    # Every position of a grid of 2x2 sees pixels outside of the middle, so nothing is wholly unknown.
    expected = torch.where(masked, split(batch.conditions.flatten(1)), split(batch.tokens.flatten(1)))
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("name", ["none", "inpainting"])
def test_views_that_are_tokenized_in_every_step(
    glyphs: data.Pack, images: Magvit2Tokenizer, tmp_path: Path, name: str
) -> None:
    origin = Origin("ab", 0, replace(SMALL, views=1), task=name)
    build_store(glyphs, None, images, origin, tmp_path / "tokens", classes=class_names([glyphs]))
    store = TokenStore(tmp_path / "tokens")
    online = Online(store, glyphs, None, images, origin)
    stored, fresh = (
        TokenBatches(store, 4, seed=0, class_drop=0.1, online=each).batch(3) for each in (None, online)
    )
    for field in ("labels", "ratios", "scores"):
        assert torch.equal(getattr(stored, field), getattr(fresh, field))
    item = np.random.default_rng((0, 3)).integers(len(glyphs.training), size=4)
    view = random_view(glyphs, glyphs.training[item[2]], SMALL, seed=0, number=1 + 3 * 4 + 2)
    assert torch.equal(fresh.tokens[2], to_tokens(images, view[None])[0])
    assert torch.equal(fresh.tokens, fresh.conditions) == (name == "none")
    batches = TokenBatches(store, 4, seed=0, class_drop=0.1, online=online)
    halves = [batches.batch(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([each.tokens for each in halves]), fresh.tokens)
    with pytest.raises(LfqError, match="made from other files than the pack"):
        Online(store, glyphs, glyphs, images, origin)


def test_stores_that_cannot_be_made(glyphs: data.Pack, images: Magvit2Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "tokens"
    with pytest.raises(LfqError, match="multiple of the tokenizer's 8"):
        build_store(glyphs, None, images, Origin("ab", 0, replace(SMALL, size=20)), out)
    with pytest.raises(LfqError, match="class cow has nothing to train on"):
        build_store(glyphs, None, images, Origin("ab", 0, SMALL), out, classes=[*"0123456789", "cow"])
    assert not out.exists()
    clips = Magvit2Tokenizer(CLIPS).eval()
    with pytest.raises(InputVideoError, match="no item to train on has 5 frames"):
        build_store(glyphs, None, clips, Origin("ab", 0, replace(SMALL, frames=5)), out)


def test_damaged_stores(tmp_path: Path) -> None:
    grids = np.arange(12).reshape(3, 1, 2, 2)
    folder = tmp_path / "good"
    write_store(folder, grids, [0, 1, 2], ["a", "b", "c"])
    tokens, text = (folder / "tokens.i32").read_bytes(), (folder / "tokens.json").read_text()
    changed = np.array(grids)
    changed[1, 0, 0, 0] = 1 << 18
    for name, content in (
        ("tokens.i32", tokens[:-1]),
        ("tokens.i32", tokens[:-16]),
        ("tokens.i32", changed.astype("<i4").tobytes()),
        ("tokens.i32", b""),
        ("tokens.json", text[:-5].encode()),
        ("tokens.json", text.replace('"version": 1', '"version": 2').encode()),
        ("tokens.json", text.replace('"classes": ["a", "b", "c"]', '"classes": ["a", "b"]').encode()),
        ("tokens.json", b"[]"),
    ):
        (folder / "tokens.i32").write_bytes(tokens)
        (folder / "tokens.json").write_text(text)
        TokenStore(folder)
        (folder / name).write_bytes(content)
        with pytest.raises(InputVideoError, match="not a store of tokens, or damaged"):
            TokenStore(folder)


def test_batches(tmp_path: Path) -> None:
    grids = np.arange(24).reshape(6, 1, 2, 2)
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 0, 1, 2], ["a", "b", "c"], held=(5,))
    batches = TokenBatches(store, 1000, seed=0, class_drop=0.1)
    batch = batches.batch(3)
    assert torch.equal(batch.tokens, batches.batch(3).tokens)
    assert not torch.equal(batch.tokens, batches.batch(4).tokens)
    first = batch.tokens[:, 0, 0, 0]
    assert set(first.tolist()) == {0, 4, 8, 12, 16}  # never the held-out item
    kept = batch.labels < 3
    assert torch.equal(batch.labels[kept], (first[kept] // 4) % 3)
    assert abs(float((~kept).float().mean()) - 0.1) < 3 * (0.09 / 1000) ** 0.5
    halves = [batches.batch(3, rank, 2) for rank in (0, 1)]
    for name in ("tokens", "labels", "ratios", "scores"):
        assert torch.equal(torch.cat([getattr(each, name) for each in halves]), getattr(batch, name))
    with pytest.raises(LfqError, match="cannot be divided"):
        batches.batch(0, 0, 3)
    held = TokenBatches(store, 1, seed=0, held_out=True).first(10)
    assert held.tokens.tolist() == [[[[20, 21], [22, 23]]]]


def test_masks_by_hand() -> None:
    scores = torch.tensor([[[0.1, 0.9], [0.2, 0.8]]], dtype=torch.float64)
    half = torch.tensor([2 / 3], dtype=torch.float64)  # cos(pi / 3) = 1/2
    config = replace(MODEL, grid=(1, 1, 2))
    assert chosen_units(config, half, scores).tolist() == [[[True, False], [True, False]]]
    whole = replace(config, mask_unit="token")
    assert chosen_units(whole, half, scores).tolist() == [[[True, True], [False, False]]]
    assert chosen_units(config, torch.zeros(1).double(), scores).all()
    nearly = torch.tensor([0.999999], dtype=torch.float64)
    assert chosen_units(config, nearly, scores).sum() == 1  # at least one
    begins = torch.tensor([0.4], dtype=torch.float64)  # 4 cos(0.2 pi) = 3.2; decoding begins with all
    assert chosen_units(config, begins, scores).all()


def test_the_condition_is_never_masked_and_not_in_the_loss() -> None:
    config = replace(MODEL, grid=(2, 1, 2), classes=0, class_drop=0.0, condition_frames=1)
    rng = np.random.default_rng(0)
    for u in (0.0, 0.3, 0.9):
        scores = torch.from_numpy(rng.random((5, 4, 2)))
        masked = chosen_units(config, torch.full((5,), u, dtype=torch.float64), scores)
        assert not masked[:, :2].any()
        count = math.ceil(4 * math.cos(math.pi * u / 2))
        assert masked.sum((1, 2)).tolist() == [count] * 5
    logits = torch.randn(5, 4, 2, 512, requires_grad=True)
    target = torch.randint(0, 512, (5, 4, 2))
    loss, _ = masked_loss(config, logits, target, masked, smoothing=0.1, on="all")
    loss.backward()
    assert not logits.grad[:, :2].any()
    assert logits.grad[:, 2:].any(-1).all()


def test_loss() -> None:
    # Two classes at the same place: ln 3 and 0, the others impossible, would not be smoothed; so by PyTorch.
    two = torch.tensor([[math.log(3), 0.0]])
    assert float(F.cross_entropy(two, torch.tensor([0]), label_smoothing=0.1)) == pytest.approx(
        0.342613, abs=1e-6
    )
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 2, 512), torch.randint(0, 512, (3, 4, 2))
    masked = torch.rand(3, 4, 2) < 0.5
    masked[:, 0, 0] = True
    loss, values = masked_loss(MODEL, logits, target, masked, smoothing=0.1, on="all")
    flat = F.cross_entropy(logits.flatten(0, 2), target.flatten(), label_smoothing=0.1)
    assert float(loss) == pytest.approx(float(flat), rel=1e-5)
    plain = F.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none").view(3, 4, 2)
    assert float(values["masked"]) == pytest.approx(float(plain[masked].mean()), rel=1e-5)
    assert float(values["bits"]) == pytest.approx(2 * float(plain[masked].mean()) / math.log(2), rel=1e-5)
    loss, _ = masked_loss(MODEL, logits, target, masked, smoothing=0.0, on="masked")
    each = torch.stack([plain[k][masked[k]].mean() for k in range(3)])
    assert float(loss) == pytest.approx(float(each.mean()), rel=1e-5)


def training(steps: int, **model: object) -> GeneratorTrainConfig:
    """A short run without chance but that of the masks."""
    shape = replace(
        MODEL, layers=2, width=64, heads=4, mlp=128, dropout=0.0, attention_dropout=0.0, embedding="bits"
    )
    shape = replace(shape, **model)
    return GeneratorTrainConfig(
        steps,
        batch=16,
        learning_rate=3e-3,
        warmup=20,
        ema=0.9,
        label_smoothing=0.0,
        model=shape,
        optimizer=OptimizerConfig(betas=(0.9, 0.96), muon=False, weight_decay=0.01),
        sampling={"default": SamplingConfig(steps=2, temperature=0.0)},
    )


def learned(task: MaskedTask | CausalTask, out: Path) -> Any:
    loop = generator_loop(task, out)
    loop.run(record={}, evaluate_every=10_000)
    return loop.average


def test_a_small_model_learns_a_grid_for_each_class(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).integers(0, 1 << 18, (4, 1, 4, 4))
    names = ["a", "b", "c", "d"]
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 3], names)
    config = training(300, grid=(1, 4, 4), classes=4)
    model = learned(MaskedTask(config, store, precision="fp32"), tmp_path / "run")
    sampling = SamplingConfig(steps=8, temperature=0.0, softmax_temperature=(0.1, 0.1))
    tokens = decode_masked(model, range(4), sampling, SampleNoise(0, range(4)))
    assert np.array_equal(tokens.numpy(), grids)


def test_a_small_model_learns_to_continue(tmp_path: Path) -> None:
    """Of clips with different first frames each goes on in its way."""
    grids = np.random.default_rng(1).integers(0, 1 << 18, (3, 3, 2, 2))
    store = write_store(tmp_path / "s", grids, [0, 0, 0], [])
    config = training(300, grid=(3, 2, 2), classes=0, class_drop=0.0, condition_frames=1)
    model = learned(MaskedTask(config, store, precision="fp32"), tmp_path / "run")
    condition = torch.from_numpy(grids[:, :1])
    sampling = SamplingConfig(steps=4, temperature=0.0, softmax_temperature=(0.1, 0.1))
    tokens = decode_masked(model, [0] * 3, sampling, SampleNoise(0, range(3)), condition=condition)
    assert np.array_equal(tokens.numpy(), grids)


def test_what_the_condition_does_not_tell_is_drawn(tmp_path: Path) -> None:
    """Two clips have the same first frame: a sample goes on as either of them."""
    grids = np.random.default_rng(1).integers(0, 1 << 18, (2, 2, 2, 2))
    grids[1, 0] = grids[0, 0]
    store = write_store(tmp_path / "s", grids, [0, 0], [])
    config = training(300, grid=(2, 2, 2), classes=0, class_drop=0.0, condition_frames=1)
    model = learned(MaskedTask(config, store, precision="fp32"), tmp_path / "run")
    condition = torch.from_numpy(grids[:1, :1]).expand(40, -1, -1, -1)
    # The surest first would be the same clip every time.
    sampling = SamplingConfig(steps=8, temperature=100.0)
    tokens = decode_masked(model, [0] * 40, sampling, SampleNoise(0, range(40)), condition=condition)
    as_first, as_second = ((tokens == torch.from_numpy(grid)).flatten(1).all(1) for grid in grids)
    assert int((as_first | as_second).sum()) >= 38
    assert 8 <= int(as_first.sum()) <= 32


def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).integers(0, 1 << 18, (6, 1, 2, 2))
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 0, 1, 2], ["a", "b", "c"], held=(5,))
    config = training(12, dropout=0.1)
    for name, parts in (("whole", (None,)), ("parts", (5, 1, None))):
        for count in parts:
            task = MaskedTask(config, store, precision="fp32")
            generator_loop(task, tmp_path / name).run(record={}, stop_after=count)
    whole, parts = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert len(rows[-1]["bits"]) == len(rows[-1]["accuracy"]) == 4
    other = MaskedTask(replace(config, model=replace(config.model, width=32)), store, precision="fp32")
    with pytest.raises(LfqError, match="another generator"):
        generator_loop(other, tmp_path / "whole")


def test_parts_of_a_batch_add_up(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).integers(0, 1 << 18, (6, 1, 2, 2))
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 0, 1, 2], ["a", "b", "c"])
    gradients = []
    for accumulate in (1, 4):
        config = replace(training(1), accumulate=accumulate)
        task = MaskedTask(config, store, precision="fp32")
        task.step(0, 0.0)
        gradients.append(torch.cat([p.grad.flatten() for p in task.model.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-3)


def test_blocks_that_are_computed_twice_change_nothing(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).integers(0, 1 << 18, (6, 1, 2, 2))
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 0, 1, 2], ["a", "b", "c"])
    gradients = []
    for twice in (False, True):
        config = replace(training(1, dropout=0.1, attention_dropout=0.1), checkpoint_blocks=twice)
        task = MaskedTask(config, store, precision="fp32")
        calls: list[int] = []
        task.model.stack.blocks[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        task.step(0, 0.0)
        assert len(calls) == 1 + twice
        gradients.append(torch.cat([p.grad.flatten() for p in task.model.parameters()]))
    assert torch.equal(*gradients)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).integers(0, 1 << 18, (3, 1, 2, 2))
    store = write_store(tmp_path / "s", grids, [0, 1, 2], ["a", "b", "c"])
    with pytest.raises(LfqError, match="the tokens are grids of 1x2x2, the model's are 1x4x4"):
        MaskedTask(training(1, grid=(1, 4, 4)), store)
    with pytest.raises(LfqError, match="the store has 3 classes, the model 4"):
        MaskedTask(training(1, classes=4), store)
    task = MaskedTask(training(5), store, precision="fp32")
    with torch.no_grad():
        task.model.places.fill_(torch.nan)
    with pytest.raises(LfqError, match="the loss is not finite at step 0"):
        learned(task, tmp_path / "run")


def test_a_small_autoregressive_model_learns_a_grid_for_each_class(tmp_path: Path) -> None:
    grids = np.random.default_rng(2).integers(0, 1 << 18, (4, 1, 3, 3))
    store = write_store(tmp_path / "s", grids, [0, 1, 2, 3], ["a", "b", "c", "d"], held=())
    causal = {
        "kind": "lm",
        "class_drop": 0.0,
        "grid": (1, 3, 3),
        "classes": 4,
        "words": 9,
    }
    config = replace(training(150, **causal), vocabulary="used")
    task = generator_task(config, store, precision="fp32")
    assert isinstance(task, CausalTask)
    assert task.config.model.words == len(np.unique(grids))
    model = learned(task, tmp_path / "run")
    tokens = decode_causal(model, range(4), SamplingConfig(temperature=0.0), SampleNoise(0, range(4)))
    assert np.array_equal(tokens.numpy(), grids)
    shape, tensors, metadata = export_generator(tmp_path / "run")
    assert shape == task.config.model
    assert torch.equal(tensors["words"], torch.from_numpy(np.unique(grids)).int())
    assert json.loads(metadata["sampling"])["default"]["temperature"] == 0.0


def test_tokens_that_training_never_saw(tmp_path: Path) -> None:
    grids = np.arange(12).reshape(3, 1, 2, 2)
    store = write_store(tmp_path / "s", grids, [0, 1, 0], ["a", "b"], held=(2,))
    causal = {"kind": "lm", "class_drop": 0.0, "classes": 2, "words": 9}
    task = generator_task(replace(training(1, **causal), vocabulary="used"), store, precision="fp32")
    assert store.used().tolist() == list(range(8))
    scores = task.held_out(task.model)
    assert scores == {"bits": 0.0, "unknown": 1.0}
