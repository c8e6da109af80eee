"""Losses of the tokenizer's training, each against a value worked out by hand, and the adversary."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lfqcodec.tokenizer.lfq.binary import Quantized, ResidualLFQ
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.train.checkpoint import copy_into
from lfqcodec.train.distributed import World
from lfqcodec.train.tokenizer import adversarial
from lfqcodec.train.tokenizer.adversarial import Adversary
from lfqcodec.train.tokenizer.config import LossConfig, Phase, TokenizerTrainConfig
from lfqcodec.train.tokenizer.discriminator import Around, BlurPool, Discriminator, DiscriminatorConfig
from lfqcodec.train.tokenizer.losses import commitment, entropy_weight_at, lfq_entropy, psnr, ssim
from lfqcodec.train.tokenizer.objective import Objective, draw

TINY = DiscriminatorConfig(base_channels=4, multipliers=(1, 2))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# Quantizer ------------------------------------------------------------------------------------------


def test_commitment_by_hand() -> None:
    scores = torch.tensor([0.5, -3.0]).view(1, 2, 1, 1).requires_grad_(True)
    value = commitment(scores, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1))
    assert float(value.detach()) == pytest.approx((0.5**2 + 2.0**2) / 2)
    value.backward()
    assert scores.grad.flatten().tolist() == pytest.approx([-0.5, -2.0])


def explicit_entropies(scores: Tensor, temperature: float) -> tuple[float, float]:
    """Of the softmax over all 2^bits codes, as the paper writes it."""
    bits = scores.shape[1]
    codes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=bits)))
    z = scores.movedim(1, -1).reshape(-1, 1, bits).double()
    p = torch.softmax(-(z - codes).square().sum(-1) / temperature, -1)
    sample = -(p * p.log()).sum(-1).mean()
    mean = p.mean(0)
    return float(sample), float(-(mean * mean.log()).sum())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_entropy_of_tokens_is_that_of_the_explicit_softmax(temperature: float) -> None:
    scores = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0)) * 0.7
    sample, batch = lfq_entropy(scores, temperature=temperature)
    expected_sample, expected_batch = explicit_entropies(scores, temperature)
    assert float(sample) == pytest.approx(expected_sample, rel=1e-4)
    assert float(batch) == pytest.approx(expected_batch, rel=1e-4)


def test_bits_that_are_always_equal_count_once() -> None:
    """In a subtoken; those of the other one are looked at apart."""
    scores = torch.full((2, 18, 1, 1), 9.0)
    scores[1] = -9.0
    assert [float(x) for x in lfq_entropy(scores)] == pytest.approx([0.0, 2 * math.log(2)], abs=1e-3)


def test_entropy_is_computed_in_float32_under_autocast() -> None:
    scores = torch.randn(2, 18, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = lfq_entropy(scores)
    assert [v.dtype for v in inside] == [torch.float32] * 2
    assert [float(v) for v in inside] == [float(v) for v in lfq_entropy(scores)]


def test_annealing_of_the_entropy_weight() -> None:
    weights = [entropy_weight_at(step, 0.1, 2000, 3.0) for step in (0, 1000, 2000, 9000)]
    assert weights == pytest.approx([0.3, 0.2, 0.1, 0.1])
    assert entropy_weight_at(0, 0.1, 0, 3.0) == pytest.approx(0.1)


# Quantizer -----------------------------------------------------------------------------------------------


def quantized(frames: int = 3, stages: int = 2) -> Quantized:
    torch.manual_seed(1)
    quantizer = ResidualLFQ(6, 4, stages)
    result: Quantized = quantizer(torch.randn(2 * frames, 6, 4, 5), torch.tensor([stages] * 2 * frames))
    return result


# Discriminator and GAN --------------------------------------------------------------------------------


def test_blur_pooling_keeps_constants_and_frequencies_apart() -> None:
    pool = BlurPool()
    assert float(pool.kernel.sum()) == pytest.approx(1.0)
    constant = torch.full((1, 2, 3, 6, 8), 0.7)
    torch.testing.assert_close(pool(constant), torch.full((1, 2, 2, 3, 4), 0.7))
    # What alternates from pixel to pixel would be one constant or the other by subsampling alone.
    stripes = torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 1, 1, 16).expand(1, 1, 1, 16, 16)
    assert pool(stripes)[..., 1:-1].abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 32, 32), (5, 32, 40), (17, 64, 32), (3, 33, 31)])
def test_discriminator_takes_any_clip(shape: tuple[int, int, int]) -> None:
    logits = Discriminator(TINY)(torch.randn(2, 3, *shape))
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()


def test_size_of_the_papers_discriminator() -> None:
    with torch.device("meta"):
        model = Discriminator(DiscriminatorConfig())

    def conv(a: int, b: int) -> int:
        return 27 * a * b + b

    widths = [128, 256, 512, 512, 512, 512]
    expected = conv(3, 128) + sum(conv(a, a) + conv(a, b) + a * b for a, b in itertools.pairwise(widths))
    expected += conv(512, 512) + (512 * 512 + 512) + (512 + 1)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_gan_losses_by_hand() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5])
    assert float(adversarial.generator_loss(fake)) == pytest.approx(softplus(-0.5))
    expected = (softplus(-2.0) + softplus(1.0)) / 2 + softplus(0.5)
    assert float(adversarial.discriminator_loss(real, fake)) == pytest.approx(expected)
    # Real logits above the average of fakes (1.0), fake logits below the average of real ones (3.0).
    penalty = adversarial.lecam_penalty(real, fake, torch.tensor(3.0), torch.tensor(1.0))
    assert float(penalty) == pytest.approx((1.0**2 + 0) / 2 + 2.5**2)


def test_r1_of_a_linear_discriminator() -> None:
    """Logits <w, x> have the gradient w everywhere: the penalty is |w|^2 and its own gradient 2 w."""
    w = torch.randn(3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    clips = torch.randn(5, 3, 2, 4, 4, requires_grad=True)
    penalty = adversarial.r1_penalty(clips.flatten(1) @ w, clips)
    assert float(penalty.detach()) == pytest.approx(float(w.detach().square().sum()), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(w.grad, 2 * w.detach())


def clips(mean: float, seed: int) -> Tensor:
    return mean + 0.1 * torch.randn(4, 3, 5, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_the_adversary_learns_and_says_so() -> None:
    adversary = Adversary(TINY, LossConfig(r1=0.01))
    rows = [adversary.step(clips(0.5, n), clips(-0.5, 100 + n), 3e-3) for n in range(40)]
    assert float(rows[-1]["discriminator"]) < 0.5 * float(rows[0]["discriminator"])
    assert rows[-1]["logits_real"] > rows[-1]["logits_fake"]
    # One penalty for every sixteen updates.
    assert [n for n, row in enumerate(rows) if "r1" in row] == [0, 16, 32]
    assert adversary.loss(clips(-0.5, 500)) > adversary.loss(clips(0.5, 501))


def test_the_generator_gets_gradients_and_the_discriminator_none() -> None:
    adversary = Adversary(TINY, LossConfig())
    fake = clips(0, 1).requires_grad_(True)
    adversary.loss(fake).backward()
    assert fake.grad.abs().max() > 0
    assert all(p.grad is None and p.requires_grad for p in adversary.discriminator.parameters())


def test_penalty_is_float32_under_autocast() -> None:
    values = []
    for enabled in (False, True):
        adversary = Adversary(TINY, LossConfig(r1_every=1))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            values.append(adversary.step(clips(0, 1), clips(0, 2), 1e-3)["r1"])
    assert values[0].dtype == values[1].dtype == torch.float32
    assert torch.equal(values[0], values[1])


def test_adversary_goes_on_from_its_state(tmp_path) -> None:
    one, two = (Adversary(TINY, LossConfig(r1_every=2), seed=seed) for seed in (0, 1))
    for n in range(3):
        one.step(clips(0.1, n), clips(0, 50 + n), 1e-3)
    save_file({name: tensor.contiguous() for name, tensor in one.state().items()}, tmp_path / "a.safetensors")
    copy_into(two.state(), load_file(tmp_path / "a.safetensors"), "the file")
    for adversary in (one, two):
        adversary.step(clips(0.1, 9), clips(0, 59), 1e-3)
    assert all(torch.equal(a, b) for a, b in zip(one.state().values(), two.state().values(), strict=True))
    one.restart()
    fresh = Adversary(TINY, LossConfig())
    assert all(torch.equal(tensor, fresh.state()[name]) for name, tensor in one.state().items())


# Pictures -----------------------------------------------------------------------------------------------


def test_losses_of_pictures_by_hand() -> None:
    grey = torch.zeros(1, 3, 16, 16)
    assert float(ssim(grey, grey)) == pytest.approx(1.0)
    # Constant pictures: only the luminance term is left, (2ab + c1) / (a^2 + b^2 + c1).
    a, b, c1 = 0.5, 0.25, 0.0004
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert float(ssim(grey + a, grey + b)) == pytest.approx(expected, rel=1e-4)
    # An error of 0.2 everywhere in a range of 2: 10 log10(4 / 0.04) = 20 dB.
    assert float(psnr(grey + 0.2, grey)[0]) == pytest.approx(20.0, abs=1e-4)


# All together ------------------------------------------------------------------------------------------


def config(**losses: float) -> TokenizerTrainConfig:
    names = ("mse", "perceptual", "commitment", "entropy", "gan")
    weights = LossConfig(**(dict.fromkeys(names, 0.0) | losses))
    model = Magvit2Config(stages=2)
    return TokenizerTrainConfig((Phase(10, 2, 1, 16), Phase(10, 2, 5, 16)), model=model, losses=weights)


def test_total_is_the_weighted_sum() -> None:
    video = torch.zeros(2, 3, 5, 16, 16)
    output = video.clone()
    output[:, :, 0] = 0.5
    output[:, :, 1:] = 0.1
    setting = config(mse=2.0, l1=3.0, first_frame=4.0, commitment=0.5)
    draws = draw(setting, 0, (2, 5), World())
    data = quantized(2)
    total, parts = Objective(setting, World())(video, output, data, draws, 0)
    # The first frame counts four times as much as each of the other four: 4/8 and 1/8.
    l1, mse = 0.5 * 0.5 + 0.5 * 0.1, 0.5 * 0.25 + 0.5 * 0.01
    assert float(parts["l1"]) == pytest.approx(l1)
    assert float(parts["mse"]) == pytest.approx(mse)
    commit = float((data.scores - data.signs).detach().square().mean())
    assert float(total.detach()) == pytest.approx(3 * l1 + 2 * mse + 0.5 * commit)


def test_draws_do_not_depend_on_the_number_of_processes() -> None:
    setting = config()
    whole = draw(setting, 3, (4, 5), World())
    halves = [draw(setting, 3, (4, 5), World(rank, 2)) for rank in (0, 1)]
    for name in ("kept", "frames"):
        joined = torch.cat([getattr(half, name) for half in halves])
        assert torch.equal(joined, getattr(whole, name))
    assert not torch.equal(whole.frames, draw(setting, 4, (4, 5), World()).frames)
    assert set(whole.kept.tolist()) <= {1, 2}


def test_clips_keep_any_number_of_stages() -> None:
    setting = TokenizerTrainConfig(model=Magvit2Config(stages=4))
    drawn = draw(setting, 0, (4000, 5), World()).kept
    assert [float((drawn == k).float().mean()) for k in range(1, 5)] == pytest.approx([0.25] * 4, abs=0.03)


def test_a_new_discriminator_sees_its_clips() -> None:
    torch.manual_seed(0)
    model = Discriminator(DiscriminatorConfig(base_channels=8))
    clips = torch.randn(6, 3, 5, 32, 32).clamp(-1, 1) * torch.linspace(0.2, 1, 6).view(-1, 1, 1, 1, 1)
    assert float(model(clips).detach().std()) > 0.01


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_bfloat16_gradients_of_the_discriminator_are_those_of_float32(frames: int) -> None:
    """Whatever lay in memory before: a gradient that reads what nobody wrote was found so."""
    torch.manual_seed(0)
    layer, x = Around(64, 64), torch.randn(2, 64, frames, 4, 4)
    plain = torch.nn.functional.conv3d(x, layer.weight, layer.bias, padding=1)
    assert torch.allclose(layer(x), plain, atol=1e-5)
    direction = torch.randn_like(plain)
    layer(x).backward(direction)
    assert layer.weight.grad is not None
    expected = layer.weight.grad.clone()
    for _ in range(3):
        layer.weight.grad = None
        dirt = [torch.full((1 << power,), math.nan) for power in range(8, 21) for _ in range(2)]
        del dirt
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.backward(direction.to(y.dtype))
        assert float((layer.weight.grad - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_the_gan_starts_late_and_anew_with_videos() -> None:
    setting = config(gan=1.0, gan_start=4)
    assert [setting.gan_from(step) for step in (0, 9, 10, 19)] == [4, 4, 14, 14]
    adversary = Adversary(TINY, setting.losses)
    objective = Objective(setting, World(), adversary=adversary)
    draws = draw(setting, 0, (2, 5), World())
    for step, there in ((3, False), (4, True), (13, False), (14, True)):
        _, parts = objective(clips(0, 1)[:2], clips(0, 2)[:2].requires_grad_(True), quantized(2), draws, step)
        assert ("gan" in parts) is there, step
