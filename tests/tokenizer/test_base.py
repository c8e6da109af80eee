"""The tokenizer's promises: shapes, causality, carried state, the sign rule, initialisation, inflation."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.bitstream import latent_frames
from lfqcodec.bitstream.geometry import padded_frames
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.base.config import BaseConfig
from lfqcodec.tokenizer.base.tokenizer import BaseTokenizer, to_patches
from lfqcodec.tokenizer.lfq.binary import ResidualLFQ
from lfqcodec.train.tokenizer.losses import commitment

SMALL = BaseConfig(
    stages=4,
    widths=(32, 32, 48),
    encoder_blocks=(1, 2, 1),
    decoder_blocks=(2, 1, 1),
    latent_channels=32,
    refine_channels=8,
)


def lively(config: BaseConfig = SMALL) -> BaseTokenizer:
    """A tokenizer in which every weight matters: many start at zero, which would hide mistakes."""
    torch.manual_seed(5)
    model = BaseTokenizer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.08 * torch.randn_like(parameter))
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> BaseTokenizer:
    return lively()


def clip(frames: int, height: int = 32, width: int = 40, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1


def test_default_config_has_the_latent_shape_of_the_design() -> None:
    model = BaseTokenizer(BaseConfig()).eval()
    with torch.inference_mode():
        latents, _ = model.analyse(clip(17, 128, 128))
        tokens = model.quantize(latents, 4)
        video, _ = model.synthesise(model.dequantize(tokens))
    assert tokens.shape == (1, 4, 5, 16, 16)
    assert video.shape == (1, 3, 17, 128, 128)
    # One shared file of half-precision weights must stay below 25 MB.
    assert 2 * sum(p.numel() for p in model.parameters()) < 25e6


@pytest.mark.parametrize("frames", [1, 5, 17, 33])
def test_shapes_follow_from_the_number_of_frames(model: BaseTokenizer, frames: int) -> None:
    latents, _ = model.analyse(clip(frames, batch=2))
    assert latents.shape == (2, 32, 1 + (frames - 1) // 4, 4, 5)
    video, _ = model.synthesise(latents)
    assert video.shape == (2, 3, frames, 32, 40)


def test_chunk_by_chunk_equals_one_run_over_the_gop(model: BaseTokenizer) -> None:
    video = clip(17 + 16 + 16 + 8)
    whole, _ = model.analyse(video)
    parts, state = [], None
    for begin, end in ((0, 17), (17, 33), (33, 49), (49, 57)):
        part, state = model.analyse(video[:, :, begin:end], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 2), whole, atol=1e-5, rtol=1e-5)

    back, _ = model.synthesise(whole)
    frames, state = [], None
    for part in parts:
        piece, state = model.synthesise(part, state)
        frames.append(piece)
    torch.testing.assert_close(torch.cat(frames, 2), back, atol=1e-5, rtol=1e-5)


def test_the_state_matters(model: BaseTokenizer) -> None:
    """Without it the test above would pass for a tokenizer that ignores time."""
    video = clip(33)
    whole, _ = model.analyse(video)
    _, state = model.analyse(torch.zeros(1, 3, 17, 32, 40))
    other, _ = model.analyse(video[:, :, 17:], state)
    assert (other - whole[:, :, 5:]).abs().max() > 1e-3


@pytest.mark.parametrize("changed", [0, 1, 4, 5, 9, 16])
def test_encoder_is_causal(model: BaseTokenizer, changed: int) -> None:
    video = clip(17)
    before, _ = model.analyse(video)
    other = video.clone()
    other[:, :, changed] = -other[:, :, changed]
    after, _ = model.analyse(other)
    difference = (after - before).abs().amax((0, 1, 3, 4))
    first = latent_frames(changed + 1, gop_start=True) - 1  # the latent frame that codes the changed frame
    assert torch.all(difference[:first] == 0)
    assert difference[first] > 1e-4


@pytest.mark.parametrize("changed", [0, 1, 3])
def test_decoder_is_causal(model: BaseTokenizer, changed: int) -> None:
    latents, _ = model.analyse(clip(17))
    before, _ = model.synthesise(latents)
    other = latents.clone()
    other[:, :, changed] += 1
    after, _ = model.synthesise(other)
    difference = (after - before).abs().amax((0, 1, 3, 4))
    first = 0 if changed == 0 else 4 * changed - 3
    assert torch.all(difference[:first] == 0)
    assert difference[first] > 1e-4


def test_an_image_is_the_one_frame_case(model: BaseTokenizer) -> None:
    video = clip(17)
    whole, _ = model.analyse(video)
    image, _ = model.analyse(video[:, :, :1])
    torch.testing.assert_close(image, whole[:, :, :1], atol=1e-5, rtol=1e-5)
    # The training path leaves out the temporal taps for images; that must not change the result.
    video_model = lively().train()
    trained, _ = video_model.analyse(video[:, :, :1])
    torch.testing.assert_close(trained, image, atol=1e-5, rtol=1e-5)


def test_fewer_stages_are_a_prefix_of_more(model: BaseTokenizer) -> None:
    latents, _ = model.analyse(clip(5))
    tokens = model.quantize(latents, 4)
    assert torch.equal(model.quantize(latents, 2), tokens[:, :2])
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < 2**18


def test_bit_order_and_sign_rule() -> None:
    quantizer = ResidualLFQ(18, 18, 1)
    with torch.no_grad():
        quantizer.project[0].weight.copy_(torch.eye(18)[:, :, None, None])
        quantizer.project[0].bias.zero_()
    z = torch.full((1, 18, 1, 1), -1.0)
    z[0, 0], z[0, 5], z[0, 17], z[0, 9] = 3.0, 1e-30, 0.5, 0.0  # zero counts as negative
    assert int(quantizer.quantize(z, 1)) == 2**0 + 2**5 + 2**17
    signs = quantizer.tokens_to_signs(torch.tensor([[[2**0 + 2**5 + 2**17]]]))
    assert [i for i in range(18) if signs[0, i, 0, 0] == 1] == [0, 5, 17]
    assert torch.all(signs.abs() == 1)


def test_training_pass_agrees_with_coding(model: BaseTokenizer) -> None:
    """What training reconstructs for k stages is what decoding k stages of the tokens gives."""
    video = clip(5, batch=2)
    output, losses = model(video, torch.tensor([1, 3]))
    latents, _ = model.analyse(video)
    for item, stages in enumerate((1, 3)):
        tokens = model.quantize(latents[item : item + 1], stages)
        back, _ = model.synthesise(model.dequantize(tokens))
        torch.testing.assert_close(output[item : item + 1], back, atol=1e-4, rtol=1e-4)
    assert torch.equal(losses.signs, torch.where(losses.scores > 0, 1.0, -1.0))


def test_stage_dropout_stops_gradients_of_dropped_stages() -> None:
    model = lively().train().requires_grad_(True)
    output, _ = model(clip(1), torch.tensor([2]))
    output.square().mean().backward()
    used = [float(layer.weight.grad.abs().max()) > 0 for layer in model.quantizer.expand]
    assert used == [True, True, False, False]


def test_gradients_reach_every_parameter_of_a_video() -> None:
    model = lively().train().requires_grad_(True)
    output, losses = model(clip(9, batch=2), torch.tensor([4, 4]))
    (output.square().mean() + commitment(losses.scores, losses.signs)).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_initialisation_is_a_working_transform_codec() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    images = []
    for i in range(24):
        wave = torch.sin(x / (3 + i % 7) + i) * torch.cos(y / (4 + i % 5))
        images.append(torch.stack([wave, 0.5 * wave + 0.3, -wave]) * 0.6)
    frames = torch.stack(images)
    model = BaseTokenizer(BaseConfig()).eval()
    model.requires_grad_(False).initialise_from(frames)
    video = frames[:, :, None]
    errors = []
    for stages in range(1, 5):
        tokens = model.quantize(model.analyse(video)[0], stages)
        back = model.synthesise(model.dequantize(tokens))[0]
        errors.append(float((back - video).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * float(video.var())


def test_inflation_keeps_images_and_holds_frames() -> None:
    torch.manual_seed(1)
    model = BaseTokenizer(SMALL).eval().requires_grad_(False)
    model.decoder.up1.second.weight.add_(0.1 * torch.randn_like(model.decoder.up1.second.weight))
    image = clip(1)
    before = model.synthesise(model.analyse(image)[0])[0]
    model.inflate()
    torch.testing.assert_close(model.synthesise(model.analyse(image)[0])[0], before)
    still = image.expand(-1, -1, 5, -1, -1)
    back = model.synthesise(model.analyse(still)[0])[0]
    # The temporal taps are still zero: an unmoving clip decodes to its image, frame for frame.
    torch.testing.assert_close(back, before.expand(-1, -1, 5, -1, -1), atol=1e-5, rtol=1e-5)


def test_patches_are_undone_by_the_shuffles_of_the_decoder() -> None:
    frames = torch.rand(2, 3, 16, 24)
    patches = to_patches(frames)
    assert patches.shape == (2, 192, 2, 3)
    half = torch.nn.functional.pixel_shuffle(patches, 2)
    assert torch.equal(torch.nn.functional.pixel_shuffle(half, 4), frames)


@pytest.mark.parametrize(
    ("frames", "gop_start", "latents", "padded"),
    [
        (1, True, 1, 1),
        (2, True, 2, 5),
        (5, True, 2, 5),
        (17, True, 5, 17),
        (1, False, 1, 4),
        (16, False, 4, 16),
    ],
)
def test_latent_frame_arithmetic(frames: int, gop_start: bool, latents: int, padded: int) -> None:
    assert latent_frames(frames, gop_start=gop_start) == latents
    assert padded_frames(frames, gop_start=gop_start) == padded


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "other"},
        {"bits": 17},
        {"stages": 0},
        {"widths": (1, 2)},
        {"encoder_blocks": (0, 1, 1)},
        {"latent_channels": 4096},
        {"expansion": 0},
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        BaseConfig(**change)  # type: ignore[arg-type]


def test_configuration_survives_json() -> None:
    assert BaseConfig.from_json(SMALL.to_json()) == SMALL
    for text in ("", "[]", "{}x", '{"colour": 1}', '{"widths": 5}'):
        with pytest.raises(WeightsError):
            BaseConfig.from_json(text)
