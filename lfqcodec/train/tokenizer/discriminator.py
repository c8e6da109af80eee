"""The 3D discriminator of MAGVIT-v2 (arXiv 2310.05737, appendix A.2): residual blocks with blur pooling.

As in StyleGAN's discriminator there is no normalisation, and every block halves the resolution; a binomial
filter before the subsampling keeps shifts of the input from changing the result (Zhang 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.errors import LfqError

_SLOPE = 0.2
_BINOMIAL = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """`multipliers` times `base_channels` are the widths behind each block; every block halves the size."""

    base_channels: int = 128
    multipliers: tuple[int, ...] = (2, 4, 4, 4, 4)

    def __post_init__(self) -> None:
        if self.base_channels < 1 or not self.multipliers or min(self.multipliers) < 1:
            raise LfqError("the discriminator's channels and multipliers must be positive")


class BlurPool(nn.Module):
    """Halve height and width, and the frames where there are several, behind a 1-3-3-1 filter in each."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.tensor(_BINOMIAL)
        self.register_buffer("kernel", kernel / kernel.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, h, w] -> [B, C, ceil(T / 2), ceil(h / 2), ceil(w / 2)]; borders are repeated."""
        for axis in (2, 3, 4):
            if x.shape[axis] > 1:
                x = self._halve(x, axis)
        return x

    def _halve(self, x: Tensor, axis: int) -> Tensor:
        pad = [0] * 6
        place = 2 * (4 - axis)
        # An odd length gives the larger half: the filter then ends one sample further out.
        pad[place], pad[place + 1] = 1, 1 + x.shape[axis] % 2
        x = F.pad(x, pad, mode="replicate")
        shape, stride = [1, 1, 1], [1, 1, 1]
        shape[axis - 2], stride[axis - 2] = len(_BINOMIAL), 2
        flat = x.reshape(-1, 1, *x.shape[2:])
        pooled = F.conv3d(flat, self.kernel.to(x.dtype).view(1, 1, *shape), stride=stride)
        return pooled.reshape(*x.shape[:2], *pooled.shape[2:])


class Around(nn.Conv3d):
    """A 3x3x3 convolution that keeps the size, with zeros around the clip.

    Those before and behind are put there by hand. Where the convolution itself pads two frames, its weight
    gradient in bfloat16 reads memory that nobody wrote on CPUs with AVX512-BF16 (torch 2.13).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, T, h, w] -> [B, outputs, T, h, w]."""
        return super().forward(F.pad(x, (0, 0, 0, 0, 1, 1)))


class DiscriminatorBlock(nn.Module):
    """Two 3x3x3 convolutions and a 1x1x1 one around them, each way pooled."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Around(inputs, inputs)
        self.second = Around(inputs, outputs)
        self.around = nn.Conv3d(inputs, outputs, 1, bias=False)
        self.pool = BlurPool()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, T, h, w] -> [B, outputs, T', h', w'], halves as `BlurPool` gives."""
        around = self.around(self.pool(x))
        x = F.leaky_relu(self.first(x), _SLOPE)
        x = F.leaky_relu(self.second(self.pool(x)), _SLOPE)
        # The sum of two parts of one variance keeps it.
        result: Tensor = (x + around) * 0.5**0.5
        return result


class Discriminator(nn.Module):
    """Tells clips float [B, 3, T, H, W] in [-1, 1] from reconstructions: logits float [B], high if real."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.base_channels, *(config.base_channels * m for m in config.multipliers)]
        self.stem = Around(3, widths[0])
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in pairwise(widths))
        self.last = Around(widths[-1], widths[-1])
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.head = nn.Linear(widths[-1], 1)
        self.apply(_initialise)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits of clips of any number of frames and size."""
        x = F.leaky_relu(self.stem(clips), _SLOPE)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(self.last(x), _SLOPE).mean((2, 3, 4))
        logits: Tensor = self.head(F.leaky_relu(self.hidden(x), _SLOPE))
        return logits[:, 0]


def _initialise(module: nn.Module) -> None:
    # He et al., arXiv 1502.01852. PyTorch's own weights are less than half as large: behind a dozen layers
    # the logits hardly depended on the clip (deviation 2e-5), and hundreds of steps taught nothing.
    if isinstance(module, (nn.Conv3d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
