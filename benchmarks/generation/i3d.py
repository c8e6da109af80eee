"""I3D of Kinetics-400 (RGB), whose logits are the features of FVD. Names are those of the weights of TATS."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, FEATURES, LEAST_FRAMES = 224, 400, 9

_MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Inputs, and outputs of the convolutions b0, b1a, b1b, b2a, b2b, b3b."""


def same_padding(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around float [B, C, T, H, W], so that sizes shrink by the stride alone; more at the end."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(0, (-(-size // s) - 1) * s + k - size)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads)


def _pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    return F.max_pool3d(same_padding(x, kernel, stride), kernel, stride)


class Unit3D(nn.Module):
    """Convolution with padding "same", batch normalisation with epsilon 1e-3 and ReLU; or with bias alone."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, last: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, T, H, W] -> [B, outputs, T', H', W']."""
        x = self.conv3d(same_padding(x, self.kernel, self.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class Mixed(nn.Module):
    """Branches of 1x1x1, two of 3x3x3, and a pool."""

    def __init__(self, inputs: int, outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit3D(inputs, outputs[0])
        self.b1a, self.b1b = Unit3D(inputs, outputs[1]), Unit3D(outputs[1], outputs[2], 3)
        self.b2a, self.b2b = Unit3D(inputs, outputs[3]), Unit3D(outputs[3], outputs[4], 3)
        self.b3b = Unit3D(inputs, outputs[5])

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, T, H, W] -> [B, the sum of b0, b1b, b2b and b3b, T, H, W]."""
        pool = self.b3b(_pool(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), pool), 1)


class I3D(nn.Module):
    """Logits of Kinetics-400. It stays in inference, whatever `train` says."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3)
        for name, (inputs, outputs) in _MIXED.items():
            self.add_module(name, Mixed(inputs, outputs))
        self.logits = Unit3D(1024, FEATURES, last=True)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in inference."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, video: Tensor) -> Tensor:
        """Clips float32 [B, 3, T, 224, 224] in [-1, 1], T from 9 on -> the mean over time of logits [B, 400].

        `ValueError` for another size or fewer frames.
        """
        if video.shape[2] < LEAST_FRAMES or video.shape[3:] != (SIDE, SIDE):
            raise ValueError(
                f"clips must have {LEAST_FRAMES} frames of {SIDE}x{SIDE}, not {tuple(video.shape[2:])}"
            )
        x = _pool(self.Conv3d_1a_7x7(video), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in _MIXED:
            if name == "Mixed_4b":
                x = _pool(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                x = _pool(x, (2, 2, 2), (2, 2, 2))
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (2, 7, 7), 1)
        return self.logits(x)[:, :, :, 0, 0].mean(2)  # type: ignore[no-any-return]
