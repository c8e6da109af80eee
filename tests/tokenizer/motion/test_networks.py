"""The networks of motion: what is computed as rows of a region is what training computes as pictures."""

from __future__ import annotations

import threading

import pytest
import torch
from motion_support import lively_motion
from torch import nn
from torch.nn import functional as F

from lfqcodec.tokenizer.motion import beside
from lfqcodec.tokenizer.motion.network import blocks
from lfqcodec.tokenizer.motion.network import region as region_module
from lfqcodec.tokenizer.motion.network.blocks import Part
from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Context
from lfqcodec.tokenizer.motion.network.patches import (
    enlarge,
    from_patch_rows,
    from_patches,
    near_tokens,
    patch_rows,
    to_patches,
)
from lfqcodec.tokenizer.motion.network.region import Region
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer

Q = 1.3


@pytest.fixture(scope="module")
def model() -> MotionTokenizer:
    return lively_motion()


def contexts(network: Anchor | Between, pictures: torch.Tensor) -> tuple[torch.Tensor, Context]:
    """What networks see of predictions [2, 3, H, W]: of a whole picture, and in parts in units of 1/64."""
    q, patches = torch.tensor([Q]), to_patches(pictures)
    parts = tuple(Part(64.0 * patch_rows(picture), 1 / 64) for picture in pictures)
    if isinstance(network, Anchor):
        return network.context(patches[:1], q), Context(parts[:1], q)
    whole = network.context(patches[:1], patches[1:], q, torch.zeros(1))
    return whole, Context(parts, torch.cat([q, torch.zeros(1)]))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("name", ["anchor", "between"])
def test_training_decodes_as_the_codec_does(model: MotionTokenizer, name: str, share: float) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    h, w = 14, 19
    picked = torch.rand(1, 1, h, w, generator=generator) < share
    signs = torch.randint(-1, 2, (1, 9 * network.quantizer.layers, h, w), generator=generator)
    values = (signs * picked).float()
    context, parts = contexts(network, torch.rand(2, 3, 8 * h, 8 * w, generator=generator) - 0.5)
    q = torch.tensor([Q])
    gate, residuals = network.decode_open(values[0], q, parts)
    assert torch.equal(gate.mask, near_tokens(values)[0])
    everywhere = network.decode(
        network.quantizer.numbers(values) / network.quantizer.gains(q), values, context
    )
    whole = residuals.new_zeros(h * w, 192).index_copy_(0, gate.positions, residuals)
    torch.testing.assert_close(from_patch_rows(whole, (h, w)), everywhere[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["anchor", "between"])
def test_the_encoder_looks_closer_where_tokens_are_likely(model: MotionTokenizer, name: str) -> None:
    network = getattr(model, name)
    generator = torch.Generator().manual_seed(2)
    prediction = (torch.rand(1, 3, 64, 64, generator=generator) - 0.5).round(decimals=2)
    change = torch.zeros_like(prediction)
    change[..., 24:40, 24:40] = 0.3
    gains = network.quantizer.gains(torch.tensor([Q]))
    context, parts = contexts(network, torch.cat([prediction, 0 * prediction]))

    def likely(missed: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
        patches = Part(patch_rows((prediction + missed)[0]))
        return network.analyse_likely(patches, Part(patch_rows(missed[0])), parts, gains, (8, 8))

    latents = likely(change, gains)
    linear = network.into(to_patches(change))
    assert not torch.equal(latents[..., 3:5, 3:5], linear[..., 3:5, 3:5])
    torch.testing.assert_close(latents[..., :2, :], linear[..., :2, :])
    # Training does the same.
    trained = network.analyse(prediction + change, context, torch.tensor([Q]))
    torch.testing.assert_close(latents, trained, rtol=1e-4, atol=1e-5)


def test_patches_are_those_of_pixel_unshuffle() -> None:
    pictures = torch.rand(2, 3, 16, 24)
    patches = F.pixel_unshuffle(pictures, 8)
    assert torch.equal(to_patches(pictures), patches)
    assert torch.equal(from_patches(patches), pictures)
    assert torch.equal(enlarge(patches, 4), F.pixel_shuffle(patches, 4))


def places(region: Region, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of all parts of the positions, in a grid `scale` times as large: [n * scale^2]."""
    w, part, shape = region.mask.shape[1], torch.arange(scale), (len(region), scale, scale)
    y = (region.positions // w * scale)[:, None, None] + part[:, None]
    x = (region.positions % w * scale)[:, None, None] + part
    return y.expand(shape).flatten(), x.expand(shape).flatten()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("share", [0.02, 0.9, 1.0])
def test_regions_convolve_as_the_whole_grid_does(
    scale: int, share: float, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_module, "compiled", lambda tensor: compiled)
    torch.manual_seed(1)
    region = Region(torch.rand(13, 22) < share)
    conv = nn.Conv2d(6, 4, 3, padding=1)
    rows = torch.randn(len(region) * scale**2, 6)
    y, x = places(region, scale)
    grid = torch.zeros(1, 6, 13 * scale, 22 * scale)
    grid[0, :, y, x] = rows.T
    with torch.no_grad():
        found = region.convolve(conv.weight, conv.bias, rows, scale)
        torch.testing.assert_close(found, conv(grid)[0, :, y, x].T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_kernels_do_in_a_region_what_torch_does(
    share: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    region = Region(torch.rand(13, 22) < share)
    block, head = blocks.Block(24).requires_grad_(False), blocks.Head(24, 8)
    rows, found = 10 * torch.randn(len(region), 24), []
    with torch.no_grad():
        for parameter in [*block.parameters(), *head.parameters()]:
            parameter.normal_(0, 0.3)
        block.multiply_in(dtype)
        for compiled in (True, False):
            without_kernels(monkeypatch, not compiled)
            found.append((block.rows(rows.clone(), region), head.rows(rows, region)))
    exact = dtype == torch.float32
    for made, expected in zip(*found, strict=True):
        # Sums of bfloat16 are rounded to it in other places.
        scale = expected.abs().max().item()
        torch.testing.assert_close(
            made, expected, rtol=1e-5 if exact else 0.02, atol=1e-4 if exact else 0.01 * scale
        )


def without_kernels(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    """As on a GPU."""
    for module in (blocks, region_module):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: not wanted)


def test_halves_are_the_same_wherever_they_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside each other on two cores, one after the other on one."""
    torch.manual_seed(1)
    region = Region(torch.rand(40, 30) < 0.7)
    block, rows = blocks.Block(24).requires_grad_(False), torch.randn(len(region), 24)
    made, threads = [], []
    torch.set_num_threads(1)
    rows_of = block.u.rows

    def seen(x: torch.Tensor) -> torch.Tensor:
        threads.append((len(x), threading.current_thread().name))
        return rows_of(x)

    monkeypatch.setattr(block.u, "rows", seen)
    for cores in (1, 2):
        monkeypatch.setattr(beside, "usable_cores", lambda cores=cores: cores)
        made.append(block.rows(rows.clone(), region))
    assert torch.equal(*made)
    half = len(region) // 2 // 64 * 64
    assert sorted(n for n, _ in threads) == sorted([half, len(region) - half] * 2)
    assert len({name for _, name in threads[:2]}) == 1
    assert len({name for _, name in threads[2:]}) == 2


@pytest.mark.parametrize("limit", [3.0, 20.0])
def test_gates_are_limited(limit: float) -> None:
    both = torch.tensor([[1.0, 30.0, -30.0, 1.0, -50.0, 50.0, 0.0, -1e-30]]).T.repeat(1, 8).flatten()[None]
    value, gate = both.chunk(2, 1)
    made = blocks._gated_rows(both, limit)
    torch.testing.assert_close(made, blocks._gated(value, gate, limit=limit), rtol=1e-6, atol=0.0)
    assert made.abs().max() <= limit**2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compiled", [True, False])
def test_blocks_of_fixed_weights_have_the_same_gradient(
    compiled: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_kernels(monkeypatch, not compiled)
    torch.manual_seed(1)
    block = blocks.Block(24)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.3)
            # The same in bfloat16.
            parameter.copy_(parameter.bfloat16())
    inputs = torch.randn(1, 24, 25, 17).contiguous(memory_format=torch.channels_last)
    weights, found = torch.randn(1, 24, 25, 17), []
    for fixed in (False, True):
        given = inputs.clone().requires_grad_()
        if fixed:
            block.requires_grad_(False).multiply_in(dtype)
        made = block(given)
        (gradient,) = torch.autograd.grad((made * weights).sum(), given)
        found.append((made.detach(), gradient))
    for plain, lean in zip(*found, strict=True):
        if dtype == torch.float32:
            torch.testing.assert_close(lean, plain, rtol=1e-4, atol=1e-3)
        else:
            assert (lean - plain).square().mean() < 1e-3 * plain.square().mean()
