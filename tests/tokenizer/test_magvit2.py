"""The `magvit2` tokenizer: sizes of the paper, causality, carried state, inflation, and its weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from codec_support import ENVIRONMENT, fail, succeed, y4m

from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.magvit2.config import IMAGE_16X, IMAGE_32X, Magvit2Config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.tokenizer.registry import build_tokenizer, parse_config
from lfqcodec.train.tokenizer.losses import commitment
from lfqcodec.weights.loading import load_tokenizer, save_tokenizer
from lfqcodec.weights.store import read_model

TINY = Magvit2Config(base_channels=8, groups=4, residual_blocks=1)
# Two stages, a wider latent vector than the bits: what the paper does not have.
RESIDUAL = dataclasses.replace(TINY, stages=2, latent_channels=24, residual_blocks=2)
VIDEO = Magvit2Config()


def lively(config: Magvit2Config) -> Magvit2Tokenizer:
    """A tokenizer in which every weight matters: those that start at zero would hide mistakes."""
    torch.manual_seed(5)
    model = Magvit2Tokenizer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.08 * torch.randn_like(parameter))
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> Magvit2Tokenizer:
    return lively(RESIDUAL)


def clip(frames: int, height: int = 24, width: int = 32, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1


def by_frame(difference: torch.Tensor) -> torch.Tensor:
    return difference.abs().amax((0, 1, 3, 4))


# Sizes --------------------------------------------------------------------------------------------


def parts_by_hand(config: Magvit2Config) -> dict[str, int]:
    """Parameters of encoder, quantizer and decoder, from the description alone."""
    k, n, d = config.temporal_kernel, config.residual_blocks, config.latent_channels
    widths = config.widths

    def conv(a: int, b: int, taps: int) -> int:
        return a * b * taps + b

    def blocks(a: int, b: int) -> int:
        total, inputs = 0, a
        for _ in range(n):
            total += 2 * inputs + conv(inputs, b, 9 * k) + 2 * b + conv(b, b, 9 * k)
            total += conv(inputs, b, 1) if inputs != b else 0
            inputs = b
        return total

    encoder = conv(3, widths[0], 9 * k)
    for level, width in enumerate(widths):
        encoder += blocks(widths[max(0, level - 1)], width)
        encoder += conv(width, width, 9 * k) if level + 1 < len(widths) else 0
    encoder += 2 * widths[-1] + conv(widths[-1], d, 1)

    decoder = conv(d, widths[-1], 9 * k)
    for level in reversed(range(len(widths))):
        above = widths[min(level + 1, len(widths) - 1)]
        decoder += conv(d, 2 * above, 1) + blocks(above, widths[level])
        if level:
            out = 4 * config.temporal_strides[level - 1] * widths[level]
            decoder += conv(widths[level], out, 9 * k)
    decoder += 2 * widths[0] + conv(widths[0], 3, 9 * k)
    quantizer = config.stages * (conv(d, 18, 1) + conv(18, d, 1))
    return {"encoder": encoder, "quantizer": quantizer, "decoder": decoder}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(VIDEO, 257_305_153), (IMAGE_16X, 77_385_153), (IMAGE_32X, 126_976_961)],
    ids=["video", "image16", "image32"],
)
def test_parameters_are_those_of_the_description(config: Magvit2Config, parameters: int) -> None:
    with torch.device("meta"):
        model = build_tokenizer(config)
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert found == parts_by_hand(config)
    assert sum(found.values()) == parameters


@pytest.mark.parametrize(
    ("config", "frames", "size", "latents"),
    [(VIDEO, 17, 128, 5), (VIDEO, 1, 128, 1), (IMAGE_16X, 1, 256, 1), (IMAGE_32X, 1, 512, 1)],
    ids=["video", "first frame", "image16", "image32"],
)
def test_shapes_of_the_paper(config: Magvit2Config, frames: int, size: int, latents: int) -> None:
    with torch.device("meta"):
        model = build_tokenizer(config)
        video = torch.empty(1, 3, frames, size, size)
        coded, _ = model.analyse(video)
        tokens = model.quantize(coded, 1)
        back, _ = model.synthesise(coded)
    assert tokens.shape == (1, 1, latents, 16, 16)
    assert back.shape == video.shape


@pytest.mark.parametrize("frames", [1, 5, 17, 33])
def test_shapes_follow_from_the_number_of_frames(model: Magvit2Tokenizer, frames: int) -> None:
    latents, _ = model.analyse(clip(frames, batch=2))
    assert latents.shape == (2, 24, 1 + (frames - 1) // 4, 3, 4)
    tokens = model.quantize(latents, 2)
    assert tokens.shape == (2, 2, latents.shape[2], 3, 4)
    assert model.dequantize(tokens).shape == latents.shape
    video, _ = model.synthesise(latents)
    assert video.shape == (2, 3, frames, 24, 32)


def test_a_picture_of_one_latent_position_can_be_coded(model: Magvit2Tokenizer) -> None:
    video, _ = model.synthesise(model.analyse(clip(5, 8, 8))[0])
    assert torch.isfinite(video).all()


@pytest.mark.parametrize("config", [IMAGE_16X, IMAGE_32X], ids=["16", "32"])
def test_images_do_not_know_each_other(config: Magvit2Config) -> None:
    small = dataclasses.replace(config, base_channels=4, groups=2, residual_blocks=1)
    model, size = lively(small), 2 * config.spatial_factor
    images = clip(3, size, size)
    latents, _ = model.analyse(images)
    assert latents.shape == (1, 18, 3, 2, 2)
    alone, _ = model.analyse(images[:, :, 1:2])
    torch.testing.assert_close(latents[:, :, 1:2], alone, atol=1e-5, rtol=1e-5)
    back, _ = model.synthesise(latents)
    assert back.shape == images.shape
    torch.testing.assert_close(back[:, :, 1:2], model.synthesise(alone)[0], atol=1e-5, rtol=1e-5)


# Time ---------------------------------------------------------------------------------------------


def chunked(step, parts):
    out, state = [], None
    for part in parts:
        piece, state = step(part, state)
        out.append(piece)
    return torch.cat(out, 2)


@pytest.mark.parametrize("frames", [(17, 16, 16, 8), (1, 4, 4, 4), (5, 4, 8)])
def test_chunk_by_chunk_equals_one_run_over_the_gop(model: Magvit2Tokenizer, frames: tuple[int, ...]) -> None:
    video = clip(sum(frames))
    whole, _ = model.analyse(video)
    parts = chunked(model.analyse, video.split(frames, 2))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
    back, _ = model.synthesise(whole)
    lengths = [-(-count // 4) for count in frames]
    pieces = chunked(model.synthesise, whole.split(lengths, 2))
    torch.testing.assert_close(pieces, back, atol=1e-5, rtol=1e-5)


def test_the_state_matters(model: Magvit2Tokenizer) -> None:
    """Without it the test above would pass for a tokenizer that ignores time."""
    video = clip(9)
    whole, _ = model.analyse(video)
    _, state = model.analyse(torch.zeros(1, 3, 5, 24, 32))
    other, _ = model.analyse(video[:, :, 5:], state)
    assert (other - whole[:, :, 2:]).abs().max() > 1e-3
    back, _ = model.synthesise(whole)
    _, state = model.synthesise(torch.zeros_like(whole[:, :, :2]))
    assert (model.synthesise(whole[:, :, 2:], state)[0] - back[:, :, 5:]).abs().max() > 1e-3


def test_the_state_holds_no_more_than_the_context(model: Magvit2Tokenizer) -> None:
    _, state = model.analyse(clip(17))
    assert {tensor.shape[2] for tensor in state.values()} == {1, 2}
    sizes = [tensor.untyped_storage().nbytes() == tensor.numel() * 4 for tensor in state.values()]
    assert all(sizes)


@pytest.mark.parametrize("changed", [0, 1, 4, 5, 9, 16])
def test_encoder_is_causal(model: Magvit2Tokenizer, changed: int) -> None:
    video = clip(17)
    other = video.clone()
    other[:, :, changed] = -other[:, :, changed]
    difference = by_frame(model.analyse(other)[0] - model.analyse(video)[0])
    first = (changed + 3) // 4
    assert torch.all(difference[:first] == 0)
    assert difference[first] > 1e-4


@pytest.mark.parametrize("changed", [0, 1, 3])
def test_decoder_is_causal(model: Magvit2Tokenizer, changed: int) -> None:
    latents, _ = model.analyse(clip(17))
    other = latents.clone()
    other[:, :, changed] += torch.randn_like(other[:, :, changed])
    difference = by_frame(model.synthesise(other)[0] - model.synthesise(latents)[0])
    first = 0 if changed == 0 else 4 * changed - 3
    assert torch.all(difference[:first] == 0)
    assert difference[first] > 1e-4


def test_an_image_is_the_one_frame_case(model: Magvit2Tokenizer) -> None:
    video = clip(17)
    latents, _ = model.analyse(video)
    image, _ = model.analyse(video[:, :, :1])
    torch.testing.assert_close(image, latents[:, :, :1], atol=1e-5, rtol=1e-5)
    picture, _ = model.synthesise(image)
    torch.testing.assert_close(picture, model.synthesise(latents)[0][:, :, :1], atol=1e-5, rtol=1e-5)


# Inflation ----------------------------------------------------------------------------------------


def test_inflation_keeps_images_and_holds_frames() -> None:
    model = lively(RESIDUAL)
    image = clip(1)
    latents = model.analyse(image)[0]
    picture = model.synthesise(latents)[0]
    model.inflate()
    assert torch.equal(model.analyse(image)[0], latents)
    assert torch.equal(model.synthesise(latents)[0], picture)
    still = image.expand(-1, -1, 9, -1, -1)
    coded = model.analyse(still)[0]
    torch.testing.assert_close(coded, latents.expand(-1, -1, 3, -1, -1), atol=1e-5, rtol=1e-5)
    back = model.synthesise(coded)[0]
    torch.testing.assert_close(back, picture.expand(-1, -1, 9, -1, -1), atol=1e-5, rtol=1e-5)
    state = model.analyse(image)[1]
    later = model.analyse(still[:, :, :4], state)[0]
    torch.testing.assert_close(later, latents, atol=1e-5, rtol=1e-5)


def test_images_train_what_inflation_keeps() -> None:
    """The gradient of images is zero exactly where `inflate` would throw weights away."""
    model = lively(TINY).train().requires_grad_(True)
    output, losses = model(clip(1, batch=2), torch.tensor([1, 1]))
    (output.square().mean() + commitment(losses.scores, losses.signs)).backward()
    kernels = [(name, p) for name, p in model.named_parameters() if p.ndim == 5 and p.shape[2] == 3]
    assert len(kernels) > 20
    for name, weight in kernels:
        assert not weight.grad[:, :, :-1].any(), name
        assert weight.grad[:, :, -1].any(), name
    up = model.decoder.levels[0].up.conv.weight.grad.unflatten(0, (2, -1))
    assert not up[0].any()


def test_new_models_are_inflated_ones() -> None:
    model = Magvit2Tokenizer(TINY)
    for name, weight in model.named_parameters():
        if weight.ndim == 5 and weight.shape[2] == 3:
            assert not weight[:, :, :-1].any(), name
            assert weight[:, :, -1].any(), name


# Training pass ------------------------------------------------------------------------------------


def test_training_pass_agrees_with_coding(model: Magvit2Tokenizer) -> None:
    video = clip(5, batch=2)
    output, losses = model(video, torch.tensor([1, 2]))
    latents, _ = model.analyse(video)
    for item, stages in enumerate((1, 2)):
        tokens = model.quantize(latents[item : item + 1], stages)
        back, _ = model.synthesise(model.dequantize(tokens))
        torch.testing.assert_close(output[item : item + 1], back, atol=1e-4, rtol=1e-4)
    assert losses.latents.shape == (4, 24, 3, 4)
    assert torch.equal(losses.signs, torch.where(losses.scores > 0, 1.0, -1.0))


def test_gradients_reach_every_parameter_of_a_video() -> None:
    model = lively(RESIDUAL).train().requires_grad_(True)
    output, losses = model(clip(9, batch=2), torch.tensor([2, 2]))
    (output.square().mean() + commitment(losses.scores, losses.signs)).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_one_stage_starts_as_the_quantizer_of_the_paper() -> None:
    model = Magvit2Tokenizer(TINY).eval()
    with torch.inference_mode():
        latents = torch.randn(1, 18, 2, 3, 4)
        coded = model.dequantize(model.quantize(latents, 1))
    assert torch.equal(coded, torch.where(latents > 0, 1.0, -1.0))


# Configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "motion"}, "unknown tokenizer architecture 'motion'"),
        ({"stages": 0}, "0 stages"),
        ({"stages": 9}, "9 stages"),
        ({"base_channels": 0, "groups": 1}, "base_channels times a multiplier"),
        ({"base_channels": 2048}, "base_channels times a multiplier"),
        ({"base_channels": 128.0}, "base_channels must be an integer"),
        ({"base_channels": "128"}, "base_channels must be an integer"),
        ({"stages": True}, "stages must be an integer"),
        ({"multipliers": (1,), "temporal_strides": ()}, "2 to 7 multipliers"),
        ({"multipliers": (1,) * 8}, "2 to 7 multipliers"),
        ({"multipliers": (1, 2, 0, 4)}, "base_channels times a multiplier"),
        ({"multipliers": 4}, "multipliers must be a list of integers"),
        ({"multipliers": (1, 2, (2,), 4)}, "multipliers must be a list of integers"),
        ({"residual_blocks": 0}, "residual_blocks must be"),
        ({"residual_blocks": 17}, "residual_blocks must be"),
        ({"temporal_strides": (2, 2)}, "one temporal stride less"),
        ({"temporal_strides": (1, 1, 4)}, "temporal strides must be 1 or 2"),
        ({"temporal_strides": (1, 1, 2)}, "come to 1 or 4"),
        ({"temporal_strides": (2, 2, 2)}, "come to 1 or 4"),
        ({"temporal_kernel": 1}, "temporal_kernel must be 3"),
        ({"temporal_strides": (1, 1, 1)}, "1 in a model of images"),
        ({"latent_channels": 17}, "latent_channels must lie"),
        ({"latent_channels": 1 << 30}, "latent_channels must lie"),
        ({"groups": 0}, "groups must divide"),
        ({"groups": 48}, "groups must divide"),
        ({"groups": 128}, "groups must divide"),
    ],
    ids=str,
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        Magvit2Config(**change)
    fields = dataclasses.asdict(VIDEO) | change
    if fields["architecture"] == "magvit2":
        with pytest.raises(WeightsError, match=message):
            parse_config(json.dumps(fields))


@pytest.mark.parametrize("config", [VIDEO, IMAGE_32X, RESIDUAL], ids=str)
def test_configurations_survive_json(config: Magvit2Config) -> None:
    assert parse_config(config.to_json()) == config
    assert type(config).from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "[]",
            "3",
            "{}x",
            '{"colour": 1}',
            '{"architecture": "other"}',
            '{"architecture": ["magvit2"]}',
        ),
        *('{"architecture": "magvit2", "widths": [1, 2, 3]}', "[" * 100_000),
        VIDEO.to_json().replace('"groups": 32', '"groups": 32.0'),
        VIDEO.to_json().replace('"groups": 32, ', ""),
        VIDEO.to_json().replace('"groups": 32', '"groups": 32, "expansion": 2.5'),
    ],
    ids=lambda text: text[:20],
)
def test_other_texts_are_no_configuration(text: str) -> None:
    with pytest.raises(WeightsError):
        parse_config(text)


def test_factors_follow_from_the_levels() -> None:
    assert [c.spatial_factor for c in (VIDEO, IMAGE_16X, IMAGE_32X)] == [8, 16, 32]
    assert [c.temporal_factor for c in (VIDEO, IMAGE_16X, IMAGE_32X)] == [4, 1, 1]


# Weights -------------------------------------------------------------------------------------------


def saved(path: Path, config: Magvit2Config) -> Path:
    tensors = {name: value.half() for name, value in lively(config).state_dict().items()}
    save_tokenizer(path, config, tensors, {"name": path.stem})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny-magvit2.safetensors", RESIDUAL)


def test_the_command_knows_the_model_and_codes_nothing_with_it(weights: Path, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "LFQCODEC_MODELS": str(weights.parent)}
    listed = {entry["name"]: entry for entry in json.loads(succeed("weights", "--json", env=environment))}
    assert listed["tiny-magvit2"]["architecture"] == "magvit2"
    source, lfq = tmp_path / "in.y4m", tmp_path / "out.lfq"
    source.write_bytes(y4m(1, (16, 16)))
    message = fail(5, "encode", source, lfq, "--model", weights, "--device", "cpu")
    assert message.endswith("model tiny-magvit2 cannot code .lfq files: it does not predict motion")
    assert not lfq.exists()


def test_weights_that_do_not_fit_are_refused(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    tensors = dict(lively(TINY).state_dict())
    save_tokenizer(path, RESIDUAL, tensors, {})
    with pytest.raises(WeightsError, match="does not fit its configuration"):
        load_tokenizer(read_model(path), torch.device("cpu"))
    # The largest configuration there is needs no memory before the tensors are found wanting.
    largest = Magvit2Config(base_channels=4096, multipliers=(1,) * 4, residual_blocks=16, groups=32)
    save_tokenizer(path, largest, tensors, {})
    with pytest.raises(WeightsError, match="does not fit its configuration"):
        load_tokenizer(read_model(path), torch.device("cpu"))
