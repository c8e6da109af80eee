"""Inception-v3 as FID and IS are measured with: TensorFlow's network of 2015-12-05 (ADM's evaluator).

It differs from later ones: average pools of the blocks A, C and the first E leave padding out, the pool
branch of the last E takes the maximum, there are 1008 outputs, pictures are resized as TensorFlow 1 did.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.generation.resize import resize_tf1

SIDE, FEATURES, CLASSES = 299, 2048, 1008


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalisation with epsilon 1e-3, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, outputs, H', W']."""
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: branches of 1x1, 5x5, two of 3x3, and a pool."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(inputs, 64)
        self.branch5x5_1 = BasicConv2d(inputs, 48)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(inputs, 64)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(inputs, pool)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, 224 + pool, H, W]."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        parts = (self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double)
        return torch.cat((*parts, self.branch_pool(_average(x))), 1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = BasicConv2d(inputs, 64)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, inputs + 480, H', W']."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), double, F.max_pool2d(x, 3, 2)), 1)


class BlockC(nn.Module):
    """17x17: 7x7 as pairs of 1x7 and 7x1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        across, down = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv2d(inputs, 192)
        self.branch7x7_1 = BasicConv2d(inputs, width)
        self.branch7x7_2 = BasicConv2d(width, width, **across)  # type: ignore[arg-type]
        self.branch7x7_3 = BasicConv2d(width, 192, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_1 = BasicConv2d(inputs, width)
        self.branch7x7dbl_2 = BasicConv2d(width, width, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_3 = BasicConv2d(width, width, **across)  # type: ignore[arg-type]
        self.branch7x7dbl_4 = BasicConv2d(width, width, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = BasicConv2d(width, 192, **across)  # type: ignore[arg-type]
        self.branch_pool = BasicConv2d(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, 768, H, W]."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat((self.branch1x1(x), single, double, self.branch_pool(_average(x))), 1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(inputs, 192)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, 2)
        self.branch7x7x3_1 = BasicConv2d(inputs, 192)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, inputs + 512, H', W']."""
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat((self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, 2)), 1)


class BlockE(nn.Module):
    """8x8: branches that split into 1x3 and 3x1; the pool is an average or a maximum."""

    def __init__(self, inputs: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = BasicConv2d(inputs, 320)
        self.branch3x3_1 = BasicConv2d(inputs, 384)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(inputs, 448)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, 2048, H, W]."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pool = F.max_pool2d(x, 3, 1, 1) if self.maximum else _average(x)
        parts = (self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single))
        more = (self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pool))
        return torch.cat((*parts, *more), 1)


class Inception(nn.Module):
    """Features and class probabilities of pictures. It stays in inference, whatever `train` says."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in inference."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, H, W, 3] -> features (pool_3) float32 [B, 2048], and probabilities [B, 1008].

        Those are the softmax without the bias of the last layer, as the Inception Score has it. `ValueError`
        for anything but uint8: a wrong range spoils figures without a word.
        """
        if pictures.dtype != torch.uint8:
            raise ValueError(f"pictures must be uint8, not {pictures.dtype}")
        x = resize_tf1(pictures.permute(0, 3, 1, 2).float(), (SIDE, SIDE))
        x = (x - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        features = x.mean((2, 3))
        return features, F.linear(features, self.fc.weight).softmax(-1)
