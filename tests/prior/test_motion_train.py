"""Training of the rate model of `motion`: the integers of inference; from clips to a file coded with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from codec_support import encoded, same_tokens, tokens_of, y4m
from motion_prior_support import SMALL, gop_rows, random_gop
from train_support import moving_patterns

import lfqcodec
from lfqcodec.bitstream import Profile
from lfqcodec.cli.train.command import command
from lfqcodec.entropy import tokens_to_subtokens
from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.prior.motion.group import Past
from lfqcodec.prior.motion.learned import LearnedMotionRates
from lfqcodec.prior.motion.network import MotionNetworks
from lfqcodec.prior.motion.weights import linear_specs, load_motion_prior
from lfqcodec.train.prior.motion.examples import group_examples
from lfqcodec.train.prior.motion.network import MotionPriorNetwork
from lfqcodec.train.prior.motion.tokens import TokenStore
from lfqcodec.weights.store import resolve_model


def trained_looking() -> MotionPriorNetwork:
    """Networks whose every parameter has moved from its start."""
    torch.manual_seed(0)
    network = MotionPriorNetwork(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return network


def test_training_computes_the_integers_of_inference() -> None:
    """What the networks take a layer's tokens to cost is what their frequency rows make of them."""
    network = trained_looking()
    gop = random_gop((4, 3), 3, 4)
    of_chunk, *coded = gop_rows(LearnedMotionRates(MotionNetworks(network.export())), gop)
    past = Past()
    compared = 0
    for number, ((layers, tokens), rows) in enumerate(zip(gop, coded, strict=True)):
        if number:
            # The rows of this anchor's plane.
            positions, frequencies = of_chunk["motion.anchor"]
            begin = (number - 1) * 2 * tokens["motion.anchor"].size
            own = (positions >= begin) & (positions < begin + 2 * tokens["motion.anchor"].size)
            rows["motion.anchor"] = positions[own] - begin, frequencies[own]
        examples, past = group_examples(SMALL, layers, tokens, past)
        bits: dict[str, float] = {}
        for layer, name, each in examples:
            features = torch.from_numpy(each.features).float()
            subtokens = torch.from_numpy(each.subtokens).long()
            with torch.no_grad():
                own = float(network.bits(name, features, subtokens).sum())
            bits[layer] = bits.get(layer, 0.0) + own
        for layer, expected in bits.items():
            positions, frequencies = rows[layer]
            symbols = tokens_to_subtokens(tokens[layer])[positions]
            ideal = -np.log2(frequencies[np.arange(len(symbols)), symbols] / 2**24).sum()
            # Frequencies are at least 1, and shares are rounded down.
            assert expected == pytest.approx(ideal, rel=1e-2, abs=0.1), layer
            compared += 1
    assert compared > 20


def test_what_was_exported_can_be_started_from() -> None:
    weights = trained_looking().export()
    network = MotionPriorNetwork(SMALL)
    network.load(weights)
    again = network.export()
    features = {name: linear.inputs for name, linear in linear_specs(SMALL).items() if ".first" in name}
    for name, inputs in features.items():
        rows = np.random.default_rng(0).integers(0, 2, (20, inputs)).astype(np.float32)
        own = name.removesuffix(".first")
        same = (MotionNetworks(each).logits(own, rows) for each in (weights, again))
        np.testing.assert_array_equal(*same)
    other = MotionPriorNetwork(replace(SMALL, width=SMALL.width + 8))
    with pytest.raises(WeightsError, match="another shape of"):
        other.load(weights)


def test_networks_of_further_layers_begin_with_nothing() -> None:
    weights = trained_looking().export()
    deeper = MotionPriorNetwork(replace(SMALL, intra_layers=SMALL.intra_layers + 2))
    new = deeper.load(weights)
    assert new == {f"intra.{SMALL.intra_layers + k}" for k in range(2)}
    found = deeper.export().arrays
    assert all(np.array_equal(found[name], array) for name, array in weights.arrays.items())
    names = {name for name, _ in deeper.named_parameters()}
    assert all(len(deeper.parameters_of(each)) == 6 for each in new)
    assert {name for each in new for name in deeper.parameters_of(each)} < names


def test_from_clips_to_a_coded_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, out = moving_patterns(tmp_path), tmp_path / "run"
    run_it = CliRunner()
    arguments = ["prior", "--pack", str(pack), "--out", str(out), "--device", "cpu", "--steps", "6"]
    arguments += ["--gops", "12", "--pictures", "1", "--width", "8", "--block-width", "8"]
    for stop in ("4", "6"):
        run_it.invoke(command, [*arguments, "--stop-after", stop], catch_exceptions=False)
    store = TokenStore(out / "tokens")
    assert store.tokenizer == resolve_model().sha256.hex()
    assert {gop.groups for gop in store.gops} == {3, 5, 9, 1}
    assert {gop.held_out for gop in store.gops} == {False, True}
    assert any(tokens.any() for tokens in store.tokens(store.gops[0])[1].values())
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert all(line["bpp"] > 0 for line in log if line["event"] == "evaluation")
    assert [line["step"] for line in log if line["event"] == "evaluation"] == [4, 6]

    dest = tmp_path / "models" / "prior.safetensors"
    exported = ["export-prior", str(out), str(dest), "--name", "mine", "--json"]
    done = run_it.invoke(command, exported, catch_exceptions=False)
    (out / "checkpoint.safetensors").unlink()
    run_it.invoke(command, [*arguments, "--init", str(dest), "--stop-after", "1"], catch_exceptions=False)
    started = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()][-1]
    assert started["bpp"] == pytest.approx(log[-1]["bpp"], rel=0.05)
    assert json.loads(done.stdout)["bytes"] == dest.stat().st_size
    assert load_motion_prior(dest).config.width == 8
    source = y4m(6)
    static = encoded(source, profile="static")
    # Beside the model, or in a folder of the environment, it is the model's own.
    model = dest.with_name("model.safetensors")
    model.write_bytes(resolve_model().path.read_bytes())
    monkeypatch.setenv("LFQCODEC_MODELS", str(dest.parent))
    exact = encoded(source, model=model)
    dest.with_suffix(".lfq").write_bytes(exact)
    with lfqcodec.open(dest.with_suffix(".lfq")) as file:
        assert file.header.profile == Profile.EXACT
    assert same_tokens(tokens_of(exact), tokens_of(static))


def test_tokens_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "tokens.json").write_text(json.dumps({"tokenizer": "00", "gops": []}))
    arguments = ["prior", "--out", str(tmp_path), "--device", "cpu"]
    with pytest.raises(LfqError, match="made with another model"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    (folder / "tokens.json").write_text("{}")
    with pytest.raises(LfqError, match="not a folder of tokens"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
