"""Layers of the `magvit2` tokenizer: 3D convolutions that are causal in time, and what goes with them.

All tensors are [B, C, T, h, w], channels_last_3d in memory, so that frames can be viewed as a batch. Nothing
but the convolutions mixes frames, and they look at earlier ones only (MAGVIT-v2 section 3.1); state is
carried from one part of a clip to the next (`context`).

At a GOP start the left context is zeros. The paper pads so too, and only zeros make central inflation exact
from both sides: the earlier slices of a kernel, whatever they hold, add nothing to a single image, so that a
model of images is the video model at T = 1, and they get no gradient from images. With replication they
would be trained on copies of the one frame, and setting them to zero would change its picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.tokenizer.magvit2.context import TimeContext


class CausalConv3d(nn.Module):
    """Convolution with kernel (k_t, k, k), preceded by k_t - 1 frames, followed by none.

    The weights of a new layer are LeCun-normal in the temporally last slice, as in a 2D convolution, and
    zero in the others: it starts as its own central inflation. `name` is the key of its state; the
    tokenizer sets it.
    """

    def __init__(
        self, inputs: int, outputs: int, *, time: int = 3, size: int = 3, strides: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.name = ""
        self.strides, self.padding = strides, size // 2
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, time, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight.detach()[:, :, -1], std=(inputs * size * size) ** -0.5)

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B, inputs, T, h, w] -> [B, outputs, T', h / stride, w / stride].

        With temporal stride 2, T' = (T + 1) / 2 at a GOP start, else T / 2; T' = T without.
        """
        stride, spatial = self.strides
        reach = self.weight.shape[2] - 1
        if reach:
            left = time.left(self.name)
            # What comes next needs less than `reach` where the stride has moved beyond it.
            carried = reach + 1 - stride
            if left is None and x.shape[2] == 1:
                if time.keep:
                    self._leave(F.pad(x, (0, 0, 0, 0, carried - 1, 0)), carried, time)
                # All that lies before is zero: do not pay for it.
                flat = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, spatial, self.padding)
                return flat.unsqueeze(2)
            x = F.pad(x, (0, 0, 0, 0, reach, 0)) if left is None else torch.cat([left, x], 2)
            if time.keep:
                self._leave(x, carried, time)
        padding = (0, self.padding, self.padding)
        return F.conv3d(x, self.weight, self.bias, (stride, spatial, spatial), padding)

    def _leave(self, x: Tensor, frames: int, time: TimeContext) -> None:
        # A copy: a view would keep all frames of the layer in memory until the next chunk.
        time.after[self.name] = x[:, :, -frames:].clone()

    @torch.no_grad()
    def inflate(self) -> None:
        """Keep what images have trained, the last slice; zero in the others (section 3.1)."""
        self.weight[:, :, :-1] = 0


class FrameGroupNorm(nn.Module):
    """Group normalisation of every frame by itself.

    The statistics must not run over time: a frame would then depend on those after it, and on where chunks
    begin.
    """

    def __init__(self, channels: int, groups: int, *, affine: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, h, w] -> the same shape."""
        y: Tensor = self.norm(x.transpose(1, 2).flatten(0, 1))
        return y.view(x.shape[0], x.shape[2], *y.shape[1:]).transpose(1, 2)


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose scale and shift are a linear map of the quantized latents (section 3.2).

    Each position takes those of the latent vector that codes it. The paper does not say how the latents
    reach other resolutions; a mean over the picture would carry less. Starts as a plain normalisation.
    `rate` is how many frames here share a latent frame.
    """

    def __init__(self, channels: int, latent_channels: int, groups: int, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self.norm = FrameGroupNorm(channels, groups, affine=False)
        self.control = nn.Conv3d(latent_channels, 2 * channels, 1)
        nn.init.zeros_(self.control.weight)
        nn.init.zeros_(self.control.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, latents: Tensor, time: TimeContext) -> Tensor:
        """x [B, C, T, n*h, n*w], latents [B, D, T', h, w] -> the shape of x."""
        control = drop_first(self.control(latents).repeat_interleave(self.rate, 2), self.rate, time)
        scale, shift = control[:, :, :, :, None, :, None].chunk(2, 1)
        height, width = latents.shape[-2:]
        blocks = self.norm(x).unflatten(4, (width, -1)).unflatten(3, (height, -1))
        return torch.addcmul(blocks + shift, blocks, scale).flatten(5, 6).flatten(3, 4)


class ResidualBlock(nn.Module):
    """Twice group normalisation, SiLU and a causal 3x3x3 convolution, around a shortcut (MAGVIT)."""

    def __init__(self, inputs: int, outputs: int, groups: int, time: int) -> None:
        super().__init__()
        self.norm1 = FrameGroupNorm(inputs, groups)
        self.conv1 = CausalConv3d(inputs, outputs, time=time)
        self.norm2 = FrameGroupNorm(outputs, groups)
        self.conv2 = CausalConv3d(outputs, outputs, time=time)
        self.shortcut = CausalConv3d(inputs, outputs, time=1, size=1) if inputs != outputs else None

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B, inputs, T, h, w] -> [B, outputs, T, h, w]."""
        y = self.conv1(F.silu(self.norm1(x)), time)
        y = self.conv2(F.silu(self.norm2(y)), time)
        return y + (x if self.shortcut is None else self.shortcut(x, time))  # type: ignore[no-any-return]


class DepthToSpace(nn.Module):
    """Upsampling: a causal convolution to `rate` times 4 times the channels, which become frames and pixels.

    The convolution's outputs lie in the order frame, channel, row, column. At a GOP start the first
    rate - 1 frames are dropped (section 3.1), so that an image is made from the last frame's outputs only.
    """

    def __init__(self, channels: int, rate: int, time: int) -> None:
        super().__init__()
        self.rate = rate
        self.conv = CausalConv3d(channels, rate * 4 * channels, time=time)

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B, C, T, h, w] -> [B, C, T', 2h, 2w], T' = rate * T, less rate - 1 at a GOP start."""
        y = self.conv(x, time).unflatten(1, (self.rate, -1, 2, 2))  # [B, rate, C, 2, 2, T, h, w]
        y = y.permute(0, 2, 5, 1, 6, 3, 7, 4)  # [B, C, T, rate, h, 2, w, 2]
        y = y.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return drop_first(y, self.rate, time).contiguous(memory_format=torch.channels_last_3d)

    @torch.no_grad()
    def inflate(self) -> None:
        """Let the frames that an image does not have start as copies of the one it has."""
        for value in (self.conv.weight, self.conv.bias):
            by_frame = value.view(self.rate, -1, *value.shape[1:])
            by_frame[:-1] = by_frame[-1:].clone()


def drop_first(x: Tensor, rate: int, time: TimeContext) -> Tensor:
    """Leave out the first rate - 1 frames of [B, C, T, h, w] where nothing lies before them."""
    return x[:, :, rate - 1 :] if time.starts else x
