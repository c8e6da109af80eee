"""Training of the prior: its forward pass is inference, it learns, resumes, and exports what it measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from prior_support import SMALL, all_rows, random_tokens

from lfqcodec.cli.train import command
from lfqcodec.entropy import decode_tokens, encode_tokens, tokens_to_subtokens
from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.prior import arithmetic
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.prior.weights import load_prior, logit_table, score_table
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.data import Entry, Pack
from lfqcodec.train.prior.layers import attention
from lfqcodec.train.prior.network import PriorNetwork
from lfqcodec.train.prior.tokens import CropConfig, CropSampler, Gop, TokenStore
from lfqcodec.train.prior.trainer import PriorTask, PriorTrainConfig, export_prior, prior_loop

TINY = PriorConfig(
    stages=2, width=32, layers=2, context_layers=1, heads=2, first_steps=(3, 2), later_steps=(2, 1)
)


def trained_looking(config: PriorConfig) -> PriorNetwork:
    """A net whose every parameter has moved from its start."""
    torch.manual_seed(0)
    net = PriorNetwork(config)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.add_(torch.randn_like(p) * (0.3 if name.startswith(("place", "none")) else 0.1))
    return net


@pytest.mark.parametrize("grid", [(1, 1), (9, 13)])
def test_training_computes_the_integers_of_inference(grid: tuple[int, int]) -> None:
    """All steps at once, or one after the other with kept keys: the same logits, so the same rows."""
    net = trained_looking(SMALL)
    weights = net.export()
    tokens = random_tokens((2, 4, *grid))
    coder = GopCoder(ExactNetwork(weights), *grid)
    coder.begin_chunk(4, gop_start=True)
    unknown = torch.full((1, 2, 2, *grid), -1)
    history = torch.cat((unknown, torch.from_numpy(tokens).long()[None]), 2)
    make_rows = arithmetic.RowMaker(logit_table(), torch.device("cpu"))
    start = torch.zeros(1, dtype=torch.int64)
    for stage in range(2):
        positions, rows = all_rows(coder.rows(stage), tokens[stage])
        with torch.no_grad():
            first, second = net(history, start, stage)
            logits = torch.stack((first[0], second[0]), 2).reshape(-1, 512)
            bits = net.bits(history, start, stage)
            unrounded = net.bits(history, start, stage, rounded=False)
        np.testing.assert_array_equal(make_rows(logits[positions]), rows - 1.0)
        symbols = tokens_to_subtokens(tokens[stage])[positions]
        ideal = -np.log2(rows[np.arange(len(rows)), symbols] / 2**24).sum() / tokens[stage].size
        assert float(bits.mean()) == pytest.approx(ideal, rel=2e-3)
        assert float(unrounded.mean()) == pytest.approx(ideal, rel=2e-2)


def test_gradient_of_attention_is_that_of_softmax() -> None:
    torch.manual_seed(0)

    def leaf(*shape: int, size: float) -> torch.Tensor:
        return (torch.randn(*shape, dtype=torch.float64) * size).requires_grad_()

    query, key, value = (
        leaf(2, 3, 2, 6, 4, size=40),
        leaf(2, 3, 2, 20, 4, size=40),
        leaf(2, 3, 2, 20, 4, size=40),
    )
    place, none = leaf(2, 6, 20, size=500), leaf(2, 1, 1, size=500)
    unseen = torch.rand(2, 3, 1, 6, 20) < 0.3
    ours = attention(query, key, value, place, none, unseen, torch.from_numpy(score_table()).double(), False)
    score = ((query @ key.mT) + place).masked_fill(unseen, -1e30)
    score = torch.cat((none.expand(2, 3, 2, 6, 1), score), -1) / 2048
    theirs = score.softmax(-1)[..., 1:] @ value
    torch.testing.assert_close(ours, theirs)
    way = torch.randn_like(ours)
    inputs = (query, key, value, place, none)
    for a, b in zip(
        torch.autograd.grad((ours * way).sum(), inputs),
        torch.autograd.grad((theirs * way).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_export_refuses_what_left_its_range() -> None:
    net = PriorNetwork(TINY)
    with torch.no_grad():
        net.linears["head_first"].bias.fill_(1e9)
    with pytest.raises(WeightsError):
        net.export()


def write_store(folder: Path) -> TokenStore:
    """Tokens without a tokenizer: clips that change slowly, and pictures; some held out."""
    folder.mkdir()
    gops, blocks, offset = [], [], 0
    for number in range(12):
        image = number % 3 == 2
        tokens = random_tokens((2, 1 if image else 6, 10, 12), number) & 0b11000000111
        gops.append(Gop(f"{number}", image, number >= 9, *tokens.shape, offset))
        blocks.append(tokens.ravel())
        offset += tokens.size
    np.concatenate(blocks).astype("<i4").tofile(folder / "tokens.i32")
    content = {"tokenizer": "ab" * 32, "gops": [asdict(g) for g in gops]}
    (folder / "tokens.json").write_text(json.dumps(content))
    return TokenStore(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return write_store(tmp_path_factory.mktemp("store") / "tokens")


def test_crops_are_true_pieces_with_their_history(store: TokenStore) -> None:
    sampler = CropSampler(store, CropConfig(batch=6, frames=3, size=8), seed=3)
    seen_starts = set()
    for step in range(12):
        crops = sampler.batch(step)
        again = CropSampler(store, sampler.config, seed=3).batch(step)
        assert torch.equal(crops.tokens, again.tokens)
        for tokens, start, counts in zip(crops.tokens, crops.start, crops.counts, strict=True):
            seen_starts.add(int(start))
            assert (tokens[:, 2:][:, counts] >= 0).all()
            assert (tokens[:, : max(0, 2 - int(start))] == -1).all()
            assert bool(counts[0]) == (int(start) == 0)
    assert seen_starts == {0, 1, 2, 3}
    with pytest.raises(LfqError, match="held-out"):
        CropSampler(store, CropConfig(batch=1, frames=3, size=11), seed=0, held_out=True)


def run(store: TokenStore, out: Path, steps: int, init: Path | None = None) -> PriorTask:
    config = PriorTrainConfig(
        steps, batch=2, frames=2, size=8, warmup=5, decay=10, learning_rate=5e-3, model=TINY
    )
    task = PriorTask(config, store, init=init)
    prior_loop(task, out).run(record={}, evaluate_every=steps)
    return task


def test_a_run_learns_and_logs(store: TokenStore, tmp_path: Path) -> None:
    run(store, tmp_path, 30)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["start", "training", "evaluation"]
    for stage in range(2):
        # 7 of 18 bits vary, and half of the tokens stay as they were.
        bits, unrounded, later, first = (rows[-1][n][stage] for n in ("bits", "float", "later", "first"))
        assert bits < 12
        assert abs(unrounded - bits) < 0.01 * bits
        assert later < first < 18
    weights, metadata = export_prior(tmp_path / "checkpoint.safetensors")
    assert metadata == {"trained_for": "ab" * 32, "steps": "30"}
    still = np.repeat(random_tokens((2, 1, 10, 12), 1) & 0b11000000111, 4, 1)
    encoder, decoder = (GopCoder(ExactNetwork(weights), 10, 12) for _ in range(2))
    for coder in (encoder, decoder):
        coder.begin_chunk(4, gop_start=True)
    for stage in range(2):
        words = encode_tokens(encoder.rows(stage), still[stage])
        np.testing.assert_array_equal(
            decode_tokens(decoder.rows(stage), words, still[stage].shape), still[stage]
        )
        assert 32 * len(words) / still[stage].size < 12


def test_a_run_is_not_continued_with_another_model_or_tokenizer(store: TokenStore, tmp_path: Path) -> None:
    config = run(store, tmp_path, 1).config
    other = replace(config, model=replace(TINY, heads=1))
    with pytest.raises(LfqError, match="another prior"):
        prior_loop(PriorTask(other, store), tmp_path)
    store_of_other = TokenStore(Path(store.data.filename).parent)
    store_of_other.tokenizer = "cd" * 32
    with pytest.raises(LfqError, match="another tokenizer"):
        prior_loop(PriorTask(config, store_of_other), tmp_path)


def write_pack(folder: Path) -> Pack:
    rng = np.random.default_rng(0)
    entries, offset = [], 0
    with (folder / "pack.u8").open("wb") as file:
        for number, frames in enumerate((6, 9, 1)):
            video = np.repeat(
                rng.integers(0, 256, (1, 8, 9, 3), np.uint8).repeat(8, 1).repeat(8, 2), frames, 0
            )
            entries.append(Entry(f"clip{number}", f"clip{number}", frames, 64, 72, offset))
            file.write(video.tobytes())
            offset += video.nbytes
    (folder / "pack.json").write_text(json.dumps([asdict(e) for e in entries]))
    return Pack(folder)


def test_from_a_pack_to_a_prior_on_the_command_line(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    write_pack(pack)
    out = tmp_path / "run"
    run_it = CliRunner()
    arguments = ["prior", "--pack", str(pack), "--out", str(out), "--device", "cpu", "--steps", "3"]
    arguments += ["--batch", "1", "--frames", "2", "--size", "8", "--stages", "1", "--stop-after", "2"]
    arguments += ["--first-steps", "4"]
    arguments += ["--width", "32", "--heads", "2", "--layers", "2", "--context-layers", "1"]
    for _ in range(2):
        run_it.invoke(command, arguments, catch_exceptions=False)
    tokens = TokenStore(out / "tokens")
    assert [gop.is_image for gop in tokens.gops] == [False, False, True]
    assert [tokens.tokens(gop).shape for gop in tokens.gops] == [(1, 3, 8, 9), (1, 3, 8, 9), (1, 1, 8, 9)]
    dest = tmp_path / "prior.safetensors"
    arguments = ["export-prior", str(out), str(dest), "--name", "x", "--json"]
    done = run_it.invoke(command, arguments, catch_exceptions=False)
    assert json.loads(done.stdout)["bytes"] == dest.stat().st_size
    assert load_prior(dest).config.width == 32
    assert load_checkpoint(out / "checkpoint.safetensors").progress["step"] == 3


def test_a_run_starts_from_another(store: TokenStore, tmp_path: Path) -> None:
    first = run(store, tmp_path / "first", 20)
    second = PriorTask(first.config, store, init=tmp_path / "first")
    assert second.step(0, 0.0)["bits_0"] < PriorTask(first.config, store).step(0, 0.0)["bits_0"]
    with pytest.raises(WeightsError, match="does not fit this model"):
        PriorTask(replace(first.config, model=replace(TINY, width=64)), store, init=tmp_path / "first")
