"""Mixup and cutmix of batches, and the loss of mixed classes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Targets float32 [B, K] of labels int64 [B]: 1 - e + e/K of the class, e/K of the others."""
    targets = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    return targets.scatter_add(1, labels[:, None], torch.full_like(targets, 1 - smoothing))


def box(rng: np.random.Generator, height: int, width: int, share: float) -> tuple[slice, slice, float]:
    """Rows and columns of a box whose sides are sqrt(1 - share) of the picture's, cut at its borders.

    And what share of the picture is outside of it. The middle is drawn.
    """
    side = math.sqrt(1 - share)
    tall, wide = int(side * height), int(side * width)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    rows = slice(max(0, y - tall // 2), min(height, y - tall // 2 + tall))
    columns = slice(max(0, x - wide // 2), min(width, x - wide // 2 + wide))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return rows, columns, 1 - area / (height * width)


def mixed(
    rng: np.random.Generator, video: Tensor, targets: Tensor, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """A batch mixed with itself in reverse order: float [B, 3, T, H, W] and targets [B, K], the same shapes.

    With both, each is taken with probability 1/2; with none nothing happens. All samples share the draw.
    """
    if not mixup and not cutmix:
        return video, targets
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    share = float(rng.beta(cutmix, cutmix) if cuts else rng.beta(mixup, mixup))
    if cuts:
        rows, columns, share = box(rng, video.shape[3], video.shape[4], share)
        video = video.clone()
        video[..., rows, columns] = video.flip(0)[..., rows, columns]
    else:
        video = share * video + (1 - share) * video.flip(0)
    return video, share * targets + (1 - share) * targets.flip(0)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of -sum(targets * log softmax(logits)), both float [B, K]."""
    return -(targets * logits.float().log_softmax(-1)).sum(-1).mean()
