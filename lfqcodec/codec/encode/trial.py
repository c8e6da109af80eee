"""A chunk is coded with groups of the size that pictures ask for, or with each size, to keep the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lfqcodec.bitstream.geometry import GROUP_SIZES
from lfqcodec.codec.encode.plan import Plan
from lfqcodec.codec.encode.rate.quality import error_of_bit, operating_point
from lfqcodec.codec.gop import CodedChunk, GopEncoder
from lfqcodec.memory import give_back_memory


def code_chunk(
    encoder: GopEncoder,
    plan: Plan,
    crf: float,
    pictures: Sequence[NDArray[np.uint8]],
    group_size: int,
    *,
    gop_start: bool,
    on_coded: Callable[[int], None],
) -> CodedChunk:
    """Code the next chunk, pictures uint8 [H, W, 3], at `crf`.

    Groups have `group_size` pictures. Where the plan tries all sizes they have as many as give the least
    squared error + error_of_bit * bits; `on_coded` then hears of the whole chunk at its end.
    """
    give_back_memory()
    if not plan.tries or len(pictures) <= 1 + gop_start:
        point = operating_point(crf, plan.streams, group_size)
        return encoder.encode(pictures, point, gop_start=gop_start, on_coded=on_coded)
    before = encoder.snapshot()
    tried = []
    for size in GROUP_SIZES:
        encoder.restore(before)
        coded = encoder.encode(pictures, operating_point(crf, plan.streams, size), gop_start=gop_start)
        cost = _squared_error(pictures, coded) + error_of_bit(crf) * 8 * coded.size
        tried.append((cost, coded, encoder.snapshot()))
    _, best, state = min(tried, key=lambda each: each[0])
    encoder.restore(state)
    on_coded(len(pictures))
    # The trial alone needed decoded pictures: where they are handed on, they are measured.
    return best if plan.measure else replace(best, pictures=None)


def _squared_error(pictures: Sequence[NDArray[np.uint8]], coded: CodedChunk) -> float:
    assert coded.pictures is not None
    pairs = zip(pictures, coded.pictures, strict=True)
    return sum(float(np.square(a.astype(np.int32) - b).sum()) for a, b in pairs)
