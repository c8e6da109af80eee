"""Motion compensation in exact integers: quarter-pels by HEVC's 8-tap filters, overlapped blocks.

A field int64 [H/16, W/16, 2] holds a vector (dx, dy) in quarter-pels for every block of 16x16 pixels; a pixel
at (x, y) of the block is predicted from the reference at (x + dx/4, y + dy/4). Coordinates outside the
reference are clamped to its border, so vectors may point anywhere.

All numbers are whole. With s = sample - 128, taps c of the phase (fx, fy) = (dx & 3, dy & 3) and whole parts
(ix, iy) = (dx >> 2, dy >> 2), a block predicts the pixel (x, y), for k and m from 0 to 7:

    V(y, x) = sum_m c[fy][m] * s(iy + y + m - 3, x)
    P(y, x) = (sum_k c[fx][k] * V(y, ix + x + k - 3) + 32) >> 6          in 1/64 steps of a sample

V and P fit 16 bits. Every block predicts 24x24 pixels: its own and four beyond each side. In each direction
its weights in sixteenths are 1, 3, .. 15 over the first eight of them, 16 over the next eight and 15, 13,
.. 1 over the last; at the picture's border the weight is 16 up to the border. The prediction of a pixel is

    (sum over blocks of weight_y * weight_x * P + 128) >> 8              in 1/64 steps of a sample, less 128

Sums stay below 2^24, so float32 holds them exactly: any order of adding, and any number of threads, gives the
same. (HEVC: ITU-T H.265, 8.5.3.3.3. Overlapped blocks: H.263 annex F.)
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.interpolation import (
    AFTER,
    BEFORE,
    BLOCK,
    FRACTION,
    MIDDLE,
    REACH,
    TAPS,
    WINDOW,
)
from lfqcodec.tokenizer.motion.kernels import compensate
from lfqcodec.tokenizer.motion.network.patches import PATCH, SAMPLES
from lfqcodec.tokenizer.motion.network.region import compiled

_PHASES = 4
_WIDE = BEFORE + WINDOW + AFTER


class ReferencePicture:
    """A decoded picture to predict from: `picture` uint8 [3, H, W], H and W multiples of 16."""

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture

    def predict(self, field: Tensor) -> Tensor:
        """The compensated picture as patches, whole numbers in 1/64 steps of a sample less 128.

        float32 [H/8 * W/8, 192], samples in the order of `network.patches.to_patches`.
        """
        if not compiled(self.picture):
            return self._planes.predict(field)
        patches = np.empty((field.shape[0] * field.shape[1] * (BLOCK // PATCH) ** 2, SAMPLES), np.float32)
        compensate(self.picture.contiguous().numpy(), field.contiguous().numpy(), patches)
        return torch.from_numpy(patches)

    @cached_property
    def _planes(self) -> FilteredPlanes:
        return FilteredPlanes(self.picture)


class FilteredPlanes:
    """The same for GPUs: with planes V of the whole picture, made once a phase."""

    def __init__(self, picture: Tensor) -> None:
        # So far beyond the border that a window clamped to what there is holds what it should.
        margins = (_WIDE, _WIDE, _WIDE + BEFORE, _WIDE + AFTER)
        padded = F.pad((picture.float() - MIDDLE)[None], margins, mode="replicate")[0]
        self._padded = padded.to(torch.int16)
        channels, high, wide = self._padded.shape
        shape = _PHASES, channels, high - BEFORE - AFTER, wide
        self._planes = torch.empty(shape, device=picture.device)
        self._filtered = [False] * _PHASES

    def predict(self, field: Tensor) -> Tensor:
        """As `ReferencePicture.predict`."""
        rows, columns, _ = field.shape
        vectors = field.reshape(-1, 2)
        for phase in torch.unique(vectors[:, 1] & 3).tolist():
            if not self._filtered[phase]:
                self._filter_down(phase)
        across, order = (vectors[:, 0] & 3).sort(stable=True)
        vectors = vectors[order]
        y = torch.div(order, columns, rounding_mode="floor") * BLOCK + (vectors[:, 1] >> 2) - REACH
        x = order % columns * BLOCK + (vectors[:, 0] >> 2) - REACH
        windows = torch.empty(rows * columns, 3, WINDOW, WINDOW, device=field.device)
        start = 0
        for phase, count in enumerate(torch.bincount(across, minlength=_PHASES).tolist()):
            part = slice(start, start + count)
            start += count
            if count and phase == 0:
                windows[part] = self._windows(vectors[part, 1] & 3, y[part], x[part], WINDOW)
            elif count:
                source = self._windows(vectors[part, 1] & 3, y[part], x[part] - BEFORE, _WIDE)
                torch.matmul(source, _filter(phase, source.device), out=windows[part])
                windows[part].add_(FRACTION // 2).mul_(1 / FRACTION).floor_()
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=field.device)
        return _overlap(windows.index_select(0, places).reshape(rows, columns, 3, WINDOW, WINDOW))

    def _filter_down(self, phase: int) -> None:
        """Make the plane V of a phase."""
        plane = self._padded.new_zeros(self._planes.shape[1:])
        for tap, weight in enumerate(TAPS[phase]):
            if weight:
                plane.add_(self._padded[:, tap : tap + plane.shape[1]], alpha=weight)
        self._planes[phase] = plane
        self._filtered[phase] = True

    def _windows(self, phase: Tensor, y: Tensor, x: Tensor, wide: int) -> Tensor:
        """Parts of V that begin at (y, x) of the picture, int64 [n] each: float32 [n, 3, 24, wide]."""
        y = (y + _WIDE).clamp(0, self._planes.shape[2] - WINDOW)
        x = (x + _WIDE).clamp(0, self._planes.shape[3] - wide)
        return windows_at(self._planes, (WINDOW, wide), phase, y, x)


def windows_at(planes: Tensor, size: tuple[int, int], plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Parts of planes [N, C, H, W] of a `size` (h, w) that begin at (y, x) of a plane: [..., C, h, w].

    The indices are int64 [...] and name parts that lie inside.
    """
    high, wide = size
    return planes.unfold(2, high, 1).unfold(3, wide, 1).permute(0, 2, 3, 1, 4, 5)[plane, y, x]


@lru_cache(maxsize=16)
def _filter(phase: int, device: torch.device) -> Tensor:
    """The filter of a phase as a matrix [31, 24]."""
    matrix = torch.zeros(_WIDE, WINDOW)
    for place in range(WINDOW):
        matrix[place : place + len(TAPS[phase]), place] = torch.tensor(TAPS[phase], dtype=torch.float32)
    return matrix.to(device)


@lru_cache(maxsize=4)
def _weights(rows: int, columns: int, device: torch.device) -> Tensor:
    """Weights of the windows of a picture: float32 [rows, columns, 1, 24, 24], whole 256ths."""
    ramp = torch.arange(1.0, 16.0, 2.0)
    axes = []
    for count in (rows, columns):
        weights = torch.cat([ramp, torch.full((WINDOW - 16,), 16.0), ramp.flip(0)]).repeat(count, 1)
        weights[0, : 2 * REACH] = 16
        weights[-1, -2 * REACH :] = 16
        axes.append(weights / 16)
    return torch.einsum("ry,cx->rcyx", *axes)[:, :, None].contiguous().to(device)


def _overlap(windows: Tensor) -> Tensor:
    """Blend windows [rows, columns, 3, 24, 24], in place, to what `ReferencePicture.predict` gives."""
    rows, columns = windows.shape[:2]
    windows *= _weights(rows, columns, windows.device)
    near, inner, far = slice(REACH), slice(REACH, -REACH), slice(-REACH, None)
    first, last = slice(REACH, 2 * REACH), slice(-2 * REACH, -REACH)
    windows[1:, ..., first, :] += windows[:-1, ..., far, :]
    windows[:-1, ..., last, :] += windows[1:, ..., near, :]
    windows[:, 1:, :, inner, first] += windows[:, :-1, :, inner, far]
    windows[:, :-1, :, inner, last] += windows[:, 1:, :, inner, near]
    own = windows[..., inner, inner].reshape(rows, columns, 3, 2, PATCH, 2, PATCH)
    return own.permute(0, 3, 1, 5, 2, 4, 6).reshape(-1, SAMPLES).add_(0.5).floor_()


def to_samples(prediction: Tensor) -> Tensor:
    """A prediction, whole numbers in 1/64 steps less 128, rounded to samples uint8 of the same shape."""
    # Conversion to whole numbers rounds down.
    return prediction.mul(1 / FRACTION).add_(MIDDLE + 0.5).clamp_(0, 255).to(torch.uint8)
