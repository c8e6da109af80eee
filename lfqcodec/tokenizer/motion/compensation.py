"""Motion compensation in exact integers: quarter-pels by HEVC's 8-tap filters, overlapped blocks.

A field int64 [H/16, W/16, 2] holds a vector (dx, dy) in quarter-pels for every block of 16x16 pixels; a pixel
at (x, y) of the block is predicted from the reference at (x + dx/4, y + dy/4). Coordinates outside the
reference are clamped to its border, so vectors may point anywhere.

All arithmetic is in integers. With s = sample - 128, taps c of the phase (fx, fy) = (dx & 3, dy & 3) and
whole parts (ix, iy) = (dx >> 2, dy >> 2), a block predicts the pixel (x, y), for k and m from 0 to 7:

    T(y, x) = sum_k c[fx][k] * s(y, ix + x + k - 3)
    P(y, x) = (sum_m c[fy][m] * T(iy + y + m - 3, x) + 32) >> 6          in 1/64 steps of a sample

P fits 16 bits. Every block predicts 24x24 pixels: its own and four beyond each side. In each direction its
weights in sixteenths are 1, 3, .. 15 over the first eight of them, 16 over the next eight and 15, 13, .. 1
over the last; at the picture's border the weight is 16 up to the border. The prediction of a pixel is

    (sum over blocks of weight_y * weight_x * P + 128) >> 8              in 1/64 steps of a sample, less 128

Sums stay below 2^24, so float32 holds them exactly: any order of adding, and any number of threads, gives the
same. (HEVC: ITU-T H.265, 8.5.3.3.3. Overlapped blocks: H.263 annex F.)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 16
REACH = 4
"""Pixels that a block predicts beyond each of its sides."""
WINDOW = BLOCK + 2 * REACH
TAPS = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)
BEFORE, AFTER = 3, 4
"""Samples that a filter needs before and after its own place."""
FRACTION = 64
"""Steps of a prediction to one of an 8-bit sample."""
MIDDLE = 128
_SOURCE = WINDOW + BEFORE + AFTER
_MARGIN = _SOURCE


class ReferencePicture:
    """A decoded picture to predict from: `picture` uint8 [3, H, W], H and W multiples of 16."""

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture
        self._windows = Windows(picture.float() - MIDDLE, _MARGIN)

    def predict(self, field: Tensor) -> Tensor:
        """The compensated picture, int16 [3, H, W] in 1/64 steps of a sample less 128. See the module."""
        rows, columns, _ = field.shape
        vectors = field.reshape(-1, 2)
        order = (((vectors[:, 0] & 3) << 2) | (vectors[:, 1] & 3)).argsort(stable=True)
        vectors = vectors[order]
        y = torch.div(order, columns, rounding_mode="floor") * BLOCK + (vectors[:, 1] >> 2)
        x = order % columns * BLOCK + (vectors[:, 0] >> 2)
        source = self._windows.gather(y - REACH - BEFORE, x - REACH - BEFORE, _SOURCE)
        across = _filtered_across(source, vectors[:, 0] & 3)
        windows = torch.empty(rows * columns, 3, WINDOW, WINDOW, device=field.device)
        windows[order] = _filtered_down(across, vectors[:, 0] & 3, vectors[:, 1] & 3)
        return _overlap(windows.reshape(rows, columns, 3, WINDOW, WINDOW)).to(torch.int16)


class Windows:
    """Square parts of an image [C, H, W] at any place, which a copied border makes fast to take."""

    def __init__(self, image: Tensor, margin: int) -> None:
        self._margin = margin
        self._padded = F.pad(image[None], (margin,) * 4, mode="replicate")[0]

    def gather(self, y: Tensor, x: Tensor, size: int) -> Tensor:
        """The parts that begin at (y, x), int64 [n] each: [n, C, size, size].

        Coordinates outside the image are clamped: `margin` must be at least `size`.
        """
        _, h, w = self._padded.shape
        y = (y + self._margin).clamp(0, h - size)
        x = (x + self._margin).clamp(0, w - size)
        if self._padded.device.type == "cpu":
            # Five times as fast as indexing in PyTorch.
            views = np.lib.stride_tricks.sliding_window_view(self._padded.numpy(), (size, size), (1, 2))
            return torch.from_numpy(views.transpose(1, 2, 0, 3, 4)[y.numpy(), x.numpy()])
        return self._padded.unfold(1, size, 1).unfold(2, size, 1).permute(1, 2, 0, 3, 4)[y, x]


def _filtered_across(source: Tensor, phases: Tensor) -> Tensor:
    """T of windows [n, 3, 31, 31], sorted by phase: [n, 3, 31, 24]."""
    across = torch.empty(*source.shape[:3], WINDOW, device=source.device)
    start = 0
    for phase, count in enumerate(torch.bincount(phases, minlength=4).tolist()):
        part = slice(start, start + count)
        start += count
        if phase:
            torch.matmul(source[part], _filter(phase, source.device), out=across[part])
        else:
            torch.mul(source[part, ..., BEFORE:-AFTER], FRACTION, out=across[part])
    return across


def _filtered_down(across: Tensor, phases_across: Tensor, phases: Tensor) -> Tensor:
    """P of what `_filtered_across` gave, sorted by both phases: [n, 3, 24, 24]."""
    down = torch.empty(*across.shape[:2], WINDOW, WINDOW, device=across.device)
    start = 0
    for both, count in enumerate(torch.bincount(phases_across * 4 + phases, minlength=16).tolist()):
        part = slice(start, start + count)
        start += count
        if both & 3:
            torch.matmul(_filter(both & 3, across.device).T, across[part], out=down[part])
            down[part].add_(FRACTION // 2).div_(FRACTION).floor_()
        else:
            down[part] = across[part, :, BEFORE:-AFTER]
    return down


@lru_cache(maxsize=16)
def _filter(phase: int, device: torch.device) -> Tensor:
    """The filter of a phase as a matrix [31, 24]."""
    matrix = torch.zeros(_SOURCE, WINDOW)
    for place in range(WINDOW):
        matrix[place : place + len(TAPS[phase]), place] = torch.tensor(TAPS[phase], dtype=torch.float32)
    return matrix.to(device)


@lru_cache(maxsize=16)
def _weights(count: int, device: torch.device) -> Tensor:
    """Weights in sixteenths along one axis, for each of `count` blocks: float32 [count, 24]."""
    ramp = torch.arange(1.0, 16.0, 2.0)
    weights = torch.cat([ramp, torch.full((WINDOW - 16,), 16.0), ramp.flip(0)]).repeat(count, 1)
    weights[0, : 2 * REACH] = 16
    weights[-1, -2 * REACH :] = 16
    return weights.to(device)


def _overlap(windows: Tensor) -> Tensor:
    """Blend windows [rows, columns, 3, 24, 24] to a picture [3, 16 * rows, 16 * columns], whole numbers."""
    rows, columns = windows.shape[:2]
    windows *= _weights(rows, windows.device)[:, None, None, :, None]
    own = windows[..., REACH:-REACH, :].clone()
    own[1:, ..., :REACH, :] += windows[:-1, ..., -REACH:, :]
    own[:-1, ..., -REACH:, :] += windows[1:, ..., :REACH, :]
    own *= _weights(columns, windows.device)[None, :, None, None]
    picture = own[..., REACH:-REACH].clone()
    picture[:, 1:, ..., :REACH] += own[:, :-1, ..., -REACH:]
    picture[:, :-1, ..., -REACH:] += own[:, 1:, ..., :REACH]
    picture = picture.permute(2, 0, 3, 1, 4).reshape(3, rows * BLOCK, columns * BLOCK)
    return picture.add_(128).div_(256).floor_()


def to_unit(prediction: Tensor) -> Tensor:
    """A prediction, integers [3, H, W] in 1/64 steps less 128, as float32 near [-0.5, 0.5]."""
    return prediction.float() / (FRACTION * 255) + (MIDDLE / 255 - 0.5)


def to_samples(prediction: Tensor) -> Tensor:
    """A prediction, integers [3, H, W] in 1/64 steps less 128, rounded to samples uint8 [3, H, W]."""
    rounded = (prediction.to(torch.int32) + FRACTION // 2) >> 6
    return (rounded + MIDDLE).clamp(0, 255).to(torch.uint8)
