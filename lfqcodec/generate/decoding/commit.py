"""COMMIT of MAGVIT (section 3.2): conditions that do not fill whole positions of the grid.

The condition is padded to a clip and tokenized. Where a position saw pixels of it, its token stands in place
of "unknown", in training as in decoding, and may be replaced by a better one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.errors import LfqError
from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.model.embedding import MASK, split


def known_pixels(config: GeneratorConfig, frames: int, size: tuple[int, int]) -> Tensor:
    """Which pixels a task gives: bool [T, H, W].

    prediction: the first `task_frames` frames; interpolation: so many at either end; inpainting: all but the
    middle half of rows and columns; outpainting: that. Raises `LfqError` where nothing is left to make.
    """
    known = torch.zeros(frames, *size, dtype=torch.bool)
    count = config.task_frames
    ends = 2 if config.task == "interpolation" else 1
    if ends * count >= frames:
        raise LfqError(f"{ends * count} frames are given and {frames} made: nothing is left to make")
    if config.task in ("prediction", "interpolation"):
        known[:count] = True
        if ends == 2:
            known[-count:] = True
        return known
    known[:, size[0] // 4 : size[0] - size[0] // 4, size[1] // 4 : size[1] - size[1] // 4] = True
    return known if config.task == "outpainting" else ~known


def padded(config: GeneratorConfig, video: Tensor, known: Tensor) -> Tensor:
    """A clip of nothing but the condition: float32 [3, T, H, W] in [-1, 1], `known` bool [T, H, W].

    What is missing is the last given frame (prediction), a blend of the frames at both ends (interpolation),
    the nearest pixel (outpainting) or black (inpainting).
    """
    count = config.task_frames
    if config.task == "prediction":
        last = video[:, count - 1 : count].expand_as(video)
        return torch.where(known, video, last)
    if config.task == "interpolation":
        first, last = video[:, count - 1 : count], video[:, -count : video.shape[1] - count + 1]
        steps = video.shape[1] - 2 * count + 1
        share = ((torch.arange(video.shape[1]) - count + 1) / steps).clamp(0, 1).view(1, -1, 1, 1)
        return torch.where(known, video, first + (last - first) * share.to(video))
    if config.task == "inpainting":
        return torch.where(known, video, -1.0)
    rows, columns = (known[0].any(dim).nonzero()[:, 0] for dim in (1, 0))
    inside = video[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = video.shape[2:]
    edges = (int(columns[0]), width - 1 - int(columns[-1]), int(rows[0]), height - 1 - int(rows[-1]))
    return F.pad(inside, edges, mode="replicate")


def known_positions(known: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Which positions saw a given pixel: bool [T, H, W] -> bool [N]; `grid` is latent frames, rows, columns.

    Latent frame 0 is the first frame, each later one the same number of frames that follow.
    """
    frames = known.shape[0]
    later = (frames - 1) // max(1, grid[0] - 1)
    seen = torch.stack([known[0], *(known[k : k + later].any(0) for k in range(1, frames, max(1, later)))])
    spaces = F.adaptive_max_pool2d(seen.float()[:, None], grid[1:])[:, 0]
    return spaces.bool().flatten()


def look_of_unknown(condition: Tensor, known: Tensor) -> Tensor:
    """What units look like until they are known: int64 [B, N, 2].

    `condition` int64 [B, N] are the tokens of padded clips, `known` bool [N] tells where they stand.
    """
    return torch.where(known[None, :, None].to(condition.device), split(condition), MASK)
