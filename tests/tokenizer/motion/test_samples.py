"""What PyTorch does to samples on GPUs, here on the CPU, is what kernels do."""

from __future__ import annotations

import pytest
import torch

from lfqcodec.tokenizer.motion import samples
from lfqcodec.tokenizer.motion.network.region import Region

H, W = 5, 7


def prediction(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9000, 9000, (H * W, 192), generator=generator).float()


def everything() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    first, second = prediction(0), prediction(1)
    first[3:9] = second[3:9]
    difference, differs = samples.apart(first, second)
    region = Region(differs.reshape(H, W))
    own, middle = samples.half_way(difference, second, region)
    # Ties of rounding, too.
    weight = torch.randint(0, 513, (len(region), 64), generator=generator) / 512
    samples.blend(second, own, weight, region)
    gate = Region(torch.rand(H, W, generator=generator) < 0.4)
    residuals = 3 * torch.rand(len(gate), 192, generator=generator) - 1.5
    pictures = [
        samples.finish(second, each, residuals[: len(each)]) for each in (gate, Region(gate.mask & False))
    ]
    return [difference, differs, own, middle, second, *pictures]


def test_kernels_and_pytorch_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = everything()
    monkeypatch.setattr(samples, "compiled", lambda tensor: False)
    for mine, yours in zip(fast, everything(), strict=True):
        assert torch.equal(mine, yours)
