"""Making a rate table: what flipped signs cost in error, and when a stage is worth its bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lfqcodec.bitstream.geometry import max_valid
from lfqcodec.bitstream.limits import SPATIAL_FACTOR
from lfqcodec.codec.encode.rdo import Rdo
from lfqcodec.codec.gop import GopEncoder, OperatingPoint
from lfqcodec.errors import LfqError
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.tokenizer.layout import open_loop_grid
from lfqcodec.tokenizer.open_loop import OpenLoopTokenizer
from lfqcodec.train.data import Entry, Pack, SampleConfig, Sampler
from lfqcodec.weights.rates import RateTable
from lfqcodec.weights.store import Model, Prior

SCALE = 16.0
DOUBLING = 6.0
"""lambda is about `SCALE` times 2^(crf / 6): it doubles twice as slowly as with the QP of H.26x."""
_LAMBDAS = tuple(32.0 * 2**step for step in range(9))
_SIDE = 192
_APART = 4
_LEVEL = 127.5
"""8-bit units in a unit of the network's range."""


def flip_costs(
    tokenizer: OpenLoopTokenizer, sampler: Sampler, batches: int, stages: int
) -> tuple[float, ...]:
    """What a flipped sign costs over the magnitude of its number, by stage, when the stage is the last.

    Signs far enough apart not to touch are flipped in a later latent frame of the GOP, and the squared error
    around each is compared with that before: least squares.
    """
    random = torch.Generator().manual_seed(0)
    sums = np.zeros((stages, 2))  # of |z| * cost and of z^2
    for number in tqdm(range(batches), desc="signs", unit="batch"):
        for stage in range(stages):
            size, cost = _flip(tokenizer, sampler.batch(number), stage, random)
            sums[stage] += float((size * cost).sum()), float(size.square().sum())
    return tuple(round(float(cost), 1) for cost in np.maximum(1.0, sums[:, 0] / sums[:, 1]))


@torch.inference_mode()
def _flip(
    tokenizer: OpenLoopTokenizer, video: Tensor, stage: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip signs of a stage, the last one: the magnitudes of their numbers, and what each cost."""
    latents, _ = tokenizer.analyse(video)
    tokens = tokenizer.quantize(latents, stage + 1)
    batch, _, frames, h, w = tokens.shape
    below = tokenizer.dequantize(tokens[:, :-1]) if stage else torch.zeros_like(latents)
    scores = tokenizer.quantizer.scores((latents - below).transpose(1, 2).flatten(0, 1), stage)
    time = int(torch.randint(1, frames, (), generator=random))
    top, left = torch.randint(0, _APART, (2,), generator=random).tolist()
    rows, columns = slice(top, None, _APART), slice(left, None, _APART)
    bit = torch.randint(0, tokenizer.config.bits, (batch, h, w), generator=random)
    flipped = tokens.clone()
    flipped[:, -1, time, rows, columns] ^= (1 << bit)[:, rows, columns]
    change = _blocks(tokenizer, flipped, video) - _blocks(tokenizer, tokens, video)
    around = F.pad(change, (1, 2, 1, 2)).unfold(1, 4, 1).unfold(2, 4, 1).sum((-1, -2))
    scores = scores.view(batch, frames, *scores.shape[1:])[:, time]
    size = scores.gather(1, bit[:, None])[:, 0].abs()
    return size[:, rows, columns], around[:, rows, columns]


def _blocks(tokenizer: OpenLoopTokenizer, tokens: Tensor, video: Tensor) -> Tensor:
    """Squared error of each 8x8 block over all frames, in 8-bit units, float32 [B, h, w]."""
    decoded, _ = tokenizer.synthesise(tokenizer.dequantize(tokens))
    error = (decoded - video).square().sum((1, 2)) * _LEVEL**2
    return F.avg_pool2d(error[:, None], SPATIAL_FACTOR)[:, 0] * SPATIAL_FACTOR**2


@dataclass(frozen=True)
class Point:
    """Bits and squared error of the samples, in 8-bit units, at a number of stages and a lambda."""

    stages: int
    weight: float
    bits: float
    error: float


def measure(
    tokenizer: OpenLoopTokenizer,
    network: ExactNetwork,
    costs: Sequence[float],
    frames: NDArray[np.uint8],
    stages: int,
    weight: float,
) -> Point:
    """One chunk, uint8 [T, H, W, 3], that starts a GOP, coded with so many stages and that lambda."""
    _, height, width, _ = frames.shape
    rates = GopCoder(network, *open_loop_grid((height, width)))
    encoder = GopEncoder(tokenizer, rates, Rdo(costs), decoded=True)
    coded = encoder.encode(list(frames), OperatingPoint(stages, weight), gop_start=True)
    assert coded.pictures is not None
    error = np.square(coded.pictures.astype(np.float32) - frames).sum(dtype=np.float64)
    return Point(stages, weight, 8.0 * coded.size, float(error))


def crf_of(weight: float) -> float:
    """The crf whose lambda is `weight`."""
    return DOUBLING * math.log2(1 + weight / SCALE)


def drop_points(points: Sequence[Point], stages: int) -> tuple[float, ...]:
    """The crf from which on each stage after the first is not worth its bits, in falling order.

    `points` are totals. A stage is given up where raising lambda further adds more error for each bit that it
    saves than leaving out the stage does (interpolated between the lambdas that were measured).
    """
    found = {(p.stages, p.weight): p for p in points}
    steps = list(pairwise(sorted({p.weight for p in points})))
    crfs = [crf_of(math.sqrt(low * high)) for low, high in steps]
    dropped: list[float] = []
    for stage in range(1, stages):
        # Logarithm of how much dearer a bit is by leaving out the stage; nothing is gained where it is 0.
        gains = [
            math.log(_price(found[stage, low], found[stage + 1, low]))
            - math.log(_price(found[stage + 1, high], found[stage + 1, low]))
            for low, high in steps
        ]
        crossing = next((i for i, gain in enumerate(gains) if gain <= 0), len(gains))
        limit = crfs[min(crossing, len(crfs) - 1)]
        if 0 < crossing < len(gains):
            share = gains[crossing - 1] / (gains[crossing - 1] - gains[crossing])
            limit = crfs[crossing - 1] + share * (crfs[crossing] - crfs[crossing - 1])
        dropped.append(min([limit, *dropped]))
    return tuple(dropped)


def _price(less: Point, more: Point) -> float:
    """Error for each bit that is saved; tiny where there is none."""
    return max(less.error - more.error, 1e-3) / max(more.bits - less.bits, 1e-3)


def make_rates(
    tokenizer: Tokenizer,
    network: ExactNetwork,
    model: Model,
    prior: Prior,
    pack: Pack,
    *,
    default_crf: float,
    clips: int = 8,
    batches: int = 8,
) -> tuple[RateTable, list[Point]]:
    """Measure on the held-out clips of a pack (on training clips where there are none).

    Gives the table and the totals that it rests on. Raises `LfqError` where the pack has no clips, or the
    tokenizer is not an open-loop one.
    """
    if not isinstance(tokenizer, OpenLoopTokenizer):
        raise LfqError(f"{model.name}: rates are measured of open-loop tokenizers only")
    stages = min(model.config.stages, network.config.stages)
    frames = max_valid(True)
    held_out = any(entry.frames >= frames for entry in pack.held_out)
    pool = [e for e in (pack.held_out if held_out else pack.training) if e.frames >= frames]
    if not pool:
        raise LfqError(f"the pack has no clip of {frames} frames")
    side = min(128, min(min(e.height, e.width) for e in pool) // SPATIAL_FACTOR * SPATIAL_FACTOR)
    sampler = Sampler(pack, SampleConfig(4, frames, side), seed=0, held_out=held_out)
    costs = flip_costs(tokenizer, sampler, batches, stages)
    totals = {(k, weight): (0.0, 0.0) for k in range(1, stages + 1) for weight in _LAMBDAS}
    for entry in tqdm(_spread(pool, clips), desc="rates", unit="clip"):
        pictures = _middle(pack, entry, frames)
        for (k, weight), (bits, error) in totals.items():
            point = measure(tokenizer, network, costs, pictures, k, weight)
            totals[k, weight] = bits + point.bits, error + point.error
    points = [Point(*key, *total) for key, total in totals.items()]
    dropped = tuple(round(value, 2) for value in drop_points(points, stages))
    owners = prior.sha256.hex(), model.sha256.hex()
    return RateTable(costs, SCALE, DOUBLING, dropped, default_crf, *owners), points


def _middle(pack: Pack, entry: Entry, frames: int) -> NDArray[np.uint8]:
    """The middle of a clip in time and space, uint8 [frames, up to 192, up to 192, 3]."""
    view = pack.frames(entry, (entry.frames - frames) // 2, frames)
    top, left = (max(0, side - _SIDE) // 2 for side in (entry.height, entry.width))
    return np.ascontiguousarray(view[:, top : top + _SIDE, left : left + _SIDE])


def _spread(pool: Sequence[Entry], count: int) -> list[Entry]:
    """`count` entries spread over the pool, from different sources where there are as many."""
    sources = {entry.source: entry for entry in reversed(pool)}
    chosen = list(sources.values()) if len(sources) >= count else list(pool)
    step = max(1.0, len(chosen) / count)
    return [chosen[int(i * step)] for i in range(min(count, len(chosen)))]
