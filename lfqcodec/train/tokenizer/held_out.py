"""What a tokenizer can do with clips that it does not learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.data import Pack, SampleConfig, Sampler
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.tokenizer.config import Phase
from lfqcodec.train.tokenizer.losses import psnr

_BATCHES = 4
_MOST_CLIPS = 8
_LPIPS_EVERY = 5
"""Frames from one that LPIPS looks at to the next."""


@torch.no_grad()
def measure(
    model: Magvit2Tokenizer,
    pack: Pack,
    phase: Phase,
    *,
    seed: int,
    lpips: LPIPS | None = None,
) -> dict[str, list[float]]:
    """Means over held-out crops like those of `phase`, the same every time, by number of stages from 1.

    `psnr` in dB; `lpips`, where there is LPIPS, of clamped frames. Empty if nothing is held out.
    """
    shape = SampleConfig(min(phase.batch, _MOST_CLIPS), phase.frames, phase.size, skip_chance=0.0)
    try:
        sampler = Sampler(pack, shape, seed=seed, held_out=True)
    except LfqError:
        return {}
    device = next(model.parameters()).device
    rows: dict[str, list[Tensor]] = {}
    for number in range(_BATCHES):
        video = sampler.batch(number).to(device)
        tokens = model.quantize(model.analyse(video)[0], model.config.stages)
        kept = range(1, model.config.stages + 1)
        decoded = [model.synthesise(model.dequantize(tokens[:, :k]))[0].clamp(-1, 1) for k in kept]
        rows.setdefault("psnr", []).append(torch.stack([psnr(x, video) for x in decoded], 1))
        if lpips is not None:
            distances = [_distance(lpips, x, video) for x in decoded]
            rows.setdefault("lpips", []).append(torch.stack(distances, 1))
    return {name: [round(float(v), 4) for v in torch.cat(row).mean(0)] for name, row in rows.items()}


def _distance(lpips: LPIPS, decoded: Tensor, video: Tensor) -> Tensor:
    pair = (x[:, :, ::_LPIPS_EVERY].transpose(1, 2).flatten(0, 1) for x in (decoded, video))
    distance: Tensor = lpips(*pair)
    return distance.view(len(video), -1).mean(1)
