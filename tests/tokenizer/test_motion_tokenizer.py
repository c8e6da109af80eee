"""The motion tokenizer: encoder and decoder agree, whatever sizes, counts and vectors; depth and the gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lfqcodec.errors import BitstreamError, WeightsError
from lfqcodec.tokenizer.lfq.ternary import tokens_valid
from lfqcodec.tokenizer.motion.blocks import Region, enlarge, from_patches, near_tokens, to_patches
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.encoder import GroupEncoder
from lfqcodec.tokenizer.motion.group import Reference
from lfqcodec.tokenizer.motion.layout import (
    coded_layers,
    depth_choices,
    depth_valid,
    group_layers,
    pack_depth,
    places,
    unpack_depth,
)
from lfqcodec.tokenizer.motion.numbers import DepthOptions, NumberOptions
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
from lfqcodec.tokenizer.motion.training.checkpoint import model_tensors, rate_tensors
from lfqcodec.tokenizer.motion.training.rate import Rates
from lfqcodec.tokenizer.registry import build_tokenizer, parse_config
from lfqcodec.weights.loading import save_tokenizer

SMALL = MotionConfig(
    intra_width=16,
    intra_channels=12,
    intra_layers=3,
    intra_levels=3,
    intra_digits=3,
    intra_encoder_blocks=1,
    intra_decoder_blocks=1,
    anchor_width=16,
    anchor_channels=10,
    anchor_encoder_blocks=1,
    anchor_decoder_blocks=2,
    between_width=8,
    between_channels=8,
    between_encoder_blocks=1,
    between_decoder_blocks=1,
    mask_width=8,
    head_channels=4,
)
Q = 1.3


def lively() -> MotionTokenizer:
    """A tokenizer in which every weight matters: many start at zero, which would hide mistakes."""
    torch.manual_seed(5)
    model = MotionTokenizer(SMALL).eval()
    model.intra.initialise_from(torch.rand(8, 3, 64, 64) - 0.5)
    for network in (model.anchor, model.between):
        network.initialise_from((torch.rand(8, 3, 64, 64) - 0.5) / 8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "quantizer" not in name:
                parameter.add_(0.03 * torch.randn_like(parameter))
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> MotionTokenizer:
    return lively()


def clip(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """A moving smooth picture and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    frames = []
    for t in range(count):
        wave = np.sin((x - 2.3 * t) / 5) + np.cos((y + 1.2 * t) / 7)
        frame = 128 + 40 * wave[..., None] * np.array([1, 0.6, -0.8]) + rng.normal(0, 3, (*size, 3))
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def encode_plain(encoder: GroupEncoder) -> tuple[dict[str, np.ndarray], GroupEncoder]:
    tokens = {}
    for layer in encoder.layers:
        tokens[layer.name] = encoder.options(layer.name).plain
        encoder = encoder.take(layer.name, tokens[layer.name])
    return tokens, encoder


def code(
    model: MotionTokenizer, pictures: list[np.ndarray], counts: list[int]
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray], Reference]:
    """Encode groups of those counts, the first alone, and check the decoder against it."""
    reference = decoder_reference = None
    tokens, decoded, size = [], [], pictures[0].shape[:2]
    for count in counts:
        group, pictures = pictures[:count], pictures[count:]
        coded, closed = encode_plain(model.encode_group(group, reference, Q))
        made, reference = closed.close()
        again, decoder_reference = model.decode_group(coded, count, size, decoder_reference, Q)
        assert np.array_equal(made, again)
        assert torch.equal(reference.picture, decoder_reference.picture)
        assert made.shape == (count, *size, 3)
        tokens.append(coded)
        decoded.append(made)
    assert reference is not None
    return tokens, decoded, reference


@pytest.mark.parametrize("size", [(33, 31), (16, 16), (8, 8), (1, 1), (48, 80)])
@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_decoder_agrees_with_encoder(model: MotionTokenizer, size: tuple[int, int], last: int) -> None:
    tokens, _, _ = code(model, clip(5 + last, size), [1, 4, last])
    for group, count in zip(tokens, (1, 4, last), strict=True):
        layers = model.layers(count, first=count == 1 and "intra.0" in group)
        assert list(group) == [layer.name for layer in layers]
        for layer in layers:
            assert group[layer.name].shape == layer.shape(size)
            assert group[layer.name].dtype == np.int32
            if layer.number is not None:
                assert tokens_valid(group[layer.name]).all()


def test_pictures_are_worth_looking_at(model: MotionTokenizer) -> None:
    pictures = clip(9, (48, 80))
    _, decoded, _ = code(model, pictures, [1, 4, 4])
    error = np.concatenate(decoded).astype(float) - np.stack(pictures)
    assert np.abs(error).mean() < 30


def test_layers_of_all_counts() -> None:
    names = {count: [layer.name for layer in group_layers(MotionConfig(), count)] for count in range(1, 5)}
    anchor = ["motion.anchor", "depth.anchor", "anchor.0", "anchor.1", "anchor.2", "anchor.3"]
    middle = ["motion.middle", "depth.middle", "middle.0", "middle.1"]
    quarters = ["motion.quarters", "depth.quarters", "quarters.0", "quarters.1"]
    assert names == {
        1: anchor,
        2: anchor + middle,
        3: anchor + middle + quarters,
        4: anchor + middle + quarters,
    }
    for count in range(1, 5):
        assert sorted(sum(places(count).values(), ())) == list(range(count))
    shapes = {layer.name: layer.shape((33, 50)) for layer in group_layers(MotionConfig(), 4)}
    assert shapes["motion.anchor"] == (1, 3, 4)
    assert shapes["depth.quarters"] == (2, 2, 2)
    assert shapes["middle.0"] == (1, 6, 8)


def test_a_block_without_tokens_is_its_prediction(model: MotionTokenizer) -> None:
    """No motion, no depth: the reference itself, bit for bit, chain after chain."""
    _, decoded, reference = code(model, clip(1, (48, 80)), [1])
    for _ in range(3):
        pictures, reference = model.decode_group({}, 4, (48, 80), reference, Q)
    assert np.array_equal(pictures[3], decoded[0][0])
    # Pictures between mix two equal predictions.
    assert np.array_equal(pictures[1], decoded[0][0])


def test_still_pictures_cost_nothing(model: MotionTokenizer) -> None:
    _, decoded, reference = code(model, clip(1, (48, 80)), [1])
    still = [decoded[0][0]] * 4
    tokens, _ = encode_plain(model.encode_group(still, reference, Q))
    assert not any(tokens[f"motion.{part}"].any() for part in places(4))


def test_vectors_may_point_anywhere(model: MotionTokenizer) -> None:
    _, _, reference = code(model, clip(1, (33, 31)), [1])
    rng = np.random.default_rng(0)
    tokens = {
        layer.name: rng.integers(0, 1 << 18, layer.shape((33, 31)), dtype=np.int32)
        for layer in model.layers(4, first=False)
        if layer.name.startswith("motion")
    }
    for _ in range(3):
        pictures, reference = model.decode_group(tokens, 4, (33, 31), reference, Q)
    assert pictures.shape == (4, 33, 31, 3)
    again = model.encode_group(list(pictures), reference, Q)
    for layer in again.layers:
        chosen = tokens.get(layer.name, np.zeros(layer.shape((33, 31)), np.int32))
        again = again.take(layer.name, chosen)
    expected, _ = model.decode_group(tokens, 4, (33, 31), reference, Q)
    assert np.array_equal(again.close()[0], expected)


def test_encoders_are_immutable(model: MotionTokenizer) -> None:
    _, _, reference = code(model, clip(1, (32, 48)), [1])
    start = model.encode_group(clip(5, (32, 48))[1:], reference, Q)
    first, closed = encode_plain(start)
    moved = np.ones_like(first["motion.anchor"])
    start.take("motion.anchor", moved)
    second, again = encode_plain(start)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert np.array_equal(closed.close()[0], again.close()[0])
    with pytest.raises(ValueError, match=r"motion\.anchor"):
        start.options("depth.anchor")
    with pytest.raises(ValueError, match="not taken"):
        start.close()
    with pytest.raises(ValueError, match="shape"):
        start.take("motion.anchor", moved[:, :1])


def walk(model: MotionTokenizer, name: str) -> GroupEncoder:
    """An encoder that has come to the layer `name`, taking plain tokens."""
    _, _, reference = code(model, clip(1, (32, 48)), [1])
    encoder = model.encode_group(clip(5, (32, 48), 3)[1:], reference, 2.0)
    while encoder.next_layer is not None and encoder.next_layer.name != name:
        encoder = encoder.take(encoder.next_layer.name, encoder.options(encoder.next_layer.name).plain)
    return encoder


def test_plain_tokens_are_the_digits_of_the_rounded_numbers(model: MotionTokenizer) -> None:
    encoder = walk(model, "depth.anchor")
    full = np.full((1, 2, 3), len(depth_choices(4)) - 1, np.int32)
    encoder = encoder.take("depth.anchor", pack_depth(full))
    quantizer = model.anchor.quantizer
    for number in range(4):
        options = encoder.options(f"anchor.{number}")
        assert isinstance(options, NumberOptions)
        planned = quantizer.numbers(quantizer.plain(options.scaled))
        assert torch.equal(options.planned, planned)
        assert torch.equal(options.channel, quantizer.channel[9 * number : 9 * number + 9])
        assert bool(options.coded.all())
        encoder = encoder.take(f"anchor.{number}", options.plain)


def test_later_layers_make_the_best_of_what_was_chosen(model: MotionTokenizer) -> None:
    """After a layer that was left empty, numbers are as near as the digits left allow."""
    encoder = walk(model, "depth.anchor")
    full = np.full((1, 2, 3), len(depth_choices(4)) - 1, np.int32)
    encoder = encoder.take("depth.anchor", pack_depth(full))
    before = encoder.options("anchor.0")
    assert isinstance(before, NumberOptions)
    assert before.plain.any()
    after = encoder.take("anchor.0", np.zeros_like(before.plain)).options("anchor.1")
    assert isinstance(after, NumberOptions)
    first = model.anchor.quantizer.values(after.planned)[:, :9]
    assert not first.any()
    # Numbers with higher digits come as near as a multiple of 3 can.
    held = model.anchor.quantizer.limit >= 4
    near = (after.planned - before.planned)[:, held].abs()
    inside = (before.planned[:, held].abs() <= 3) & torch.isin(
        model.anchor.quantizer.channel.unique(), before.channel
    )[held][:, None, None]
    assert near[inside].max() <= 1


def test_depth_says_how_many_layers_blocks_need(model: MotionTokenizer) -> None:
    encoder = walk(model, "depth.anchor")
    options = encoder.options("depth.anchor")
    assert isinstance(options, DepthOptions)
    assert options.errors.shape == (1, 4, 2, 3)
    # More layers never make it worse.
    assert (options.errors.diff(dim=1) <= 1e-3).all()
    counts = coded_layers(options.plain, 2, 3, 4)
    encoder = encoder.take("depth.anchor", options.plain)
    for number in range(4):
        layer = encoder.options(f"anchor.{number}")
        assert isinstance(layer, NumberOptions)
        assert np.array_equal(layer.coded.numpy(), counts > number)
        assert not layer.plain[counts <= number].any()
        encoder = encoder.take(f"anchor.{number}", layer.plain)


def test_errors_are_in_squared_8_bit_steps(model: MotionTokenizer) -> None:
    """The errors of depth 0 are what the linear path would have added."""
    encoder = walk(model, "depth.middle")
    options = encoder.options("depth.middle")
    assert isinstance(options, DepthOptions)
    numbers = encoder._numbers
    basis = model.between.out.weight
    latents = numbers.scaled / model.between.quantizer.gains(torch.tensor([2.0]))
    # By channel, as if the directions were orthogonal.
    energy = (latents[0].square() * basis.square().sum(0)[:, None, None]).sum() * 255**2
    torch.testing.assert_close(options.errors[:, 0].sum(), energy, rtol=1e-4, atol=1e-3)


def test_shallow_depth_limits_the_numbers(model: MotionTokenizer) -> None:
    encoder = walk(model, "depth.anchor")
    one = np.full((1, 2, 3), 1, np.int32)
    encoder = encoder.take("depth.anchor", pack_depth(one))
    options = encoder.options("anchor.0")
    assert isinstance(options, NumberOptions)
    encoder = encoder.take("anchor.0", options.plain)
    for number in (1, 2, 3):
        later = encoder.options(f"anchor.{number}")
        assert not later.plain.any()
        encoder = encoder.take(f"anchor.{number}", later.plain)
    assert np.array_equal(encoder._numbers.quantizer.numbers(encoder._numbers.values), options.planned)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (5, 4)])
def test_depth_tokens_come_back(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    choices = rng.integers(0, 4, (2, rows, columns), dtype=np.int32)
    tokens = pack_depth(choices)
    assert tokens.shape == (2, -(-rows // 2), -(-columns // 2))
    assert np.array_equal(unpack_depth(tokens, rows, columns), choices)
    assert depth_valid(tokens, rows, columns, 4)
    assert not depth_valid(tokens | 1 << 8, rows, columns, 4)
    assert not depth_valid(pack_depth(np.full_like(choices, 3)), rows, columns, 2)
    if rows % 2:
        assert not depth_valid(tokens | 1 << 4, rows, columns, 4)


def test_depth_choices() -> None:
    assert [depth_choices(n) for n in (1, 2, 3, 4, 6)] == [
        (0, 1),
        (0, 1, 2),
        (0, 1, 2, 3),
        (0, 1, 2, 4),
        (0, 1, 2, 6),
    ]


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("anchor.0", 1 << 9),
        ("anchor.0", 1),
        ("motion.middle", 1 << 18),
        ("depth.quarters", 3),
        ("anchor.1", 1 << 18),
    ],
)
def test_tokens_that_mean_nothing_are_refused(model: MotionTokenizer, name: str, token: int) -> None:
    """Among them: a token where depth says that there is none."""
    _, _, reference = code(model, clip(1, (32, 48)), [1])
    shape = {layer.name: layer.shape((32, 48)) for layer in model.layers(4, first=False)}[name]
    with pytest.raises(BitstreamError):
        model.decode_group({name: np.full(shape, token, np.int32)}, 4, (32, 48), reference, Q)
    with pytest.raises(BitstreamError, match="shape"):
        model.decode_group({name: np.zeros((1, 1, 9), np.int32)}, 4, (32, 48), reference, Q)


def test_unknown_tokens_count_as_zero(model: MotionTokenizer) -> None:
    tokens, _, _ = code(model, clip(1, (32, 48)), [1])
    lost = dict(tokens[0])
    lost["intra.1"] = np.full_like(lost["intra.1"], -1)
    without = {name: each for name, each in tokens[0].items() if name != "intra.1"}
    first, _ = model.decode_group(lost, 1, (32, 48), None, Q)
    second, _ = model.decode_group(without, 1, (32, 48), None, Q)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("name", ["anchor", "between"])
def test_decoding_where_the_gate_is_open_is_decoding(model: MotionTokenizer, name: str, share: float) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    h, w = 14, 19
    picked = torch.rand(1, 1, h, w, generator=generator) < share
    signs = torch.randint(-1, 2, (1, 9 * network.quantizer.layers, h, w), generator=generator)
    values = (signs * picked).float()
    pictures = to_patches(torch.rand(2, 3, 8 * h, 8 * w, generator=generator) - 0.5)
    q = torch.tensor([Q])
    if name == "anchor":
        context = network.context(pictures[:1], q)
    else:
        context = network.context(pictures[:1], pictures[1:], q, torch.zeros(1))
    decoded = network.quantizer.numbers(values) / network.quantizer.gains(q)
    everywhere = network.decode(decoded, values, context)
    torch.testing.assert_close(
        network.decode_open(decoded, values, context), everywhere, rtol=1e-5, atol=1e-6
    )
    closed = ~near_tokens(values)[0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert not everywhere[0][:, closed].any()


@pytest.mark.parametrize("name", ["anchor", "between"])
def test_the_encoder_looks_closer_where_tokens_are_likely(model: MotionTokenizer, name: str) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    prediction = (torch.rand(1, 3, 64, 64, generator=generator) - 0.5).round(decimals=2)
    change = torch.zeros_like(prediction)
    change[..., 24:40, 24:40] = 0.3
    patches, q = to_patches(prediction), torch.tensor([Q])
    context = (
        network.context(patches, q) if name == "anchor" else network.context(patches, 0 * patches, q, 0 * q)
    )
    latents = network.analyse_likely(prediction + change, context, network.quantizer.gains(q))
    exact = network.analyse(prediction + change, context)
    linear = network.into(to_patches(change))
    assert not torch.equal(latents[..., 3:5, 3:5], linear[..., 3:5, 3:5])
    torch.testing.assert_close(latents[..., :2, :], linear[..., :2, :])
    # All of it is likely where everything changes.
    everywhere = network.analyse_likely(
        prediction * 0 - prediction, context, network.quantizer.gains(q) * 1e4
    )
    torch.testing.assert_close(everywhere, network.analyse(-prediction, context), rtol=1e-4, atol=1e-5)
    assert exact.shape == latents.shape


def test_patches_are_those_of_pixel_unshuffle() -> None:
    pictures = torch.rand(2, 3, 16, 24)
    patches = F.pixel_unshuffle(pictures, 8)
    assert torch.equal(to_patches(pictures), patches)
    assert torch.equal(from_patches(patches), pictures)
    assert torch.equal(enlarge(patches, 4), F.pixel_shuffle(patches, 4))


def test_regions_grow_by_their_neighbours() -> None:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 0] = mask[3, 4] = True
    grown = Region(mask).grown()
    assert grown.mask.sum() == 8
    assert Region(mask).within(grown).tolist() == [0, 7]


def test_configuration_travels_as_json() -> None:
    assert parse_config(SMALL.to_json()) == SMALL
    built = build_tokenizer(SMALL)
    assert isinstance(built, MotionTokenizer)


@pytest.mark.parametrize(
    "change",
    [
        {"intra_width": 0},
        {"anchor_layers": 1.5},
        {"intra_levels": 7},
        {"between_rounding": 0.7},
        {"between_rounding": None},
        {"intra_channels": 8},
        {"mask_width": True},
        {"anchor_digits": 99},
    ],
)
def test_bad_configurations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        parse_config(json.dumps({**json.loads(SMALL.to_json()), **change}))


def test_a_checkpoint_becomes_a_model_file(model: MotionTokenizer, tmp_path: Path) -> None:
    state = model.state_dict()
    intra = {name.removeprefix("intra."): each for name, each in state.items() if name.startswith("intra.")}
    groups = {name: each for name, each in state.items() if not name.startswith("intra.")}
    rates = Rates(1, SMALL.intra_layers)
    intra |= {f"rates.{name}": each for name, each in rates.state_dict().items()}
    tensors = model_tensors(SMALL, {**intra, "steps": torch.tensor(7)}, groups)
    save_tokenizer(tmp_path / "model.safetensors", SMALL, tensors, {})
    loaded = MotionTokenizer(SMALL)
    loaded.load_state_dict({name: each.float() for name, each in tensors.items()})
    assert torch.equal(loaded.intra.quantizer.channel, model.intra.quantizer.channel)
    rates.load_state_dict(rate_tensors(intra))
    with pytest.raises(WeightsError, match="fit"):
        model_tensors(SMALL, {}, groups)
